"""What a probe is asked to do: options with their defaults, checked before any work."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from .._limits import BATCH, DENSE, RESAMPLES, SEED, check_whole, is_real, quoted
from ..errors import ProbeError
from .rungs import CHANNEL_RUNGS, RUNGS

SOURCES = ("maps moved", "input moved", "another image")
"""What the ledger predicts the original's map from: the transformed image's map moved back, the map
of the image moved back, and the original's map of another image: what comes by chance."""

_CHOICES: dict[str, tuple[Any, ...]] = {
    "weighting": ("raw", "channel"),
    "map_interpolation": ("bilinear", "bicubic"),
    "image_interpolation": ("bilinear", "bicubic"),
    "family": (None, "rotation", "similarity", "affine"),
    "precision": ("float32", "bfloat16", "float16"),
    "search": ("auto", "exact", "pyramid"),
    "impure": ("warn", "refuse"),
}
_WHOLE = {
    "seed": (0, SEED), "batch_size": (1, BATCH), "resamples": (10, RESAMPLES), "dense": (1, DENSE),
}  # fmt: skip
AUTO = "auto"
_BYTES = {"": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
          "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}  # fmt: skip
_REAL = {
    "erode": (0.0, math.inf, "a margin in pixels, 0 or more, or 'auto'"),
    "least_coverage": (0.0, math.nextafter(1, 2), "a share from 0 to 1, such as 0.5"),
    "level": (math.nextafter(0, 1), 1.0, "a share between 0 and 1, such as 0.95"),
}


@dataclass(frozen=True)
class Options:
    """Everything that shapes the numbers of a probe besides network, images, transformations.

    Attributes
    ----------
    seed : splits the images into fit and evaluation half, pairs other images, flips the signs of
        `compare`.
    batch_size : images in one forward pass, or "auto": as many as are fast and fit the memory, at
        most 256. It changes numbers by rounding only, below 1e-6 (`best_per_image` by 1e-4: of near
        minima rounding may choose another); the result holds the number.
    weighting : "raw" sums channels as they are, "channel" divides each by its deviation first.
    map_interpolation, image_interpolation : "bilinear" (what spatial transformers use) or
        "bicubic".
    family : transforms over which `best` is searched: "rotation", "similarity", "affine", or None
        for the smallest of the last two that holds h⁻¹.
    least_coverage : share of the compared cells that `best` must read on the map; beyond it the
        nearest cell repeats.
    erode : margin in pixels that samples must keep from the image's edge, the same for all layers;
        "auto" measures for each layer how far in padding and fill change its values; 0 compares
        all cells.
    channels : also fit channel maps on aligned features and the bound over all linear operators
        on positions.
    search : how `best` is searched: "exact" on the map itself, "pyramid" on averaged blocks and
        then on the map at fewer cells, "auto" exact up to 56 cells a side. The alignments table
        says how each was.
    ledger : also split the original's variance into what position, space, channels and
        neighbourhood predict of it; each fit image then passes once more per transformation.
    dense : how many times finer than a layer's own grid the maps are that are moved back, made by
        showing the network shifted images; "auto" chooses for each layer what brings its
        resampling floor to 0.05, at most 8, with at most 64 passes of an image. 1 takes the
        layer's own maps. Layers whose maps do not move with the image are refused.
    per_image : also search the best alignment of every evaluation image by itself (slow).
    level : of the intervals over evaluation images.
    resamples : sign flips behind the p-values of `compare`, 10 to 20,000.
    precision : of the network's forward pass alone: "float32" leaves it as it is, "bfloat16" and
        "float16" run it in mixed precision (autocast). All sums are taken in float64 either way.
    memory : what the fit half's sums may take, such as "3GB"; None takes half of what is free, at
        most 1.2 GB. Transformations are worked on in as many blocks as that needs, each for
        another pass of the untransformed images; no number depends on it.
    impure : what to do with a network whose maps of an image depend on more than that image
        (random draws, what was shown before, the rest of the batch): "warn" in the result, or
        "refuse" to measure it.
    """

    seed: int = 0
    batch_size: int | Literal["auto"] = "auto"
    weighting: Literal["raw", "channel"] = "raw"
    map_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    image_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    family: Literal["rotation", "similarity", "affine"] | None = None
    least_coverage: float = 0.5
    erode: float | Literal["auto"] = "auto"
    channels: bool = True
    ledger: bool = True
    per_image: bool = False
    resamples: int = 1000
    level: float = 0.95
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    search: Literal["auto", "exact", "pyramid"] = "auto"
    memory: str | None = None
    impure: Literal["warn", "refuse"] = "warn"
    dense: int | Literal["auto"] = 1

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(repr(choice) for choice in allowed)
                raise ProbeError(f"{name}={value!r} is not known; use one of {known}")
        for name, (least, most) in _WHOLE.items():
            value = getattr(self, name)
            free = name in ("batch_size", "dense")
            if free and value == AUTO:
                continue
            whole = check_whole(name, value, least, most, f", or {AUTO!r}" * free)
            object.__setattr__(self, name, whole)
        for name, (low, high, text) in _REAL.items():
            value = getattr(self, name)
            if name == "erode" and value == AUTO:
                continue
            if not is_real(value, low, high):
                raise ProbeError(f"{name}={quoted(value)} is out of range; give {text}")
            object.__setattr__(self, name, float(value))
        for name in ("channels", "ledger", "per_image"):
            if not isinstance(getattr(self, name), bool):
                raise ProbeError(f"{name}={getattr(self, name)!r} is not known; use True or False")
        memory_size(self.memory)

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


Function = TypeVar("Function", bound=Callable[..., Any])


def takes_options(function: Function) -> Function:
    """Show the fields of `Options` in the signature of a function that takes them as `**changes`.

    They are written once, and completion and help know them.
    """
    shown = inspect.signature(function)
    own = [one for one in shown.parameters.values() if one.kind is not one.VAR_KEYWORD]
    more = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type
        )
        for one in fields(Options)
    ]
    function.__signature__ = shown.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return function


def stored_level(provenance: Mapping[str, Any]) -> float:
    """The level of a result's intervals; 0.95 where its provenance does not say."""
    return float((provenance.get("options") or {}).get("level", Options.level))


def memory_size(text: object) -> int | None:
    """Bytes of a text such as "3GB" (10⁹), "512MiB" (2²⁰) or "2e9"; None stays None.

    Raises ProbeError for anything else.

    >>> memory_size("1.5GB")
    1500000000
    """
    if text is None:
        return None
    words = text if isinstance(text, str) else ""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d+)?)\s*([a-zA-Z]*)\s*", words)
    factor = _BYTES.get(found[2].lower()) if found else None
    number = float(found[1]) * factor if found and factor else 0.0
    if not 1 <= number < math.inf:
        raise ProbeError(f"memory={quoted(text)} is no size; give a text such as '3GB' or '512MB'")
    return int(number)
