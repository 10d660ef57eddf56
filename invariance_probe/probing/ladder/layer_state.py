"""What a pass accumulates for one layer: moments on the fit half, error sums on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import (
    Alignment,
    GrowingRows,
    Moments,
    PairDistances,
    SearchPlan,
    Variance,
    best_alignment,
    channel_weights,
    squared_errors,
)
from ...errors import ProbeError
from ...geometry import Frame, Transform, valid_cells
from ..options import Options
from ..rungs import CEILING
from .bound_state import BoundState
from .channel_state import ChannelState
from .compared import Compared
from .ledger_state import LedgerState


class LayerState:
    """Accumulators of one layer over a run.

    Residuals are taken at all valid cells, or at a regular sub-grid of them where there are more
    than 65,536 (`Compared`); the search follows `SearchPlan`. Maps that are moved lie on a grid
    `dense` times finer than the frame's; search and bound take the layer's own cells of them.
    """

    SUMS: ClassVar[tuple[str, ...]] = (
        "moments", "channel_state", "bound_state", "ledger_state", "_scale", "_variance",
        "pairs",
    )  # fmt: skip
    ROWS: ClassVar[tuple[str, ...]] = ("_errors",)  # one row an image: these concatenate

    def __init__(
        self,
        name: str,
        frame: Frame,
        transforms: Sequence[Transform],
        canvas: tuple[int, int],
        options: Options,
        dense: int = 1,
    ) -> None:
        self.name, self.frame, self.transforms, self.options = name, frame, transforms, options
        self.canvas, self.rungs = canvas, options.rungs
        self.channel_state: ChannelState | None = None
        self.bound_state: BoundState | None = None
        self.ledger_state: LedgerState | None = None
        try:
            self.cells = valid_cells(frame, transforms, canvas)
            self.plan = SearchPlan(frame, self.cells, options.search)
            if self.plan.pool > 1:
                self.plan.compare_coarse(valid_cells(self.plan.coarse_frame, transforms, canvas))
        except ProbeError as error:
            raise ProbeError(f"layer {name!r}: {error}") from None
        self.compared = Compared(frame, self.cells, options.map_interpolation, dense)
        self._reach = 1 if options.map_interpolation == "bilinear" else 3
        self.pivot: Tensor | None = None
        self.weights: Tensor | None = None
        self.channels = 0
        self.moments: list[Moments] = []
        self.alignments: list[Alignment] = []
        self._variance: Variance | None = None
        self._scale: Variance | None = None
        self._errors = GrowingRows()  # (images, transforms, rungs)
        self._target = torch.zeros(0)  # the batch begun, where it is compared
        self._opener = torch.zeros(0)  # the run's first image
        self.pairs = PairDistances()

    def see(self, original: Tensor) -> None:
        """Fix the pivot from the first image: the same whatever the batch size."""
        if self.pivot is None:
            self.channels = original.shape[1]
            self.pivot = original[0].mean(dim=(1, 2))
            if self.options.ledger:
                self._opener = original[:1].clone()
        self.compared.weights = self.weights

    def measure_scale(self, original: Tensor) -> None:
        """First pass of weighting="channel": each channel's variance on the fit half."""
        self.see(original)
        if self._scale is None:
            self._scale = Variance(self._pivot())
        self._scale.update(*self._window(original))

    def fix_scale(self) -> None:
        """Weights 1/σ per channel; channels that never vary get 0 and are reported as dead."""
        if self._scale is not None:
            variance = torch.from_numpy(self._scale.compute()[1])
            self.weights = channel_weights(variance)

    def fit(
        self,
        which: int,
        moved: Tensor,
        realigned: Tensor | None,
        original: Tensor,
        folds: Sequence[int],
    ) -> None:
        """Add maps of the fit half under transformation number `which`, each image to its fold.

        `moved` lie on the source grid. `realigned` are the maps of the images moved back, which
        the ledger alone needs.
        """
        self.see(original)
        own = self.compared.own(moved)
        if not self.moments:
            self.moments = [self._moments() for _ in self.transforms]
            if self.options.channels:
                self.channel_state = ChannelState(self.transforms, self.compared.mask(original))
                self.bound_state = BoundState(
                    self.frame, self.transforms, self.canvas, self.options, original,
                    self._pivot(), self.weights,
                )  # fmt: skip
            if realigned is not None:
                mask = self.compared.mask(original)
                first = self.compared.take(self._opener)[0]
                self.ledger_state = LedgerState(len(self.transforms), mask, first)
        target = self.compared.take(original)
        if which == 0:
            self.pairs.refer(target)
        if self.options.channels or self.options.ledger:
            aligned = self.compared.moved(moved, self.transforms[which].inverse())
        if self.channel_state is not None and self.bound_state is not None:
            self.channel_state.fit(which, aligned, target, folds)
            self.bound_state.fit(which, own, original)
            if which == 0:
                self.bound_state.see(original)
        if self.ledger_state is not None and realigned is not None:
            undone = self.compared.take(realigned)
            self.ledger_state.fit(which, aligned, undone, target, folds)
        self.moments[which].update(own, original)

    def search(self, which: int) -> None:
        """Find the best alignment for transformation number `which` and free its moments."""
        self.alignments.append(
            best_alignment(
                self.moments[which], self.transforms[which], family=self.options.family,
                interpolation=self.options.map_interpolation, least=self.options.least_coverage,
            )
        )  # fmt: skip
        self.moments[which] = self._moments()
        for state in (self.channel_state, self.bound_state, self.ledger_state):
            if state is not None:
                state.solve(which)

    def start_batch(self, original: Tensor) -> None:
        """Begin a batch of the evaluation half: variance, and distances between images."""
        self.see(original)
        self._target = target = self.compared.take(original)
        if self._variance is None:
            self._variance = Variance(self._pivot(), self.weights)
            if self.ledger_state is not None:
                self.ledger_state.begin(self.compared.take(self._opener))
        self._variance.update(*self._window(original))
        self.pairs.update(target)
        if self.channel_state is not None:
            self.channel_state.start_batch(target)
        if self.bound_state is not None:
            self.bound_state.start_batch(original)
        if self.ledger_state is not None:
            self.ledger_state.start_batch(target)
        rungs, transforms = len(self.rungs), len(self.transforms)
        self._errors.append(torch.zeros(len(original), transforms, rungs, dtype=torch.float64))

    def evaluate(self, which: int, moved: Tensor, realigned: Tensor, original: Tensor) -> None:
        """Errors of every rung under transformation number `which`, for the batch begun.

        `moved` and `original` lie on the source grid.
        """
        h, compared, target = self.transforms[which], self.compared, self._target
        inverse, realigned = compared.moved(moved, h.inverse()), compared.take(realigned)
        best = self.alignments[which].transform
        # One map at a time: each is as large as the layer's.
        aligned: dict[str, Callable[[], Tensor]] = {
            "unaligned": lambda: compared.take(compared.own(moved)),
            "inverse": lambda: inverse,
            "best": lambda: compared.moved(moved, best),
            "input_aligned": lambda: realigned,
            "resampling_floor": lambda: compared.there_and_back(original, h),
        }
        if self.options.per_image:
            aligned["best_per_image"] = lambda: self._each_at_its_best(which, moved, original)
        errors = {rung: squared_errors(maps(), target) for rung, maps in aligned.items()}
        if self.channel_state is not None and self.bound_state is not None:
            errors |= self.channel_state.evaluate(which, inverse, realigned, target)
            errors["spatial_bound"] = self.bound_state.evaluate(which, compared.own(moved))
        if self.ledger_state is not None:
            self.ledger_state.evaluate(which, inverse, realigned, target)
        for rung, sums in errors.items():
            self._errors.last(len(original))[:, which, self.rungs.index(rung)] = sums.cpu()

    def _each_at_its_best(self, which: int, moved: Tensor, original: Tensor) -> Tensor:
        """Every image's map under its own best alignment: the most an aligner could do."""
        maps = []
        of = self.compared.own
        for own, target in zip(moved.split(1), original.split(1), strict=True):
            moments = self._moments()
            moments.update(of(own), of(target))
            found = best_alignment(
                moments, self.transforms[which], family=self.options.family,
                interpolation=self.options.map_interpolation, least=self.options.least_coverage,
                starts=[self.alignments[which].transform],
            )  # fmt: skip
            maps.append(self.compared.moved(own, found.transform))
        return torch.cat(maps)

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Errors (transforms, rungs, images), variance (images), channel variances (C)."""
        errors = self._errors.all().permute(1, 2, 0).contiguous()
        if self._variance is None:
            raise ProbeError("no evaluation images were seen; give more images")
        errors[:, self.rungs.index(CEILING)] = self.pairs.compute().cpu()
        variance, channels = self._variance.compute()
        if self.bound_state is not None:
            # Read against the variance of the maps it was taken on, averaged ones where they were.
            own = float(self.bound_state.variance.compute()[0].sum())
            errors[:, self.rungs.index("spatial_bound")] *= variance.sum() / own if own > 0 else 1
        return errors.numpy(), variance, channels

    def _moments(self) -> Moments:
        return self.plan.moments(reach=self._reach, pivot=self.pivot, weights=self.weights)

    def _window(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps where they are compared, and 1 at the compared cells."""
        return maps[..., self.compared.rows, self.compared.columns], self.compared.mask(maps)

    def _pivot(self) -> Tensor:
        if self.pivot is None:
            raise ProbeError(f"layer {self.name!r} has seen no image yet")
        return self.pivot
