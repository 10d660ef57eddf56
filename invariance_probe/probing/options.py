"""What a probe is asked to do: options with their defaults, checked before any work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ..errors import ProbeError

RUNGS = (
    "unaligned",
    "inverse",
    "best",
    "input_aligned",
    "resampling_floor",
    "other_image",
)
"""Rungs of the ladder: what is done to the map of the transformed image before comparing."""

FLOOR, CEILING = "input_aligned", "other_image"

_CHOICES: dict[str, tuple[Any, ...]] = {
    "weighting": ("raw", "channel"),
    "map_interpolation": ("bilinear", "bicubic"),
    "image_interpolation": ("bilinear", "bicubic"),
    "family": (None, "rotation", "similarity", "affine"),
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
    resamples, level : of the bootstrap over evaluation images.
    """

    seed: int = 0
    batch_size: int = 32
    weighting: Literal["raw", "channel"] = "raw"
    map_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    image_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    family: Literal["rotation", "similarity", "affine"] | None = None
    erode: float = 0.0
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(repr(choice) for choice in allowed)
                raise ProbeError(f"{name}={value!r} is not known; use one of {known}")
        checks = {
            "batch_size": self.batch_size >= 1,
            "resamples": self.resamples >= 10,
            "level": 0 < self.level < 1,
            "erode": self.erode >= 0,
        }
        for name, good in checks.items():
            if not good:
                raise ProbeError(f"{name}={getattr(self, name)!r} is out of range")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Options:
        """The options that `to_dict` wrote; unknown names are refused."""
        known = {field.name for field in fields(cls)}
        if extra := sorted(set(values) - known):
            raise ProbeError(f"unknown options {', '.join(extra)}; there are {', '.join(known)}")
        return cls(**values)
