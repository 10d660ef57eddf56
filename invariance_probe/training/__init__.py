"""Training and evaluation of the classifiers that the probes measure."""

from ..running.processes import processes
from .checks import check_fits
from .evaluation import Evaluation, evaluate
from .fitting import Epoch, fit
from .history import Progress, Row
from .loop import train
from .passes import Passes, evaluate_passes
from .poses.poses import collect_poses
from .poses.runs import run_pose_statistics, run_poses
from .poses.statistics import orthogonal_regression, pose_deviation, pose_statistics
from .presets import PRESETS, preset
from .recipe import Recipe
from .runs.budget import training_budget
from .runs.config import TrainConfig, architecture_for
from .runs.trained_run import TrainedRun, load_run, train_run

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
    "collect_poses",
    "evaluate",
    "evaluate_passes",
    "fit",
    "load_run",
    "orthogonal_regression",
    "pose_deviation",
    "pose_statistics",
    "preset",
    "processes",
    "run_pose_statistics",
    "run_poses",
    "train",
    "train_run",
    "training_budget",
]


def __dir__() -> list[str]:
    return sorted(__all__)
