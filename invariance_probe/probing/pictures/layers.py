"""Pictures of one layer in the making: channel means, channels to show, frames, residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import Variance, channel_weights, squared_errors
from ...errors import ProbeError
from ...geometry import Frame, Transform, valid_cells, warp
from ..options import Options
from .values import SHOWN_RUNGS, LayerPictures, quantised


class LayerMaker:
    """Takes in maps of one layer, pass by pass, and makes its pictures.

    The passes: `weigh` (only with weighting="channel") and `average` over the images that give
    deviations and means, `correlate` over the shown ones, `choose`, then per batch of shown images
    `begin` and, transformation by transformation, `add`; `finish` ends.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        under: Sequence[Transform],
        canvas: tuple[int, int],
        cells: int,
        options: Options,
    ) -> None:
        if cells < 2:
            raise ProbeError(f"cells={cells}: show maps of at least 2 cells a side")
        self.name, self.frame, self.options = name, frame, options
        try:
            self.cells = torch.from_numpy(valid_cells(frame, under, canvas))
        except ProbeError as error:
            raise ProbeError(f"layer {name!r}: {error}") from None
        self.block = -(-max(frame.size) // cells)
        share = self._small(self.cells[None, None].double())[0, 0].numpy()
        self.shown_cells = share > (1 - 1e-9 if (share > 1 - 1e-9).any() else 0)
        self.weights: Tensor | None = None
        self.channels: tuple[int, ...] = ()
        self.notes: tuple[str, ...] = ()
        self._scale: Variance | None = None
        self._variance: Variance | None = None
        self._originals: list[Tensor] = []
        self._frames: list[tuple[Tensor, Tensor]] = []
        self._errors: list[Tensor] = []
        self._own: list[Tensor] = []

    @property
    def bytes_per_frame(self) -> int:
        """Of all channels of one map."""
        return len(self.channels) * self.shown_cells.size

    def weigh(self, maps: Tensor) -> None:
        """Add maps (N, C, rows, columns) to the channels' deviations."""
        if self._scale is None:
            self._scale = Variance(maps[0].mean(dim=(1, 2)))
        self._scale.update(maps, self._mask(maps))

    def average(self, maps: Tensor) -> None:
        """Add maps of originals to the channel means and to the variance about them."""
        if self._variance is None:
            self._pivot = maps[0].mean(dim=(1, 2))
            if self._scale is not None:
                variance = torch.from_numpy(self._scale.compute()[1])
                self.weights = channel_weights(variance)
            self._variance = Variance(self._pivot, self.weights)
            self._alone = Variance(self._pivot)
            self._sum = torch.zeros_like(self._pivot, dtype=torch.float64)
            self._count = 0
            self._products = self._sum.new_zeros(len(self._pivot), len(self._pivot))
        mask = self._mask(maps)
        self._variance.update(maps, mask)
        self._alone.update(maps, mask)
        about = (maps - self._pivot[:, None, None]) * mask
        self._sum += about.sum(dim=(0, 2, 3), dtype=torch.float64)
        self._count += len(maps) * int(self.cells.sum())

    def correlate(self, maps: Tensor) -> None:
        """Add maps of shown originals to the products between channels."""
        compared = maps.double()[..., self.cells.to(maps.device)] - self._means()[:, None]
        self._products += torch.einsum("ncv,ndv->cd", compared, compared)

    def choose(self, channels: int | Sequence[int], images: Sequence[int]) -> None:
        """Fix the channels to show; `images` are the shown ones among those averaged."""
        there = len(self._pivot)
        if isinstance(channels, int | np.integer):
            if channels < 1:
                raise ProbeError(f"channels={channels}: show at least one")
            picked = _pivots(self._products.cpu().numpy().copy(), min(int(channels), there))
        else:
            picked = [int(channel) for channel in channels]
            for channel in picked:
                if not 0 <= channel < there:
                    raise ProbeError(
                        f"layer {self.name!r} has no channel {channel}; there are 0 to {there - 1}"
                    )
            if not picked:
                raise ProbeError("channels=[]: show at least one")
        self.channels = tuple(dict.fromkeys(picked))
        if self._variance is None:
            raise ProbeError(f"layer {self.name!r} has seen no image yet")
        self._total = self._variance.compute()[0][list(images)]
        self._alive = self._alone.compute()[1][list(self.channels)] > 0

    def begin(self, original: Tensor) -> None:
        """Begin a batch of shown images."""
        own = original[:, list(self.channels)]
        self._originals.append(self._small(own).float().cpu())
        compared = own.double()[..., self.cells.to(own.device)]
        means = self._means()[list(self.channels)]
        self._own.append((compared - means[:, None]).square().sum(-1).cpu())

    def add(self, move: Transform, original: Tensor, moved: Tensor, realigned: Tensor) -> None:
        """Add the maps of the batch under one transformation, and its residuals."""
        back = warp(
            moved, move.inverse(), frame=self.frame, beyond="nearest", antialias=False,
            interpolation=self.options.map_interpolation,
        )  # fmt: skip
        mask, picked = self._mask(original), list(self.channels)
        rungs = {"unaligned": moved, "inverse": back, "input_aligned": realigned}
        found = []
        for rung in SHOWN_RUNGS:
            total = squared_errors(rungs[rung], original, mask, self.weights)
            apart = (rungs[rung][:, picked] - original[:, picked]) * mask
            alone = apart.square().sum(dim=(2, 3), dtype=torch.float64)
            found.append(torch.cat([total[:, None], alone], dim=1).cpu())
        self._errors.append(torch.stack(found, dim=-1))
        self._frames.append(
            (
                self._small(moved[:, picked]).float().cpu(),
                self._small(back[:, picked]).float().cpu(),
            )
        )

    def finish(self, moves: int) -> LayerPictures:
        """The pictures, with one scale per channel."""
        original = torch.cat(self._originals).numpy()
        moved, back = (
            _by_image([pair[which] for pair in self._frames], moves).numpy() for which in (0, 1)
        )
        errors = _by_image(self._errors, moves).numpy()  # (N, T, 1 + K, rungs)
        alone = np.where(self._alive, torch.cat(self._own).numpy(), 0.0)
        variance = np.concatenate([self._total[:, None], alone], axis=1)[:, None, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            residuals = np.where(variance > 0, errors / variance, np.nan)
        (jump_x, jump_y), (rows, columns) = self.frame.jump, self.frame.size
        return LayerPictures(
            layer=self.name,
            channels=self.channels,
            width=len(self._pivot),
            extent=(abs(rows * jump_y), abs(columns * jump_x)),
            block=self.block,
            cells=self.shown_cells,
            residuals=residuals,
            **quantised(original, moved, back, self.shown_cells),
        )

    def _mask(self, maps: Tensor) -> Tensor:
        return self.cells.to(maps)

    def _means(self) -> Tensor:
        return self._pivot.double() + self._sum / self._count

    def _small(self, maps: Tensor) -> Tensor:
        """Averages over blocks; those at the far edges may hold fewer cells."""
        if self.block == 1:
            return maps
        return F.avg_pool2d(maps, self.block, ceil_mode=True, count_include_pad=False)


def _by_image(parts: Sequence[Tensor], moves: int) -> Tensor:
    """(N, T, ...) from tensors (n, ...) that came batch by batch, in each move by move."""
    rows = [torch.stack(list(parts[i : i + moves]), dim=1) for i in range(0, len(parts), moves)]
    return torch.cat(rows)


def _pivots(products: NDArray[np.float64], number: int) -> list[int]:
    """Channels by pivoted Cholesky: each has most variance that those before do not explain.

    Once nothing is left, those of largest variance that are not there yet follow.
    """
    diagonal = products.diagonal().copy()
    picked: list[int] = []
    left = products.copy()
    while len(picked) < number:
        rest = left.diagonal().copy()
        rest[picked] = -1.0
        best = int(rest.argmax())
        if rest[best] <= 1e-9 * max(diagonal.max(), 1e-300):
            others = [int(c) for c in np.argsort(-diagonal, kind="stable") if int(c) not in picked]
            return picked + others[: number - len(picked)]
        picked.append(best)
        column = left[:, best].copy()
        left -= np.outer(column, column) / column[best]
    return picked
