"""What a probe is asked to do: options with their defaults, checked before any work."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, Literal

from ..errors import ProbeError

SPATIAL_RUNGS = ("unaligned", "inverse", "best", "best_per_image", "spatial_bound")
CHANNEL_RUNGS = ("inverse_permuted", "inverse_orthogonal", "inverse_linear")
CONTROL_RUNGS = ("input_aligned", "resampling_floor", "other_image")
RUNGS = SPATIAL_RUNGS + CHANNEL_RUNGS + CONTROL_RUNGS
"""Rungs of the ladder: what is done to the map of the transformed image before comparing."""

FLOOR, CEILING = "input_aligned", "other_image"

_CHOICES: dict[str, tuple[Any, ...]] = {
    "weighting": ("raw", "channel"),
    "map_interpolation": ("bilinear", "bicubic"),
    "image_interpolation": ("bilinear", "bicubic"),
    "family": (None, "rotation", "similarity", "affine"),
}
_WHOLE = {"seed": 0, "batch_size": 1, "resamples": 10}
_REAL = {
    "erode": (0.0, math.inf, "a margin in pixels, 0 or more"),
    "level": (math.nextafter(0, 1), 1.0, "a share between 0 and 1, such as 0.95"),
}


@dataclass(frozen=True)
class Options:
    """Everything that shapes the numbers of a probe besides network, images, transformations.

    Attributes
    ----------
    seed : splits the images into fit and evaluation half, pairs other images, draws the bootstrap.
    batch_size : images in one forward pass; changes no number.
    weighting : "raw" sums channels as they are, "channel" divides each by its deviation first.
    map_interpolation, image_interpolation : "bilinear" (what spatial transformers use) or
        "bicubic".
    family : transforms over which `best` is searched: "rotation", "similarity", "affine", or None
        for the smallest of the last two that holds h⁻¹.
    erode : margin in pixels that samples must keep from the image's edge.
    channels : also fit channel maps on aligned features and the bound over all linear operators
        on positions.
    per_image : also search the best alignment of every evaluation image by itself (slow).
    resamples, level : of the bootstrap over evaluation images.
    """

    seed: int = 0
    batch_size: int = 32
    weighting: Literal["raw", "channel"] = "raw"
    map_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    image_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    family: Literal["rotation", "similarity", "affine"] | None = None
    erode: float = 0.0
    channels: bool = True
    per_image: bool = False
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(repr(choice) for choice in allowed)
                raise ProbeError(f"{name}={value!r} is not known; use one of {known}")
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise ProbeError(
                    f"{name}={value!r} is out of range; give a whole number of at least {least}"
                )
            object.__setattr__(self, name, int(value))  # NumPy's integers have no JSON
        for name, (low, high, text) in _REAL.items():
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not number or not low <= float(value) < high:
                raise ProbeError(f"{name}={value!r} is out of range; give {text}")
            object.__setattr__(self, name, float(value))
        for name in ("channels", "per_image"):
            if not isinstance(getattr(self, name), bool):
                raise ProbeError(f"{name}={getattr(self, name)!r} is not known; use True or False")

    @property
    def rungs(self) -> tuple[str, ...]:
        """The rungs that a run with these options measures, in the ladder's order."""
        left_out = set() if self.channels else {"spatial_bound", *CHANNEL_RUNGS}
        if not self.per_image:
            left_out.add("best_per_image")
        return tuple(rung for rung in RUNGS if rung not in left_out)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Options:
        """The options that `to_dict` wrote; unknown names are refused."""
        known = [field.name for field in fields(cls)]
        if extra := sorted(set(values) - set(known)):
            raise ProbeError(f"unknown options {', '.join(extra)}; there are {', '.join(known)}")
        return cls(**values)
