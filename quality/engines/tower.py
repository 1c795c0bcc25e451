"""A model, or the half of one, that an engine can run; and its ONNX file."""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    import torch

OPSET = 17  # the highest that ONNX Runtime 1.20, our oldest, and torch's exporter both know well
EXPORT = "1"  # raised when the same weights would be exported differently


class EngineError(Exception):
    """An engine is unknown, cannot run here, or cannot run this model; the message says which, and what to do."""


@dataclass(frozen=True)
class Tower:
    """One input array to one output array, both with the rows first.

    name: "<scorer>.<part>", the key in pool/engines.json. digest: of weights and graph; names the ONNX file in the cache. rows: of one
    call; engines always run exactly so many, so that a result does not depend on how many rows a chunk has. module: builds the torch
    module, in eval mode; it is given what `probe` gives, and casts to its weights' type itself. onnx: its file when it comes as one; then
    there is no module. free_axes: input axes, besides the rows, whose length varies. probe: input batches to measure with.
    error(outputs, reference): how far probe outputs are from fp32's; above `bound` the engine does not agree.
    """

    name: str
    digest: str
    rows: int
    probe: Callable[[], Sequence[np.ndarray]]
    error: Callable[[np.ndarray, np.ndarray], float]
    bound: float
    module: "Callable[[], torch.nn.Module] | None" = None
    onnx: Path | None = None
    free_axes: tuple[int, ...] = ()
    cache: Path | None = None

    @property
    def reference(self) -> str:
        """The fp32 engine that the others are measured against."""
        return "onnxruntime-f32" if self.module is None else "torch-f32"

    def onnx_file(self) -> Path:
        """The ONNX file; exported at the first call on this machine, once for each set of weights and version of torch."""
        if self.onnx is not None:
            return self.onnx
        import torch

        assert self.module is not None
        key = hashlib.sha256(f"{self.digest} {self.name} {EXPORT} {OPSET} {torch.__version__}".encode()).hexdigest()[:16]
        path = (self.cache or default_cache()) / "towers" / f"{self.name}-{key}.onnx"
        if not path.is_file():
            put_file(path, export_onnx(self.module(), self.probe()[0][: self.rows], self.free_axes))
        return path


def export_onnx(module: "torch.nn.Module", example: np.ndarray, free_axes: tuple[int, ...] = ()) -> bytes:
    """The module as ONNX, with the rows and `free_axes` of its one input free. Raises EngineError when it has no ONNX form."""
    import torch
    from torch.backends import mha
    from torch.onnx._internal.torchscript_exporter import onnx_proto_utils

    buffer = BytesIO()
    fused = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)  # its one large operator has no ONNX form; the plain ones do
    axes = {0: "rows"} | {axis: f"axis{axis}" for axis in free_axes}
    # The package onnx is asked for only to inline functions written in onnxscript; there are none here, and the model is whole without it.
    whole = mock.patch.object(onnx_proto_utils, "_add_onnxscript_fn", lambda model, opsets: model)
    try:
        with torch.no_grad(), warnings.catch_warnings(), whole:
            warnings.simplefilter("ignore")  # the exporter is deprecated in favour of one that needs onnxscript; tracing warns of constants
            torch.onnx.export(
                module,
                (torch.from_numpy(example),),
                buffer,  # type: ignore[arg-type]  # a file is taken, whatever the annotation says
                dynamo=False,
                opset_version=OPSET,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": axes, "y": {0: "rows"}},
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise EngineError(f"{type(module).__name__} has no ONNX form: {str(error).splitlines()[0]}; choose a torch engine") from error
    finally:
        mha.set_fastpath_enabled(fused)
    return buffer.getvalue()


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/pigment`, or `~/.cache/pigment`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pigment"


def put_file(path: Path, data: bytes) -> None:
    """Writes the file whole, by a rename; several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
        file.write(data)
    os.replace(file.name, path)
