"""Alignment: streaming moments, search for the best transform, residuals and their intervals."""

from .families import Family, family_for
from .moments import SpatialMoments
from .quadratic import ErrorSurface
from .residuals import Variance, bootstrap, ratio, squared_errors
from .search import ANGLES, SCALES, Alignment, best_alignment

__all__ = [
    "ANGLES",
    "SCALES",
    "Alignment",
    "ErrorSurface",
    "Family",
    "SpatialMoments",
    "Variance",
    "best_alignment",
    "bootstrap",
    "family_for",
    "ratio",
    "squared_errors",
]
