"""What a pass accumulates for one layer: sums of every baseline, and of our residuals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import (
    ChannelMoments,
    GrowingRows,
    PairDistances,
    Variance,
    channel_weights,
    squared_errors,
)
from ...errors import ProbeError
from ...geometry import Frame, Transform, valid_cells, warp
from ..options import Options
from ..rungs import CEILING
from .cka import cka_of_moments
from .distance import same_equivariance_distance
from .lie import GENERATORS, derivative_energy, followed, interior
from .variance import VariabilitySums

Array = NDArray[np.float64]

RESIDUALS = ("unaligned", "inverse", "input_aligned", CEILING)
PER_IMAGE = (*RESIDUALS, "psnr_error", "distance")
TREATMENTS = ("unaligned", "inverse")  # of the maps: as they are, moved back by h⁻¹
_UNITS = 784  # compared cells on which variances and kernels are taken; a sub-grid beyond that


class LayerBaselines:
    """Accumulators of one layer over the evaluation images.

    Compared are the run's valid cells, as `probe` compares them. Normalised variance and CKA are
    taken on a regular sub-grid of at most 784 of them, Lie derivatives on those with neighbours on
    all sides.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        moves: Sequence[Transform],
        canvas: tuple[int, int],
        options: Options,
        measures: Sequence[str],
    ) -> None:
        self.name, self.frame, self.moves, self.options = name, frame, moves, options
        self.measures = measures
        try:
            self.cells = valid_cells(frame, moves, canvas)
        except ProbeError as error:
            raise ProbeError(f"layer {name!r}: {error}") from None
        self.units = _sub_grid(self.cells, _UNITS)
        self.inside = interior(self.cells)
        self.channels = 0
        self.weights: Tensor | None = None
        self.range: tuple[float, float] = (np.inf, -np.inf)
        self._scale: Variance | None = None
        self._rows, self._energies = GrowingRows(), GrowingRows()

    def see(self, original: Tensor) -> None:
        """Fix pivot and masks from the first image: the same whatever the batch size."""
        if self.channels:
            return
        self.channels = original.shape[1]
        pivot = original[0].mean(dim=(1, 2))
        self._mask = torch.from_numpy(self.cells).to(original)
        self._inner = torch.from_numpy(self.inside).to(original)
        units = torch.from_numpy(self.units)
        self._index = units.flatten().nonzero()[:, 0].to(original.device)
        self._pivot = pivot
        self._pairs = PairDistances(self._mask)
        number = len(self.moves) + 1  # the original is one of the transformations
        self.variability = {kind: VariabilitySums(number, pivot) for kind in TREATMENTS}
        grid = units.to(original.device)
        moments = partial(ChannelMoments, grid, folds=1, chance=False)
        self.moments = {kind: [moments() for _ in self.moves] for kind in TREATMENTS}
        self._own_moments = moments()

    def fit(self, original: Tensor) -> None:
        """Add maps of the fit half: to their mean, and to the channels' variances if they weigh."""
        self.see(original)
        self._pairs.refer(original)
        if self.options.weighting == "channel":
            self._scale = self._scale or Variance(self._pivot)
            self._scale.update(original, self._mask)

    def fix_scale(self) -> None:
        """Weights 1/σ per channel for the residuals; 0 for channels that never vary."""
        if self._scale is not None:
            variance = torch.from_numpy(self._scale.compute()[1])
            self.weights = self._pairs.weights = channel_weights(variance)

    def start(self, original: Tensor) -> None:
        """Begin a batch with the originals' maps."""
        self.see(original)
        number = len(original)
        if not len(self._rows):
            self.variance = Variance(self._pivot, self.weights)
            self.inner_variance = Variance(self._pivot)
        self.variance.update(original, self._mask)
        self._pairs.update(original)
        if self.inside.any():
            self.inner_variance.update(original, self._inner)
        chosen = original.flatten(2)[:, :, self._mask.flatten() > 0]
        low, high = (float(end) for end in chosen.aminmax())
        self.range = (min(self.range[0], low), max(self.range[1], high))
        rows = torch.zeros(number, len(self.moves), len(PER_IMAGE), dtype=torch.float64)
        self._rows.append(rows)
        self._energies.append(torch.full((number, len(GENERATORS)), torch.nan, dtype=torch.float64))
        if "variance" in self.measures:
            values = self._values(original)
            for sums in self.variability.values():
                sums.start(values)
                sums.add(0, values)
        if "cka" in self.measures:
            self._own_moments.update(original, original)

    def add(self, which: int, moved: Tensor, realigned: Tensor, original: Tensor) -> None:
        """The batch's maps under transformation number `which`, and with the input aligned."""
        h = self.moves[which]
        inverse = self._on_map(moved, h.inverse())
        maps = {"unaligned": moved, "inverse": inverse, "input_aligned": realigned}
        found = {
            rung: squared_errors(value, original, self._mask, self.weights)
            for rung, value in maps.items()
        }
        if "psnr" in self.measures:
            there = self._on_map(original, h, antialias=True)
            found["psnr_error"] = squared_errors(moved, there, self._mask)
        if "distance" in self.measures:
            found["distance"] = same_equivariance_distance(inverse, original, self._mask)
        for name, values in found.items():
            self._rows.last(len(original))[:, which, PER_IMAGE.index(name)] = values.cpu()
        for kind in TREATMENTS:
            if "variance" in self.measures:
                self.variability[kind].add(which + 1, self._values(maps[kind]))
            if "cka" in self.measures:
                self.moments[kind][which].update(maps[kind], original)

    def end(self) -> None:
        """Close the batch."""
        if "variance" in self.measures:
            for sums in self.variability.values():
                sums.end()

    def differentiate(
        self, generator: str, forward: Tensor, backward: Tensor, step: float, flowed: Transform
    ) -> None:
        """Maps of the batch under T_t and T_−t for a small t, `flowed` being T_t."""
        if not self.inside.any():
            return
        forward = followed(forward, flowed, self.frame)
        backward = followed(backward, flowed.inverse(), self.frame)
        energy = derivative_energy(forward, backward, step, self._inner)
        self._energies.last(len(forward))[:, GENERATORS.index(generator)] = energy.cpu()

    def finish(self) -> tuple[dict[str, Array], Array]:
        """Sums (transforms, images) by name of `PER_IMAGE`, and energies (generators, images)."""
        rows = self._rows.all().clone()
        rows[:, :, RESIDUALS.index(CEILING)] = self._pairs.compute().cpu()[:, None]
        sums = {name: rows[:, :, place].T.numpy() for place, name in enumerate(PER_IMAGE)}
        return sums, self._energies.all().T.numpy()

    def cka(self, treatment: str) -> list[float]:
        """Linear CKA of the original's maps with those of every transformation."""
        return [cka_of_moments(one, self._own_moments) for one in self.moments[treatment]]

    def _values(self, maps: Tensor) -> Tensor:
        return maps.flatten(2)[:, :, self._index]

    def _on_map(self, maps: Tensor, g: Transform, antialias: bool = False) -> Tensor:
        return warp(
            maps, g, frame=self.frame, interpolation=self.options.map_interpolation,
            beyond="nearest", antialias=antialias,
        )  # fmt: skip


class OutputBaselines:
    """Lie derivatives of the logits, where the network has any."""

    def __init__(self) -> None:
        self._energies = GrowingRows()
        self.variance: Variance | None = None
        self.classes = 0

    def start(self, logits: Tensor) -> None:
        """Begin a batch with the originals' logits (N, classes)."""
        wide = logits.double()
        if self.variance is None:
            self.variance, self.classes = Variance(wide[0]), logits.shape[1]
        self.variance.update(wide[:, :, None, None], wide.new_ones(1, 1))
        self._energies.append(
            torch.full((len(logits), len(GENERATORS)), torch.nan, dtype=torch.float64)
        )

    def differentiate(self, generator: str, forward: Tensor, backward: Tensor, step: float) -> None:
        """Logits of the batch under T_t and T_−t."""
        energy = derivative_energy(forward, backward, step)
        self._energies.last(len(forward))[:, GENERATORS.index(generator)] = energy.cpu()

    def finish(self) -> Array:
        """Energies (generators, images)."""
        return np.asarray(self._energies.all().T.numpy())


def _sub_grid(cells: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """The cells on the finest regular sub-grid with at most `limit` of them, and at least one."""
    for step in range(1, max(cells.shape) + 1):
        kept = np.zeros_like(cells)
        kept[step // 2 :: step, step // 2 :: step] = cells[step // 2 :: step, step // 2 :: step]
        if 0 < kept.sum() <= limit:
            return kept
    chosen = np.zeros_like(cells)  # a thin region between the sub-grids' lines
    flat = np.flatnonzero(cells)
    chosen.flat[flat[:: -(-len(flat) // limit)]] = True
    return chosen
