"""Runs a tower on an engine: one thread, a fixed number of rows, the same bits in every process."""

import copy
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quality.engines.mapped import map_weights, onnxruntime_file, openvino_file, session_options
from quality.engines.memory import SHARE, peak_of, rows_that_fit, share_of_process
from quality.engines.tower import EngineError, Tower

if TYPE_CHECKING:
    import torch

ENGINES: Final = {
    "torch-f32": "torch, eager, fp32: what the others are measured against",
    "torch-f32-channels_last": "torch, eager, fp32, pixels laid out channels last",
    "torch-bf16": "torch, eager, bf16 (CPUs with AVX512_BF16 or AMX)",
    "torch-cuda-f16": "torch, eager, fp16, on a CUDA device",
    "torch-cuda-bf16": "torch, eager, bf16, on a CUDA device",
    "torch-cuda-f32": "torch, eager, fp32, on a CUDA device",
    "onnxruntime-f32": "ONNX Runtime, fp32",
    "openvino-f32": "OpenVINO, fp32",
    "openvino-bf16": "OpenVINO, bf16 (CPUs with AVX512_BF16 or AMX)",
}
CUDA_ROWS: Final = 64  # a chunk; a device is idle with the few rows that suit a CPU
# Rows of a call below which results differ in their last bits from those of more rows (tests/quality/test_batch_rows.py); torch's differ from
# 16 rows on too, so a tower's own 8 are also the most that a CPU is given. More are no faster there.
LEAST_ROWS: Final = {"torch": 4, "onnxruntime": 2, "openvino": 2}
_PLENTY: Final = 1 << 30  # bytes for one model's calls; with more nothing is measured, which saves a call as each process starts
Call = Callable[[np.ndarray], np.ndarray]

log = logging.getLogger(__name__)


class Run:
    """A started engine: calls with any number of rows. For several threads at once when it was started with as many lanes."""

    def __init__(self, engine: str, rows: int, call: Call):
        self.engine = engine
        self.rows, self._call = rows, call

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """float32 outputs, row i of row i. Always runs the same number of rows at a time; the last are filled up by repeating a row.

        Where a device's memory does not suffice, half as many from then on.
        """
        outputs: list[np.ndarray] = []
        start = 0
        while start < len(inputs):
            rows = self.rows
            part = inputs[start : start + rows]
            missing = rows - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            try:
                outputs.append(self._call(np.ascontiguousarray(full))[: len(part)])
            except Exception as error:
                if not _is_out_of_memory(error) or rows == 1:
                    raise
                self.rows = rows // 2
                log.warning("%s: %d rows are more than the device has memory for; %d from now on", self.engine, rows, self.rows)
                _give_back_device_memory()
                continue
            start += len(part)
        return np.concatenate(outputs)


Starter = Callable[[Tower, str], Call]
_STARTER: ContextVar[Starter | None] = ContextVar("starter", default=None)


@contextmanager
def started_by(starter: Starter) -> Iterator[None]:
    """Within, `start` is `starter`: models that scorers load may run in another process."""
    token = _STARTER.set(starter)
    try:
        yield
    finally:
        _STARTER.reset(token)


def engines_of(tower: Tower) -> list[str]:
    """The engines that can run the tower on this machine, the reference first."""
    found = [tower.reference]
    if tower.module is not None:
        found += ["torch-f32-channels_last"] if tower.probe()[0].ndim == 4 else []
        found += ["torch-bf16"] if _has_bf16() else []
        found += ["torch-cuda-f16", "torch-cuda-bf16", "torch-cuda-f32"] if _has_cuda() else []
        found += ["onnxruntime-f32"]
    return [*found, "openvino-f32", *(["openvino-bf16"] if _has_bf16() else [])]


def start(tower: Tower, engine: str) -> Call:
    """Loads the tower into the engine, for one thread, or where `started_by` says. Raises EngineError as start_here does."""
    starter = _STARTER.get()
    return start_here(tower, engine) if starter is None else starter(tower, engine)


def start_here(tower: Tower, engine: str, *, lanes: int = 1, mapped: bool = True) -> Run:
    """Loads the tower into the engine, in this process. lanes: threads that may call at once. mapped: share weights with other processes.

    Rows of a call are the tower's, or fewer where memory is short. Raises EngineError for an engine that is unknown or cannot run the tower.
    """
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    if engine not in engines_of(tower):
        raise EngineError(
            f"engine {engine} cannot run {tower.name} on this machine (it can: {', '.join(engines_of(tower))}); "
            "use a machine like the one that chose it, or a new --dataset with --engine"
        )
    family = engine.partition("-")[0]
    maker = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}[family]

    def make(rows: int) -> Run:
        return Run(engine, rows, maker(replace(tower, rows=rows), engine, lanes, mapped))

    return _fitted(make, tower, engine) if mapped else make(most_rows(tower, engine))


def most_rows(tower: Tower, engine: str) -> int:
    """Rows of a call where there is memory enough."""
    return CUDA_ROWS if "cuda" in engine else tower.rows


def _fitted(make: Callable[[int], Run], tower: Tower, engine: str) -> Run:
    """The engine, started with as many rows a call as there is memory for."""
    most = most_rows(tower, engine)
    least, budget = min(most, LEAST_ROWS[engine.partition("-")[0]]), share_of_process()
    if "cuda" in engine:
        run = make(most)
        run.rows = _cuda_rows(run, tower)
    elif budget is None or budget >= _PLENTY:
        run = make(most)
    else:
        run = make(least)
        grown = peak_of(lambda: run(tower.probe()[0][:least]))
        rows = most if grown is None else rows_that_fit(grown / least, budget, least=least, most=most)
        run = run if rows == least else make(rows)
    log.info("%s: %s, %d rows a call", tower.name, engine, run.rows)
    return run


def _torch(tower: Tower, engine: str, lanes: int, mapped: bool) -> Call:
    import torch

    torch.set_num_threads(1)
    assert tower.module is not None
    dtype = torch.bfloat16 if "bf16" in engine else torch.float16 if "f16" in engine else torch.float32
    device = torch.device("cuda" if "cuda" in engine else "cpu")
    module = tower.module().eval()
    if engine != "torch-f32":
        module = converted(module, device=device, dtype=dtype, channels_last="channels_last" in engine)
    if mapped and device.type == "cpu":
        map_weights(module, f"{tower.digest} {engine}", tower.cache)

    def call(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(inputs).to(device)).float().cpu().numpy()

    return call


def converted(module: "torch.nn.Module", *, device: "torch.device", dtype: "torch.dtype", channels_last: bool = False) -> "torch.nn.Module":
    """A copy with other weights; those that need no change are the module's own."""
    import torch

    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    found = copy.deepcopy(module, shared)

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        layout = torch.channels_last if channels_last and tensor.ndim == 4 else torch.preserve_format
        return tensor.detach().to(device=device, dtype=kind, memory_format=layout)

    for part in found.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = torch.nn.Parameter(convert(weight), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = convert(buffer)
    return found


def _onnxruntime(tower: Tower, engine: str, lanes: int, mapped: bool) -> Call:
    import onnxruntime

    options = session_options()
    file = onnxruntime_file(tower) if mapped else None
    if file is not None:  # it was optimised when it was laid out
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file or tower.onnx_file(), options, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda inputs: session.run([output], {name: inputs})[0]


def _openvino(tower: Tower, engine: str, lanes: int, mapped: bool) -> Call:
    core = _core()
    model = core.read_model((openvino_file(tower, core) if mapped else None) or tower.onnx_file())
    shape = model.inputs[0].partial_shape
    shape[0] = tower.rows
    model.reshape(shape)
    options = {
        "INFERENCE_NUM_THREADS": lanes,  # one for each stream
        "NUM_STREAMS": lanes,
        "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same core
        "INFERENCE_PRECISION_HINT": "bf16" if "bf16" in engine else "f32",
    }
    compiled = core.compile_model(model, "CPU", options)
    requests: SimpleQueue = SimpleQueue()
    for _ in range(lanes):
        requests.put(compiled.create_infer_request())

    def call(inputs: np.ndarray) -> np.ndarray:
        request = requests.get()
        try:
            return request.infer({0: inputs}, share_inputs=True)[0].copy()
        finally:
            requests.put(request)

    return call


def _cuda_rows(run: Run, tower: Tower) -> int:
    """Rows of a call that fit into what the device has left: by the peak of a few rows."""
    import torch

    few = 4
    run.rows = few
    probe = tower.probe()[0][:few]
    run(probe)  # what libraries keep for themselves
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run(probe)
    grown = torch.cuda.max_memory_allocated() - before
    free, _ = torch.cuda.mem_get_info()
    return rows_that_fit(grown / few, int(free * SHARE), least=1, most=CUDA_ROWS)


def _is_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _give_back_device_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
def _core() -> Any:
    # Importing openvino reports to a server when this package can be imported; when not, it uses its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino.Core()


@cache
def _has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
