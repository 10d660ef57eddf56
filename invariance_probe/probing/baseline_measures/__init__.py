"""Measures of other papers by their definitions, and one call that takes them all."""

from .cka import cka_of_moments, linear_cka
from .distance import same_equivariance_distance
from .lie import GENERATORS, derivative_energy, flow, step_of
from .psnr import equivariance_psnr
from .run import MEASURES, baselines
from .variance import VariabilitySums, normalised_variance

__all__ = [
    "GENERATORS",
    "MEASURES",
    "VariabilitySums",
    "baselines",
    "cka_of_moments",
    "derivative_energy",
    "equivariance_psnr",
    "flow",
    "linear_cka",
    "normalised_variance",
    "same_equivariance_distance",
    "step_of",
]
