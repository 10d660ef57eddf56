"""Training and evaluation of the classifiers that the probes measure."""

from .budget import training_budget
from .checks import check_fits
from .config import TrainConfig, architecture_for
from .distributed import processes
from .evaluate import Evaluation, evaluate
from .fit import Epoch, fit
from .loop import Progress, Row, train
from .passes import Passes, evaluate_passes
from .pose_runs import run_pose_statistics, run_poses
from .pose_statistics import orthogonal_regression, pose_deviation, pose_statistics
from .poses import collect_poses
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
