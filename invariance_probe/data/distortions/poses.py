"""How every image of a pass is moved, and the moving itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...geometry import sample, sampling_grid, thin_plate_grid, translations_of
from ..sizes import Size

# Points of a grid at a time on the CPU: larger ones are allocated anew for every batch, which
# takes longer than the sampling.
_TOGETHER = 800_000


class Poses(Protocol):
    """The poses of N images; `transforms` and `displacements` are what a `Batch` tells of them."""

    @property
    def transforms(self) -> Tensor | None: ...
    @property
    def displacements(self) -> Tensor | None: ...
    def __getitem__(self, indices: Tensor) -> Poses: ...
    def to(self, device: torch.device) -> Poses: ...

    def show(self, pixels: Tensor, size: Size) -> Tensor:
        """Return images (n, 1, h, w) float32 in [0, 1] of `size` from bytes (n, H, W), moved.

        Bilinear without anti-aliasing; beyond the edge lies 0.
        """
        ...


@dataclass(frozen=True, eq=False)
class MatrixPoses:
    """Transformations (N, 3, 3) float64, and their inverses (N, 2 or 3, 3) float32 to look up."""

    transforms: Tensor
    sources: Tensor
    displacements: None = None

    def __getitem__(self, indices: Tensor) -> MatrixPoses:
        return MatrixPoses(self.transforms[indices], self.sources[indices])

    def to(self, device: torch.device) -> MatrixPoses:
        """Return the same poses on a device."""
        return MatrixPoses(self.transforms.to(device), self.sources.to(device))

    def show(self, pixels: Tensor, size: Size) -> Tensor:
        """Return the images, moved."""
        images = in_unit_range(pixels)[:, None]
        canvas = (pixels.shape[1], pixels.shape[2])
        step = max(1, len(images))
        if pixels.device.type == "cpu":
            step = max(1, _TOGETHER // (size[0] * size[1]))
        parts = zip(images.split(step), self.sources.split(step), strict=True)
        read = [sample(part, sampling_grid(seen, size, canvas)) for part, seen in parts]
        return read[0] if len(read) == 1 else torch.cat(read)


@dataclass(frozen=True, eq=False)
class ShiftPoses:
    """Shifts by whole pixels (N, 2) int64: copies, whose content must stay within the canvas."""

    shifts: Tensor
    displacements: None = None

    @property
    def transforms(self) -> Tensor:
        return translations_of(self.shifts)

    def __getitem__(self, indices: Tensor) -> ShiftPoses:
        return ShiftPoses(self.shifts[indices])

    def to(self, device: torch.device) -> ShiftPoses:
        """Return the same poses on a device."""
        return ShiftPoses(self.shifts.to(device))

    def show(self, pixels: Tensor, size: Size) -> Tensor:
        """Return the images, moved."""
        rows, columns = pixels.shape[1:]
        left = self.shifts[:, 0] + (size[1] - columns) // 2
        top = self.shifts[:, 1] + (size[0] - rows) // 2
        x = left[:, None] + torch.arange(columns, device=pixels.device)
        y = top[:, None] + torch.arange(rows, device=pixels.device)
        where = (y[:, :, None] * size[1] + x[:, None, :]).flatten(1)
        canvas = torch.zeros(len(pixels), size[0] * size[1], device=pixels.device)
        canvas.scatter_(1, where, in_unit_range(pixels).flatten(1))
        return canvas.view(-1, 1, *size)


@dataclass(frozen=True, eq=False)
class SplinePoses:
    """Displacements (N, 16, 2) float64 px: at control point c the image is read at c + d."""

    displacements: Tensor
    transforms: None = None

    def __getitem__(self, indices: Tensor) -> SplinePoses:
        return SplinePoses(self.displacements[indices])

    def to(self, device: torch.device) -> SplinePoses:
        """Return the same poses on a device."""
        return SplinePoses(self.displacements.to(device))

    def show(self, pixels: Tensor, size: Size) -> Tensor:
        """Return the images, moved."""
        canvas = (pixels.shape[1], pixels.shape[2])
        grid = thin_plate_grid(self.displacements.float(), size, canvas)
        return sample(in_unit_range(pixels)[:, None], grid)


def by_matrix(transforms: Tensor) -> MatrixPoses:
    """Return poses from (N, 3, 3) float64, all affine or all projective."""
    # One inversion for the whole pass, rounded only afterwards so that exact turns stay exact.
    sources = torch.linalg.inv(transforms).float()
    affine = not bool(transforms[:, 2, :2].any())
    return MatrixPoses(transforms, sources[:, :2] if affine else sources)


def in_unit_range(pixels: Tensor) -> Tensor:
    """Return bytes as float32 in [0, 1]."""
    return pixels.to(torch.float32).div_(255)
