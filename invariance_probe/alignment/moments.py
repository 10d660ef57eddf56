"""Second moments between positions: all that a search over spatial transforms needs to know.

With A the maps of transformed images and B the maps of the originals, written as matrices
positions x (images·channels), every linear warp W has ‖WA − B‖² = tr W K_AA Wᵀ − 2 tr W K_AB +
tr K_BB. The moments add over batches and machines; images and channels drop out of the search.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from ..geometry import Frame

_BATCH = 1_000_000  # map entries worked on at a time: they stay in cache


class SpatialMoments:
    """Streaming moments of one layer under one transformation.

    `frame` is the layer's grid, `cells` (rows, columns) says where the original is compared.
    `update` takes maps (N, C, rows, columns) of the transformed and the original images; objects
    with the same cells add. `reach` is the widest distance in cells between two taps of the
    sampler (1 bilinear, 3 bicubic): K_AA is kept only that far from its diagonal.

    `pivot` (C) is subtracted from both maps first. It changes no residual, because sampler
    weights sum to one, but saves the digits that large channel means would cost. `weights` (C)
    multiplies channels after that.
    """

    SUMS: ClassVar[tuple[str, ...]] = ("images", "cross", "auto", "target", "channel_sum")

    def __init__(
        self,
        frame: Frame,
        cells: NDArray[np.bool_],
        *,
        reach: int = 1,
        pivot: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        if cells.shape != frame.size or not cells.any():
            raise ProbeError(
                f"cells of shape {cells.shape} with {int(cells.sum())} chosen do not fit a map "
                f"of {frame.size}; choose at least one cell of that map"
            )
        self.frame, self.cells, self.reach = frame, cells, reach
        self.pivot, self.weights = pivot, weights
        self.images = 0
        self._rounding = 0.0  # variance beside mean squares that a constant map may show
        self.cross = torch.zeros(0)  # (V, P): sum of original(v) · moved(p)
        self.auto = torch.zeros(0)  # (2r+1, 2r+1, P): sum of moved(p) · moved(p + lag)
        self.target = torch.zeros(0)  # (V): sum of original(v)²
        self.channel_sum = torch.zeros(0)  # (C): sum of original over V

    def update(self, moved: Tensor, original: Tensor) -> None:
        """Add a batch: maps of the transformed and of the original images, both (N, C, H, W)."""
        if moved.shape != original.shape or tuple(moved.shape[-2:]) != self.frame.size:
            raise ProbeError(
                f"maps of shape {tuple(moved.shape)} and {tuple(original.shape)} do not belong to "
                f"a grid of {self.frame.size} cells; both must be (N, C, rows, columns) of it"
            )
        if moved.dtype not in (torch.float32, torch.float64):  # half precision overflows in sums
            moved, original = moved.float(), original.float()
        if self.pivot is None:
            self.pivot = original.mean(dim=(0, 2, 3))
        chosen = torch.from_numpy(np.flatnonzero(self.cells.ravel())).to(original.device)
        cross = original.new_zeros(len(chosen), self.cells.size)
        step = max(1, _BATCH // max(1, original[:1].numel()))
        for a, b in zip(moved.split(step), original.split(step), strict=True):
            a, b = self._centred(a), self._centred(b).flatten(2)
            if len(chosen) < self.cells.size:
                b = b.index_select(2, chosen)
            rows = b.flatten(0, 1)  # (N·C, V)
            cross.addmm_(rows.T, a.flatten(2).flatten(0, 1))
            self._add("auto", self._lags(a))
            squares = b.square()
            self._add("target", squares.sum((0, 1), dtype=torch.float64))
            self._add("channel_sum", b.sum(dim=(0, 2), dtype=torch.float64))
        self._add("cross", cross)
        self.images += len(moved)
        self._rounding = max(self._rounding, torch.finfo(original.dtype).eps)

    def __add__(self, other: SpatialMoments) -> SpatialMoments:
        """Moments of both sets of images; they must share grid, cells, pivot and weights."""
        same = (
            self.frame == other.frame
            and np.array_equal(self.cells, other.cells)
            and self.reach == other.reach
            and _equal(self.weights, other.weights)
        )
        if not same:
            raise ProbeError("moments of different grids, cells or weights do not add")
        filled = [part for part in (self, other) if part.images]
        if len(filled) == 2 and not _equal(self.pivot, other.pivot):
            raise ProbeError("moments with different pivots do not add; give both the same pivot")
        pivot = filled[0].pivot if filled else self.pivot
        total = SpatialMoments(
            self.frame, self.cells, reach=self.reach, pivot=pivot, weights=self.weights
        )
        for part in filled:
            for name in ("cross", "auto", "target", "channel_sum"):
                total._add(name, getattr(part, name).clone())
            total.images += part.images
            total._rounding = max(total._rounding, part._rounding)
        return total

    @property
    def energy(self) -> float:
        """Sum over images, chosen cells and channels of ‖original − channel mean‖²."""
        number = max(1, self.images * int(self.cells.sum()))
        squares = float(self.target.sum())
        energy = squares - float(self.channel_sum.square().sum()) / number
        return energy if energy > self._rounding * squares else 0.0

    def _centred(self, maps: Tensor) -> Tensor:
        centred = maps - self.pivot.to(maps)[:, None, None] if self.pivot is not None else maps
        return centred if self.weights is None else centred * self.weights.to(maps)[:, None, None]

    def _lags(self, maps: Tensor) -> Tensor:
        """Products of cells with neighbours up to `reach`, summed over images and channels."""
        rows, columns = self.frame.size
        r = self.reach
        flat = maps.flatten(2)  # a lag (dy, dx) is one shift of the flat map, where it stays in row
        lags = maps.new_zeros((2 * r + 1, 2 * r + 1, rows, columns), dtype=torch.float64)
        for dy in range(min(r, rows - 1) + 1):
            for dx in range(-min(r, columns - 1) if dy else 0, min(r, columns - 1) + 1):
                shift, total = dy * columns + dx, rows * columns
                # Per image in the maps' precision, over images in float64: 1e-7, not 1e-5.
                images = torch.linalg.vecdot(flat[..., : total - shift], flat[..., shift:], dim=1)
                product = F.pad(images.sum(0, dtype=torch.float64), (0, shift))
                product = product.reshape(rows, columns)
                y, x = slice(0, rows - dy), slice(max(0, -dx), columns - max(0, dx))
                back_x = slice(max(0, dx), columns - max(0, -dx))
                lags[r + dy, r + dx, y, x] = product[y, x]
                lags[r - dy, r - dx, dy:, back_x] = product[y, x]
        return lags.flatten(2)

    def _add(self, name: str, value: Tensor) -> None:
        old: Tensor = getattr(self, name)
        value = value.double()
        setattr(self, name, old.add_(value) if old.numel() else value)


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and bool((a == b).all())
