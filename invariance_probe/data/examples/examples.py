"""What a classifier is trained and tested on: labelled examples, drawn afresh in every pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples of a pass, ready for a network.

    Attributes
    ----------
    images : (n, C, H, W) float32, normalised.
    targets : (n,) int64 classes, or (n, P) where an image shows P positions (SVHN sequences).
    transforms : (n, 3, 3) float64, the transformation that was applied to each image, or None where
        no 3x3 matrix describes it.
    displacements : (n, 16, 2) float64, by how many pixels the control points of a thin plate spline
        moved, for elastic distortions; else None.

    Convention: a transformation moves content, in image coordinates of the canvas (origin at its
    centre, pixels, x right, y down); it takes the upright image in the centre to what is shown.
    """

    images: Tensor
    targets: Tensor
    transforms: Tensor | None = None
    displacements: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)


class Draw(Protocol):
    """One pass over all examples: every random choice is made, batches are made when asked for."""

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked examples; each is the same whatever the others of its batch."""
        ...


class Examples(Protocol):
    """A labelled set with a distribution of transformations over it.

    `classes` counts the outputs of a classifier per position, `positions` the labels of an image.
    `mean` and `std` (one per channel, of pixels in [0, 1]) have been applied to what a batch holds;
    `background` is what lies beyond an image's edge, one value per channel after normalisation.
    `fresh` says whether two draws differ. `sha256` names the content and the distribution.
    """

    @property
    def description(self) -> str: ...
    @property
    def channels(self) -> int: ...
    @property
    def canvas(self) -> tuple[int, int]: ...
    @property
    def classes(self) -> int: ...
    @property
    def positions(self) -> int: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def background(self) -> tuple[float, ...]: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def sha256(self) -> str: ...
    def __len__(self) -> int: ...

    def draw(self, seed: int) -> Draw:
        """Return one pass; the same seed gives the same pass on every device."""
        ...

    def to(self, device: torch.device | str) -> Examples:
        """Return the same examples with batches made on a device."""
        ...
