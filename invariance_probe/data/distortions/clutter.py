"""Clutter: small pieces of other digits, added to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .parameters import DIGIT

PATCHES = 6
CROP = 6


@dataclass(frozen=True, eq=False)
class Clutter:
    """The patches of N images: tensors (N, 6) int64.

    `digit`, `row`, `column`: which training digit is cut, and the top left pixel of its 6x6 crop.
    `top`, `left`, `side`: where the patch lies on the canvas, and to how many pixels it is resized;
    `largest` is the largest side of all that could be drawn.
    """

    digit: Tensor
    row: Tensor
    column: Tensor
    top: Tensor
    left: Tensor
    side: Tensor
    largest: int

    def __getitem__(self, indices: Tensor) -> Clutter:
        return self._each(lambda part: part[indices])

    def to(self, device: torch.device) -> Clutter:
        """Return the same patches on a device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Clutter:
        parts = (self.digit, self.row, self.column, self.top, self.left, self.side)
        digit, row, column, top, left, side = map(change, parts)
        return Clutter(digit, row, column, top, left, side, self.largest)


def crops_below_54(count: int, digits: int, generator: Generator) -> Clutter:
    """Crops on a canvas of 60, rows and columns 0 to 53: the reference's half-open range."""
    return _crops(count, digits, 54, generator)


def crops_anywhere(count: int, digits: int, generator: Generator) -> Clutter:
    """Crops anywhere on a canvas of 60, rows and columns 0 to 54."""
    return _crops(count, digits, 55, generator)


def resized_crops(count: int, digits: int, generator: Generator) -> Clutter:
    """Crops resized to 2s x 2s on a canvas of 112, s from 1 to 9, their centres from 2 to 109.

    All ranges uniform over whole numbers; s becomes smaller where the patch would leave the canvas.
    """
    shape = (count, PATCHES)
    sources = _sources(count, digits, generator)
    radius = torch.randint(1, 10, shape, generator=generator)
    x, y = (torch.randint(2, 110, shape, generator=generator) for _ in "xy")
    for room in (x, y, 112 - x, 112 - y):
        radius = torch.minimum(radius, room)
    return Clutter(*sources, y - radius, x - radius, 2 * radius, largest=18)


def add_clutter(images: Tensor, clutter: Clutter, digits: Tensor) -> Tensor:
    """Add the patches to images (n, 1, H, W) in [0, 1], in place, and cut values off at 1.

    `digits` are the bytes (M, 28, 28) that patches are cut from. Resizing is bilinear, without
    anti-aliasing, on the crop alone. Patches are added one after the other, the first first.
    """
    high, wide = images.shape[-2:]
    steps = torch.arange(clutter.largest, device=images.device)
    inside = steps < clutter.side[..., None]
    patches = _cut(clutter, digits)
    if clutter.largest != CROP:
        patches = _resized(patches, clutter.side, steps)
        patches = patches * (inside[..., None, :] & inside[..., :, None])
    # A window is 0 beyond its patch, and that is added to row or column 0.
    y = (clutter.top[..., None] + steps) * inside
    x = (clutter.left[..., None] + steps) * inside
    where = (y[..., :, None] * wide + x[..., None, :]).flatten(2)
    flat = images.view(len(images), high * wide)
    for patch in range(PATCHES):
        flat.scatter_add_(1, where[:, patch], patches[:, patch].flatten(1))
    return images.clamp_(max=1)


def _crops(count: int, digits: int, positions: int, generator: Generator) -> Clutter:
    shape = (count, PATCHES)
    sources = _sources(count, digits, generator)
    top, left = (torch.randint(0, positions, shape, generator=generator) for _ in "yx")
    return Clutter(*sources, top, left, torch.full(shape, CROP), largest=CROP)


def _sources(count: int, digits: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    shape = (count, PATCHES)
    digit = torch.randint(0, digits, shape, generator=generator)
    row, column = (torch.randint(0, DIGIT - CROP + 1, shape, generator=generator) for _ in "yx")
    return digit, row, column


def _cut(clutter: Clutter, digits: Tensor) -> Tensor:
    """Return the crops (n, 6, 6, 6) in [0, 1]."""
    steps = torch.arange(CROP, device=digits.device)
    y = (clutter.row[..., None] + steps)[..., :, None]
    x = (clutter.column[..., None] + steps)[..., None, :]
    return digits[clutter.digit[..., None, None], y, x].to(torch.float32) / 255


def _resized(patches: Tensor, side: Tensor, steps: Tensor) -> Tensor:
    """Return patches (n, 6, window, window), of which the first `side` rows and columns count."""
    position = (steps + 0.5) * (CROP / side[..., None]) - 0.5
    position = position.clamp(0, CROP - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=CROP - 1)
    part = position - low
    window = len(steps)

    def rows(index: Tensor) -> Tensor:
        return patches.gather(2, index[..., :, None].expand(-1, -1, -1, CROP))

    tall = torch.lerp(rows(low), rows(high), part[..., :, None])

    def columns(index: Tensor) -> Tensor:
        return tall.gather(3, index[..., None, :].expand(-1, -1, window, -1))

    return torch.lerp(columns(low), columns(high), part[..., None, :])
