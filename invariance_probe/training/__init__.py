"""Training and evaluation of the classifiers that the probes measure."""

from .checks import check_fits
from .config import TrainConfig, architecture_for
from .distributed import processes
from .evaluate import Evaluation, evaluate
from .fit import Epoch, fit
from .loop import Progress, Row, train
from .passes import Passes, evaluate_passes
from .presets import PRESETS, preset
from .recipe import Recipe
from .runs import TrainedRun, load_run, train_run

__all__ = [
    "PRESETS",
    "Epoch",
    "Evaluation",
    "Passes",
    "Progress",
    "Recipe",
    "Row",
    "TrainConfig",
    "TrainedRun",
    "architecture_for",
    "check_fits",
    "evaluate",
    "evaluate_passes",
    "fit",
    "load_run",
    "preset",
    "processes",
    "train",
    "train_run",
]
