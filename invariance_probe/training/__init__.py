"""Training and evaluation of the classifiers that the probes measure."""

from .evaluate import Evaluation, evaluate
from .fit import Epoch, Recipe, fit

__all__ = ["Epoch", "Evaluation", "Recipe", "evaluate", "fit"]
