"""Alignment: streaming moments, search for the best transform, residuals and their intervals."""

from .bound import PositionMoments, SpatialBound, spatial_bound
from .channels import ChannelMaps, ChannelMoments, fit_channel_maps
from .families import Family, family_for
from .growing import GrowingRows
from .intervals import interval, proportion_interval, pseudo_values
from .ledger import PARTS, Ledger, LedgerMoments, fit_ledger, leading
from .levels import Moments, PyramidMoments, SearchPlan
from .moments import SpatialMoments
from .quadratic import ErrorSurface
from .residuals import (
    PairDistances,
    Variance,
    bootstrap,
    channel_weights,
    ratio,
    squared_errors,
    varying,
)
from .ridge import FOLDS
from .search import ANGLES, SCALES, Alignment, best_alignment

__all__ = [
    "ANGLES",
    "FOLDS",
    "PARTS",
    "SCALES",
    "Alignment",
    "ChannelMaps",
    "ChannelMoments",
    "ErrorSurface",
    "Family",
    "GrowingRows",
    "Ledger",
    "LedgerMoments",
    "Moments",
    "PairDistances",
    "PositionMoments",
    "PyramidMoments",
    "SearchPlan",
    "SpatialBound",
    "SpatialMoments",
    "Variance",
    "best_alignment",
    "bootstrap",
    "channel_weights",
    "family_for",
    "fit_channel_maps",
    "fit_ledger",
    "interval",
    "leading",
    "proportion_interval",
    "pseudo_values",
    "ratio",
    "spatial_bound",
    "squared_errors",
    "varying",
]


def __dir__() -> list[str]:
    return sorted(__all__)
