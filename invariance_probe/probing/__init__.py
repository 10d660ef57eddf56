"""Probing: from network, transformations and images to a result, in one streaming pass."""

from .baseline_measures import baselines
from .comparison.compared import Comparison, compare, load_comparison
from .config import ProbeConfig, run_config
from .ladder.tuning import tuning_summary
from .options import Options
from .oracles.result import OracleResult, load_oracle
from .oracles.run import oracle
from .pictures.taking import pictures_of, take_pictures
from .pictures.values import Pictures, load_pictures
from .result import Result, load_result
from .run import probe, split
from .rungs import RUNGS
from .verification.replay import replay
from .verification.trust import Untrusted

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


def __dir__() -> list[str]:
    return sorted(__all__)
