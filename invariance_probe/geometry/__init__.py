"""Geometry: transformations with algebra, frames of grids, resampling, valid cells."""

from .batched import (
    angle_of,
    points_in,
    projective_from_corners,
    rotations_of,
    scale_of,
    scalings_of,
    shears_of,
    translations_of,
)
from .frames import Frame, image_frame
from .grids import sample, sampling_grid, warp_each
from .resampling import sampling_operator, source_matrix, warp
from .sequences import parse_transforms, rotations, scalings
from .thin_plate import control_points, thin_plate_grid
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
from .valid import coverage, valid_cells

__all__ = [
    "Frame",
    "Transform",
    "affine",
    "angle_of",
    "control_points",
    "coverage",
    "from_matrix",
    "identity",
    "image_frame",
    "parse_transforms",
    "points_in",
    "projective_from_corners",
    "reflection",
    "rotation",
    "rotations",
    "rotations_of",
    "sample",
    "sampling_grid",
    "sampling_operator",
    "scale_of",
    "scaling",
    "scalings",
    "scalings_of",
    "shear",
    "shears_of",
    "source_matrix",
    "thin_plate_grid",
    "translation",
    "translations_of",
    "valid_cells",
    "warp",
    "warp_each",
]


def __dir__() -> list[str]:
    return sorted(__all__)
