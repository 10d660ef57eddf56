"""Distorted digits: rotated, shifted, scaled, projected and bent, with clutter, and added."""

from .addition import AddedDigits
from .digits import DistortedDigits, measured_normalisation
from .moved import moved, movement
from .variants import VARIANTS, Variant

__all__ = [
    "VARIANTS",
    "AddedDigits",
    "DistortedDigits",
    "Variant",
    "measured_normalisation",
    "moved",
    "movement",
]
