"""Labelled images that every pass shows unchanged, held in memory as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from ...errors import ProbeError
from ..sizes import Size
from .examples import Batch


class Pixels(Protocol):
    """Images (N, C, H, W) uint8 by index; a tensor is one."""

    @property
    def shape(self) -> Sequence[int]: ...
    def __getitem__(self, indices: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class FixedExamples:
    """A labelled set without random choices: an `Examples` whose draws are all alike.

    Attributes
    ----------
    pixels : (N, C, H, W) uint8, a tensor or anything that gives rows of one (`LazyPixels`). They
        stay where they are; what a batch needs is sent to the device as bytes.
    targets : (N,) or (N, P) int64.
    background : one value per channel after normalisation, of what lies beyond the edge.
    transforms : (N, 3, 3) float64 or None, as in `Batch`.
    """

    pixels: Pixels = field(repr=False)
    targets: Tensor = field(repr=False)
    classes: int
    description: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: tuple[float, ...]
    sha256: str
    transforms: Tensor | None = field(default=None, repr=False)
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if len(self.pixels.shape) != 4 or self.pixels.shape[0] != len(self.targets):
            raise ProbeError(
                f"{self.description}: pixels of shape {tuple(self.pixels.shape)} for "
                f"{len(self.targets)} targets; give (N, C, H, W) and one target each"
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def canvas(self) -> Size:
        return int(self.pixels.shape[2]), int(self.pixels.shape[3])

    @property
    def positions(self) -> int:
        return 1 if self.targets.ndim == 1 else int(self.targets.shape[1])

    @property
    def fresh(self) -> bool:
        return False

    def draw(self, seed: int) -> FixedExamples:
        """Return the examples themselves: nothing is left to chance."""
        return self

    def to(self, device: torch.device | str) -> FixedExamples:
        """Return the same examples with batches made on a device."""
        return replace(self, device=device)

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked examples, normalised; ProbeError for an index that is not there."""
        asked = checked_indices(indices, len(self), self.description)
        images = normalised(self.pixels[asked].to(self.device), self.mean, self.std)
        chosen = None if self.transforms is None else self.transforms[asked].to(self.device)
        return Batch(images, self.targets[asked].to(self.device), chosen)


class LazyPixels:
    """Images (N, C, H, W) uint8 that are made a chunk at a time when first asked for, then kept.

    `make(start, stop)` returns the images of one chunk; it must give the same ones every time.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], chunk: int, make: Callable[[int, int], Tensor]
    ) -> None:
        self.shape = shape
        self._chunk, self._make = chunk, make
        self._kept = torch.empty(shape, dtype=torch.uint8)
        self._done = torch.zeros(-(-shape[0] // chunk), dtype=torch.bool)

    def __getitem__(self, indices: Tensor) -> Tensor:
        for number in torch.unique(indices // self._chunk).tolist():
            if not self._done[number]:
                start = number * self._chunk
                stop = min(start + self._chunk, self.shape[0])
                self._kept[start:stop] = self._make(start, stop)
                self._done[number] = True
        return self._kept[indices]


def checked_indices(indices: Sequence[int] | Tensor, count: int, description: str) -> Tensor:
    """Return indices as an int64 tensor on the CPU; ProbeError for one outside 0 ... count - 1."""
    asked = torch.as_tensor(indices, dtype=torch.int64).cpu().reshape(-1)
    outside = asked[(asked < 0) | (asked >= count)]
    if len(outside):
        raise ProbeError(
            f"{description}: no image {int(outside[0])}; indices run from 0 to {count - 1}"
        )
    return asked


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return float32 images from bytes, or from floats in [0, 1]: (value - mean) / std."""
    values = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    centre, spread = (
        torch.tensor(v, dtype=values.dtype, device=values.device).view(-1, 1, 1)
        for v in (mean, std)
    )
    return (values - centre) / spread


def channel_statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 images, in [0, 1]; exact.

    >>> channel_statistics(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, spreads = [], []
    for channel in pixels.unbind(1):
        # Counting byte values needs no floating copy of the images.
        count = torch.zeros(256, dtype=torch.float64)
        for part in channel.split(4096):
            count += torch.bincount(part.reshape(-1), minlength=256)
        share = count / count.sum()
        mean = float(share @ values)
        means.append(mean)
        spreads.append(float(share @ (values - mean).square()) ** 0.5)
    return tuple(means), tuple(spreads)


def first_of(count: int, number: int | None, description: str) -> int:
    """Return how many images are used: `number`, or all; ProbeError for one not in 1 ... count."""
    if number is not None and not 1 <= number <= count:
        raise ProbeError(
            f"{description}: {number} images asked for, {count} there; ask for 1 to {count}"
        )
    return count if number is None else number
