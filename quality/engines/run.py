"""Runs a tower on an engine: one thread, a fixed number of rows, the same bits in every process."""

import copy
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from quality.engines.tower import EngineError, Tower

ENGINES: Final = {
    "torch-f32": "torch, eager, fp32: what the others are measured against",
    "torch-f32-channels_last": "torch, eager, fp32, pixels laid out channels last",
    "torch-bf16": "torch, eager, bf16 (CPUs with AVX512_BF16 or AMX)",
    "torch-cuda-f16": "torch, eager, fp16, on the first CUDA device",
    "onnxruntime-f32": "ONNX Runtime, fp32",
    "openvino-f32": "OpenVINO, fp32",
    "openvino-bf16": "OpenVINO, bf16 (CPUs with AVX512_BF16 or AMX)",
}
CUDA_ROWS: Final = 64  # a chunk; a device is idle with the few rows that suit a CPU
Call = Callable[[np.ndarray], np.ndarray]


class Run:
    """A started engine: calls with any number of rows. Not for two threads at once."""

    def __init__(self, engine: str, rows: int, call: Call):
        self.engine = engine
        self._rows, self._call = rows, call

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """float32 outputs, row i of row i. Always runs the same number of rows at a time; the last are filled up by repeating a row."""
        outputs = []
        for start in range(0, len(inputs), self._rows):
            part = inputs[start : start + self._rows]
            missing = self._rows - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            outputs.append(self._call(np.ascontiguousarray(full))[: len(part)])
        return np.concatenate(outputs)


def engines_of(tower: Tower) -> list[str]:
    """The engines that can run the tower on this machine, the reference first."""
    found = [tower.reference]
    if tower.module is not None:
        found += ["torch-f32-channels_last"] if tower.probe()[0].ndim == 4 else []
        found += ["torch-bf16"] if _has_bf16() else []
        found += ["torch-cuda-f16"] if _has_cuda() else []
        found += ["onnxruntime-f32"]
    return [*found, "openvino-f32", *(["openvino-bf16"] if _has_bf16() else [])]


def start(tower: Tower, engine: str) -> Run:
    """Loads the tower into the engine. Raises EngineError for an engine that is unknown or cannot run the tower here."""
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    if engine not in engines_of(tower):
        raise EngineError(
            f"engine {engine} cannot run {tower.name} on this machine (it can: {', '.join(engines_of(tower))}); "
            "use a machine like the one that chose it, or a new --dataset with --engine"
        )
    maker = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}[engine.partition("-")[0]]
    return Run(engine, CUDA_ROWS if "cuda" in engine else tower.rows, maker(tower, engine))


def _torch(tower: Tower, engine: str) -> Call:
    import torch

    torch.set_num_threads(1)
    assert tower.module is not None
    module = copy.deepcopy(tower.module()).eval()
    dtype = torch.bfloat16 if "bf16" in engine else torch.float16 if "f16" in engine else torch.float32
    device = torch.device("cuda" if "cuda" in engine else "cpu")
    module = module.to(device=device, dtype=dtype)
    if "channels_last" in engine:
        module = module.to(memory_format=torch.channels_last)

    def call(inputs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(inputs).to(device)).float().cpu().numpy()

    return call


def _onnxruntime(tower: Tower, engine: str) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(tower.onnx_file(), options, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda inputs: session.run([output], {name: inputs})[0]


def _openvino(tower: Tower, engine: str) -> Call:
    core = _core()
    model = core.read_model(tower.onnx_file())
    shape = model.inputs[0].partial_shape
    shape[0] = tower.rows
    model.reshape(shape)
    options = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same core
        "INFERENCE_PRECISION_HINT": "bf16" if "bf16" in engine else "f32",
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda inputs: request.infer({0: inputs}, share_inputs=True)[0].copy()


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
