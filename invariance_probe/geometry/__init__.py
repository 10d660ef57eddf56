"""Geometry: transformations with algebra, frames of grids, resampling, valid cells."""

from .frames import Frame, image_frame
from .masks import coverage, valid_cells
from .resampling import sampling_operator, source_matrix, warp
from .sequences import parse_transforms, rotations, scalings
from .transforms import (
    Transform,
    affine,
    from_matrix,
    identity,
    reflection,
    rotation,
    scaling,
    shear,
    translation,
)

__all__ = [
    "Frame",
    "Transform",
    "affine",
    "coverage",
    "from_matrix",
    "identity",
    "image_frame",
    "parse_transforms",
    "reflection",
    "rotation",
    "rotations",
    "sampling_operator",
    "scaling",
    "scalings",
    "shear",
    "source_matrix",
    "translation",
    "valid_cells",
    "warp",
]
