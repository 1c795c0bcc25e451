"""How a model is run: the same weights through torch, ONNX Runtime or OpenVINO, whichever is fastest on this CPU and agrees with fp32."""

from quality.engines.choose import Measured, choose_engine, choose_engines
from quality.engines.run import ENGINES, Call, Run, engines_of, start, start_here, started_by
from quality.engines.tower import EngineError, Tower

__all__ = [
    "ENGINES", "Call", "EngineError", "Measured", "Run", "Tower", "choose_engine", "choose_engines", "engines_of", "start", "start_here",
    "started_by",
]  # fmt: skip
