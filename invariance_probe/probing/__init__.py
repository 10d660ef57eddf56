"""Probing: from network, transformations and images to a result, in one streaming pass."""

from .baselines import baselines
from .config import ProbeConfig, replay, run_config
from .options import RUNGS, Options
from .oracle import oracle
from .oracle_result import OracleResult, load_oracle
from .result import Result, load_result
from .run import probe, split
from .tuning import tuning_summary

__all__ = [
    "RUNGS",
    "Options",
    "OracleResult",
    "ProbeConfig",
    "Result",
    "baselines",
    "load_oracle",
    "load_result",
    "oracle",
    "probe",
    "replay",
    "run_config",
    "split",
    "tuning_summary",
]
