"""How a model is run: the same weights through torch, ONNX Runtime or OpenVINO, whichever is fastest on this CPU and agrees with fp32."""

from quality.engines.choose import Measured, choose_engine, choose_engines
from quality.engines.run import ENGINES, Run, engines_of, start
from quality.engines.tower import EngineError, Tower

__all__ = ["ENGINES", "EngineError", "Measured", "Run", "Tower", "choose_engine", "choose_engines", "engines_of", "start"]
