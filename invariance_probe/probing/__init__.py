"""Probing: from network, transformations and images to a result, in one streaming pass."""

from .baselines import baselines
from .comparison import Comparison, compare, load_comparison
from .config import ProbeConfig, run_config
from .options import RUNGS, Options
from .oracle import oracle
from .oracle_result import OracleResult, load_oracle
from .picture_values import Pictures, load_pictures
from .pictures import pictures_of, take_pictures
from .replayed import replay
from .result import Result, load_result
from .run import probe, split
from .trust import Untrusted
from .tuning import tuning_summary

__all__ = [
    "RUNGS",
    "Comparison",
    "Options",
    "OracleResult",
    "Pictures",
    "ProbeConfig",
    "Result",
    "Untrusted",
    "baselines",
    "compare",
    "load_comparison",
    "load_oracle",
    "load_pictures",
    "load_result",
    "oracle",
    "pictures_of",
    "probe",
    "replay",
    "run_config",
    "split",
    "take_pictures",
    "tuning_summary",
]
