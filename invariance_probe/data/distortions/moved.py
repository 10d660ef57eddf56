"""Upright images, moved afresh in every pass by transformations that are known."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from ...errors import ProbeError
from ...geometry import rotations_of, sample, sampling_grid, scalings_of, translations_of
from ..examples.examples import Batch, Examples
from ..examples.fixed import FixedExamples, checked_indices
from ..sizes import Size
from .digits import generator_of
from .poses import MatrixPoses, by_matrix

_HOW = (
    "give rotation:DEGREES, scaling:FACTOR, translation:PIXELS or similarity:DEGREES,FACTOR; every "
    "image is then moved by at most as much, either way"
)


@dataclass(frozen=True)
class Movement:
    """How images are moved: drawn for every image of a pass, uniform between the ends.

    Attributes
    ----------
    text : as it was asked for, such as "rotation:90".
    summary : the same in words.
    law : (N, 3, 3) float64 content transforms in image coordinates, of N and a generator.
    """

    text: str
    summary: str
    law: Callable[[int, Generator], Tensor]


def movement(text: str) -> Movement:
    """Return the movement of a text; ProbeError for one that is none, with what there is.

    >>> movement("rotation:90").summary
    'turned by U(-90, 90) degrees'
    >>> movement("similarity:30,2").summary
    'turned by U(-30, 30) degrees, scaled by 2^U(-1, 1)'
    """
    kind, _, rest = text.partition(":")
    amounts = [_amount(word) for word in rest.split(",")]
    limits = {"rotation": (180.0,), "scaling": (16.0,), "translation": (1024.0,),
              "similarity": (180.0, 16.0)}.get(kind, ())  # fmt: skip
    factor = amounts[-1] if kind in ("scaling", "similarity") else math.inf
    fits = len(amounts) == len(limits) and all(
        0 < a <= most for a, most in zip(amounts, limits, strict=True)
    )
    if not fits or factor <= 1:
        limit = f" (at most {', '.join(f'{most:g}' for most in limits)})" if limits else ""
        raise ProbeError(f"transform {text[:80]!r} is no movement{limit}; {_HOW}")
    if kind == "translation":
        (far,) = amounts
        said = f"shifted by U(-{far:g}, {far:g}) px in x and in y"
        return Movement(text, said, lambda n, g: translations_of(far * _between((n, 2), g)))
    turn, octaves = amounts[0], math.log2(factor) if math.isfinite(factor) else 0.0
    turned = f"turned by U(-{turn:g}, {turn:g}) degrees"
    resized = f"scaled by 2^U(-{octaves:.4g}, {octaves:.4g})"
    if kind == "rotation":
        return Movement(text, turned, lambda n, g: rotations_of(turn * _between(n, g)))
    if kind == "scaling":
        return Movement(
            text, resized, lambda n, g: scalings_of(torch.exp2(octaves * _between(n, g)))
        )

    def both(count: int, generator: Generator) -> Tensor:
        turns = rotations_of(turn * _between(count, generator))
        return turns @ scalings_of(torch.exp2(octaves * _between(count, generator)))

    return Movement(text, f"{turned}, {resized}", both)


@dataclass(frozen=True, eq=False)
class MovedExamples:
    """Upright examples with a movement over them: an `Examples` whose draws differ.

    Images are moved bilinearly without anti-aliasing on their own canvas; beyond the edge lies the
    examples' background. All transformations of a pass are drawn at once, on the CPU.
    """

    upright: FixedExamples
    move: Movement

    def __len__(self) -> int:
        return len(self.upright)

    @property
    def description(self) -> str:
        return f"{self.upright.description}, {self.move.summary}"

    @property
    def channels(self) -> int:
        return self.upright.channels

    @property
    def canvas(self) -> Size:
        return self.upright.canvas

    @property
    def positions(self) -> int:
        return self.upright.positions

    @property
    def classes(self) -> int:
        return self.upright.classes

    @property
    def mean(self) -> tuple[float, ...]:
        return self.upright.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.upright.std

    @property
    def background(self) -> tuple[float, ...]:
        return self.upright.background

    @property
    def fresh(self) -> bool:
        return True

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{self.upright.sha256} {self.move.text}".encode()).hexdigest()

    def draw(self, seed: int) -> MovedPass:
        """Return one pass; the same seed gives the same pass on every device."""
        law = self.move.law(len(self), generator_of(self.move.text, seed))
        return MovedPass(self, by_matrix(law))

    def to(self, device: torch.device | str) -> MovedExamples:
        """Return the same examples with batches made on a device."""
        return replace(self, upright=self.upright.to(device))


@dataclass(frozen=True, eq=False)
class MovedPass:
    """One pass over moved images."""

    examples: MovedExamples
    poses: MatrixPoses

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked examples; ProbeError for an index that is not there."""
        held = self.examples
        asked = checked_indices(indices, len(held), held.description)
        shown = held.upright.batch(asked)
        poses = self.poses[asked].to(shown.images.device)
        beyond = torch.tensor(held.background, device=shown.images.device).view(-1, 1, 1)
        grid = sampling_grid(poses.sources, held.canvas, held.canvas)
        images = sample(shown.images - beyond, grid) + beyond
        return Batch(images, shown.targets, poses.transforms)


def moved(examples: Examples, text: str) -> MovedExamples:
    """Return upright examples, moved as the text says (`movement`).

    Raises ProbeError for examples that are distorted already, and for shifts out of the canvas.
    """
    move = movement(text)
    if not isinstance(examples, FixedExamples):
        raise ProbeError(
            f"{examples.description}: these images are transformed already; leave transform out, "
            "or give upright ones (a folder, mnist)"
        )
    kind, _, rest = text.partition(":")
    if kind == "translation" and float(rest) >= min(examples.canvas) / 2:
        side = min(examples.canvas)
        raise ProbeError(
            f"transform {text!r} shifts images out of a canvas of {side} pixels; give less than "
            f"{side / 2:g}"
        )
    return MovedExamples(examples, move)


def _amount(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _between(shape: int | tuple[int, ...], by: Generator) -> Tensor:
    """Uniform between -1 and 1."""
    return 2 * torch.rand(shape, generator=by, dtype=torch.float64) - 1
