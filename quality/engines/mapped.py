"""Weights as an engine wants them, in files that are mapped into memory: the processes of a machine share their pages.

Made once a machine, by the first process that loads the tower, from the same graph: same answers, to the last bit. Measured, ViT-B/32, of each
process: ONNX Runtime's two halves take 0.10 GB of their own and not 0.94, OpenVINO's 0.58 and not 1.16, for it packs some weights again
(tests/bench/shared_models.py).
"""

import fcntl
import hashlib
import logging
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quality.engines.tower import Tower, default_cache
from schemas.cache import built_once

if TYPE_CHECKING:
    import torch

LAYOUT: Final = "1"  # raised when the same weights would be laid out differently
_MAPPED_FROM: Final = "1024"  # bytes of a tensor that leaves the graph's own file
_GRAPH, _WEIGHTS = "model.onnx", "weights.bin"

log = logging.getLogger(__name__)


def session_options() -> Any:
    """ONNX Runtime's, of a session on one thread that says nothing but errors: its callers are as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def onnxruntime_file(tower: Tower) -> Path | None:
    """The graph as ONNX Runtime optimises it for this CPU, its weights beside it, packed for the kernels: load it without optimising again.

    None, here and below, where there is no such file and none can be written: a process then has weights of its own.
    """
    import onnxruntime

    def build(folder: Path, final: Path) -> None:
        options = session_options()
        options.optimized_model_filepath = str(folder / _GRAPH)
        for key, value in {
            "optimized_model_external_initializers_file_name": _WEIGHTS,
            "optimized_model_external_initializers_min_size_in_bytes": _MAPPED_FROM,
            "save_external_prepacked_constant_initializers": "1",  # from 1.21 on; before, each process packs its own
        }.items():
            options.add_session_config_entry(f"session.{key}", value)
        onnxruntime.InferenceSession(tower.onnx_file(), options, providers=["CPUExecutionProvider"])

    folder = _built(_name(tower, "onnxruntime", onnxruntime.__version__), build, tower.cache)
    return None if folder is None else folder / _GRAPH


def openvino_file(tower: Tower, core: Any) -> Path | None:
    """OpenVINO's own form of the graph, fp32 whatever it will be run in."""
    import openvino

    def build(folder: Path, final: Path) -> None:
        openvino.save_model(core.read_model(tower.onnx_file()), folder / "model.xml", compress_to_fp16=False)

    folder = _built(_name(tower, "openvino", openvino.__version__), build, tower.cache)
    return None if folder is None else folder / "model.xml"


def map_weights(module: "torch.nn.Module", name: str, cache: Path | None) -> None:
    """Puts mapped weights in the place of a torch module's: type and layout of each stay. name: of the weights and what was done to them.

    Modules whose weights have the same names and shapes share a file: both halves of a model do.
    """
    import torch

    shapes = sorted((key, tuple(weight.shape)) for key, weight in module.state_dict().items())
    digest = hashlib.sha256(f"{LAYOUT} {name} {torch.__version__} {shapes}".encode()).hexdigest()[:16]

    def build(folder: Path, final: Path) -> None:
        torch.save(module.state_dict(), folder / "weights.pt")

    folder = _built(f"torch-{digest}", build, cache)
    if folder is not None:
        module.load_state_dict(torch.load(folder / "weights.pt", mmap=True, weights_only=True), assign=True)


def _built(name: str, build: Callable[[Path, Path], None], cache: Path | None) -> Path | None:
    """The folder, built by one process while the others wait: each would need the memory of several copies."""
    below = (cache or default_cache()) / "mapped"
    if not (below / name).is_dir():
        try:
            below.mkdir(parents=True, exist_ok=True)
            lock = (below / f"{name}.lock").open("w")
        except OSError as error:  # a container's cache may be read-only
            log.warning("%s cannot be written (%s): weights of %s are in each process's own memory", below, error.strerror, name)
            return None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            built_once(name, build, below)
            (below / f"{name}.lock").unlink(missing_ok=True)
    return below / name


def _name(tower: Tower, engine: str, version: str) -> str:
    key = f"{LAYOUT} {tower.digest} {tower.name} {engine} {version} {cpu()}"
    if tower.onnx is None:  # exported, by a torch
        key += f" {tower.onnx_file().name}"
    return f"{tower.name}-{engine}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


@cache
def cpu() -> str:
    """What this CPU can do: weights are packed for it, and a cache may be shared by machines of several types."""
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "cpu family", "model\t"))})
    return f"{platform.machine()} {hashlib.sha256('|'.join(known).encode()).hexdigest()[:16]}"
