"""Measure whether a spatial transformation can align the feature maps of a CNN.

The names below load their room on first use, so importing the package stays cheap: PyTorch is
imported when the first thing that needs it is touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__
from .errors import ProbeError

if TYPE_CHECKING:
    from .data import array_images, embedded_digits, image_folder, torchvision_images
    from .geometry import (
        Frame,
        Transform,
        affine,
        identity,
        parse_transforms,
        reflection,
        rotation,
        rotations,
        scaling,
        scalings,
        shear,
        translation,
    )
    from .networks import build_network, list_layers
    from .probing import Options, Result, compare, load_result, oracle, probe
    from .reporting import cite

__all__ = [
    "Frame",
    "Options",
    "ProbeError",
    "Result",
    "Transform",
    "__version__",
    "affine",
    "array_images",
    "build_network",
    "cite",
    "compare",
    "embedded_digits",
    "identity",
    "image_folder",
    "list_layers",
    "load_result",
    "oracle",
    "parse_transforms",
    "probe",
    "reflection",
    "rotation",
    "rotations",
    "scaling",
    "scalings",
    "shear",
    "torchvision_images",
    "translation",
]

_ROOMS = {
    "data": ("array_images", "embedded_digits", "image_folder", "torchvision_images"),
    "geometry": (
        "Frame",
        "Transform",
        "affine",
        "identity",
        "parse_transforms",
        "reflection",
        "rotation",
        "rotations",
        "scaling",
        "scalings",
        "shear",
        "translation",
    ),
    "networks": ("build_network", "list_layers"),
    "probing": ("Options", "Result", "compare", "load_result", "oracle", "probe"),
    "reporting": ("cite",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the room that holds `name` and remember the value."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names: what completion offers."""
    return sorted(__all__)
