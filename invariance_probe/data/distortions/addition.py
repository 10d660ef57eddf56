"""MNIST addition: two distorted digits in two channels, to be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ..examples.examples import Batch
from ..examples.fixed import checked_indices
from ..sizes import Size
from .digits import check_digits, generator_of, hash_of
from .poses import Poses
from .variants import VARIANTS

_RTS = VARIANTS["rts"]


@dataclass(frozen=True, eq=False)
class AddedDigits:
    """Pairs of digits, one per channel, whose sum (0 to 18) is the class: an `Examples`.

    Example i shows digit i in the first channel and in the second another one, drawn afresh in
    every pass (any digit of the set, with equal chance); both are turned, scaled and placed on
    their own by the law of MNIST-RTS. As no single matrix describes this, batches have no
    transforms. Source: Jaderberg et al., Spatial Transformer Networks, 2015, appendix A.1.

    Attributes
    ----------
    pixels : (N, 28, 28) uint8, held on the device where batches are made.
    labels : (N,) int64, the digits.
    """

    pixels: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    description: str
    mean: tuple[float, ...] = (_RTS.mean, _RTS.mean)
    std: tuple[float, ...] = (_RTS.std, _RTS.std)

    def __post_init__(self) -> None:
        check_digits(self.pixels, self.labels, self.description)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        return 2

    @property
    def canvas(self) -> Size:
        return _RTS.canvas

    @property
    def classes(self) -> int:
        return 19

    @property
    def positions(self) -> int:
        return 1

    @property
    def background(self) -> tuple[float, ...]:
        return tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))

    @property
    def fresh(self) -> bool:
        return True

    @cached_property
    def sha256(self) -> str:
        """Hash of the digits, the labels and the distribution."""
        about = f"sum of two digits: {_RTS.summary} {_RTS.canvas} {self.mean} {self.std}"
        return hash_of(about, [self.pixels, self.labels])

    def draw(self, seed: int) -> AdditionPass:
        """Return one pass; the same seed gives the same pass on every device."""
        generator = generator_of("addition", seed)
        first, second = (_RTS.law(len(self), generator) for _ in range(2))
        partners = torch.randint(len(self), (len(self),), generator=generator)
        device = self.pixels.device
        return AdditionPass(self, first.to(device), second.to(device), partners.to(device))

    def to(self, device: torch.device | str) -> AddedDigits:
        """Return the same examples, held on a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class AdditionPass:
    """One pass over pairs of digits; `partners` (N,) are the digits of the second channel."""

    examples: AddedDigits
    first: Poses
    second: Poses
    partners: Tensor

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked examples; ProbeError for an index that is not there."""
        held = self.examples
        asked = checked_indices(indices, len(held), held.description).to(held.pixels.device)
        others = self.partners[asked]
        channels = [
            poses[asked].show(held.pixels[shown], held.canvas).sub_(mean).div_(std)
            for poses, shown, mean, std in zip(
                (self.first, self.second), (asked, others), held.mean, held.std, strict=True
            )
        ]
        return Batch(torch.cat(channels, 1), held.labels[asked] + held.labels[others])
