"""What a pass accumulates for one layer: moments on the fit half, error sums on the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..alignment import (
    Alignment,
    GrowingRows,
    SpatialMoments,
    Variance,
    best_alignment,
    squared_errors,
)
from ..errors import ProbeError
from ..geometry import Frame, Transform, valid_cells, warp
from .bound_state import BoundState
from .channel_state import ChannelState
from .options import Options

_SEARCH_CELLS = 784  # compared cells that the search looks at; a regular sub-grid beyond that
_SEARCH_SIDE = 56  # larger maps are averaged in blocks before the search


class LayerState:
    """Accumulators of one layer over a run.

    The search runs on at most 56 cells a side (blocks of a larger map are averaged) and on a
    regular sub-grid of at most 784 compared cells; residuals are always taken on the full map.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        transforms: Sequence[Transform],
        canvas: tuple[int, int],
        options: Options,
    ) -> None:
        self.name, self.frame, self.transforms, self.options = name, frame, transforms, options
        self.canvas, self.rungs = canvas, options.rungs
        self.channel_state: ChannelState | None = None
        self.bound_state: BoundState | None = None
        try:
            self.cells = valid_cells(frame, transforms, canvas, erode=options.erode)
            self.pool = -(-max(frame.size) // _SEARCH_SIDE)
            self.search_frame = frame.pooled(self.pool) if self.pool > 1 else frame
            pooled = self.cells
            if self.pool > 1:
                pooled = valid_cells(self.search_frame, transforms, canvas, erode=options.erode)
        except ProbeError as error:
            raise ProbeError(f"layer {name!r}: {error}") from None
        self.search_cells = _thinned(pooled, _SEARCH_CELLS)
        self._reach = 1 if options.map_interpolation == "bilinear" else 3
        self.pivot: Tensor | None = None
        self.weights: Tensor | None = None
        self.channels = 0
        self.moments: list[SpatialMoments] = []
        self.alignments: list[Alignment] = []
        self._variance: Variance | None = None
        self._scale: Variance | None = None
        self._errors = GrowingRows()  # (images, transforms, rungs)
        self._first: Tensor | None = None
        self._previous: Tensor | None = None

    def see(self, original: Tensor) -> None:
        """Fix the pivot from the first image: the same whatever the batch size."""
        if self.pivot is None:
            self.channels = original.shape[1]
            self.pivot = original[0].mean(dim=(1, 2))
            self._mask = torch.from_numpy(self.cells).to(original)

    def measure_scale(self, original: Tensor) -> None:
        """First pass of weighting="channel": each channel's variance on the fit half."""
        self.see(original)
        if self._scale is None:
            self._scale = Variance(self._pivot())
        self._scale.update(original, self._mask)

    def fix_scale(self) -> None:
        """Weights 1/σ per channel; channels that never vary get 0 and are reported as dead."""
        if self._scale is not None:
            variance = torch.from_numpy(self._scale.compute()[1])
            alive = variance > 1e-12 * variance.max()
            self.weights = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), 0.0)

    def fit(self, which: int, moved: Tensor, original: Tensor) -> None:
        """Add maps of the fit half under transformation number `which`."""
        self.see(original)
        if not self.moments:
            self.moments = [
                SpatialMoments(
                    self.search_frame, self.search_cells, reach=self._reach, pivot=self.pivot,
                    weights=self.weights,
                )
                for _ in self.transforms
            ]  # fmt: skip
            if self.options.channels:
                self.channel_state = ChannelState(self.transforms, self._mask, self.weights)
                self.bound_state = BoundState(
                    self.frame, self.transforms, self.canvas, self.options, self._mask,
                    self._pivot(), self.weights,
                )  # fmt: skip
        if self.channel_state is not None and self.bound_state is not None:
            aligned = self._on_map(moved, self.transforms[which].inverse())
            self.channel_state.fit(which, aligned, original)
            self.bound_state.fit(which, moved, original)
            if which == 0:
                self.bound_state.see(original)
        if self.pool > 1:
            moved, original = (F.avg_pool2d(maps, self.pool) for maps in (moved, original))
        self.moments[which].update(moved, original)

    def search(self, which: int) -> None:
        """Find the best alignment for transformation number `which` and free its moments."""
        self.alignments.append(
            best_alignment(
                self.moments[which], self.transforms[which], family=self.options.family,
                interpolation=self.options.map_interpolation,
            )
        )  # fmt: skip
        self.moments[which] = SpatialMoments(self.search_frame, self.search_cells)
        for state in (self.channel_state, self.bound_state):
            if state is not None:
                state.solve(which)

    def start_batch(self, original: Tensor) -> None:
        """Begin a batch of the evaluation half: variance, and the ceiling's errors."""
        self.see(original)
        if self._variance is None:
            self._variance = Variance(self._pivot(), self.weights)
            self._first = original[:1].clone()
        self._variance.update(original, self._mask)
        for state in (self.channel_state, self.bound_state):
            if state is not None:
                state.start_batch(original)
        rungs, transforms = len(self.rungs), len(self.transforms)
        self._errors.append(torch.zeros(len(original), transforms, rungs, dtype=torch.float64))
        # Another image: the one before, in the run's order, whatever the batches; the first
        # image's partner is the last one, which is known only at the end.
        before = original[:-1]
        if self._previous is not None:
            before = torch.cat([self._previous, before])
        own = original[len(original) - len(before) :]
        if len(own):
            errors = squared_errors(before, own, self._mask, self.weights).cpu()
            place = self.rungs.index("other_image")
            self._errors.last(len(own))[:, :, place] = errors[:, None]
        self._previous = original[-1:].clone()

    def evaluate(self, which: int, moved: Tensor, realigned: Tensor, original: Tensor) -> None:
        """Errors of every rung under transformation number `which`, for the batch begun."""
        h = self.transforms[which]
        there = self._on_map(original, h, antialias=True)  # stands for the image transformation
        inverse = self._on_map(moved, h.inverse())
        aligned = {
            "unaligned": moved,
            "inverse": inverse,
            "best": self._on_map(moved, self.alignments[which].transform),
            "input_aligned": realigned,
            "resampling_floor": self._on_map(there, h.inverse()),
        }
        if self.options.per_image:
            aligned["best_per_image"] = self._each_at_its_best(which, moved, original)
        errors = {
            rung: squared_errors(maps, original, self._mask, self.weights)
            for rung, maps in aligned.items()
        }
        if self.channel_state is not None and self.bound_state is not None:
            errors |= self.channel_state.evaluate(which, inverse, realigned, original)
            errors["spatial_bound"] = self.bound_state.evaluate(which, moved, original)
        for rung, sums in errors.items():
            self._errors.last(len(original))[:, which, self.rungs.index(rung)] = sums.cpu()

    def _each_at_its_best(self, which: int, moved: Tensor, original: Tensor) -> Tensor:
        """Every image's map under its own best alignment: the most an aligner could do."""
        maps = []
        for own, target in zip(moved.split(1), original.split(1), strict=True):
            moments = SpatialMoments(
                self.frame, _thinned(self.cells, _SEARCH_CELLS), reach=self._reach,
                pivot=self.pivot, weights=self.weights,
            )  # fmt: skip
            moments.update(own, target)
            found = best_alignment(
                moments, self.transforms[which], family=self.options.family,
                interpolation=self.options.map_interpolation,
                starts=[self.alignments[which].transform],
            )  # fmt: skip
            maps.append(self._on_map(own, found.transform))
        return torch.cat(maps)

    def _on_map(self, maps: Tensor, g: Transform, antialias: bool = False) -> Tensor:
        """T_g on the map; sampled, not smoothed, as a spatial transformer does."""
        return warp(
            maps, g, frame=self.frame, interpolation=self.options.map_interpolation,
            beyond="nearest", antialias=antialias,
        )  # fmt: skip

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Errors (transforms, rungs, images), variance (images), channel variances (C)."""
        errors = self._errors.all().permute(1, 2, 0).contiguous()
        if self._variance is None or self._first is None or self._previous is None:
            raise ProbeError("no evaluation images were seen; give more images")
        wrapped = squared_errors(self._previous, self._first, self._mask, self.weights)
        errors[:, self.rungs.index("other_image"), 0] = wrapped.cpu()
        variance, channels = self._variance.compute()
        if self.bound_state is not None:
            # Read against the variance of the maps it was taken on, averaged ones where they were.
            own = float(self.bound_state.variance.compute()[0].sum())
            errors[:, self.rungs.index("spatial_bound")] *= variance.sum() / own if own > 0 else 1
        return errors.numpy(), variance, channels

    def _pivot(self) -> Tensor:
        if self.pivot is None:
            raise ProbeError(f"layer {self.name!r} has seen no image yet")
        return self.pivot


def _thinned(cells: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """A regular sub-grid of the cells with at most `limit` of them."""
    step = 1
    while True:
        kept = np.zeros_like(cells)
        kept[step // 2 :: step, step // 2 :: step] = cells[step // 2 :: step, step // 2 :: step]
        if 0 < kept.sum() <= limit:
            return kept
        if not kept.any():  # a thin region between the sub-grid's lines
            flat = np.flatnonzero(cells)
            kept.flat[flat[:: -(-len(flat) // limit)]] = True
            return kept
        step += 1
