"""Probing: from network, transformations and images to a result, in one streaming pass."""

from .config import ProbeConfig, replay, run_config
from .options import RUNGS, Options
from .result import Result, load_result
from .run import probe, split

__all__ = [
    "RUNGS",
    "Options",
    "ProbeConfig",
    "Result",
    "load_result",
    "probe",
    "replay",
    "run_config",
    "split",
]
