"""What a pass accumulates for the ledger of one layer: fitted on one half, judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import PARTS, GrowingRows, Ledger, LedgerMoments, fit_ledger, interval, leading
from ..options import SOURCES
from .correlation_state import CorrelationState, unknown
from .shares import LOST, UNDETERMINED, ledger_shares

_MOST = 2**24  # numbers of mean maps on the evaluation half: beyond, no correlations

Array = NDArray[np.float64]


class LedgerState:
    """Ledgers of one layer under every transformation, from three kinds of maps.

    Maps given here are those of the window of compared cells, 0 outside them (see `Compared`);
    `first` (C, rows, columns) is that of the run's first image.
    """

    SUMS: ClassVar[tuple[str, ...]] = (
        "moved", "aligned", "chance", "correlation",
    )  # fmt: skip
    ROWS: ClassVar[tuple[str, ...]] = ("_errors",)

    def __init__(self, transforms: int, mask: Tensor, first: Tensor) -> None:
        self.mask, self.transforms = mask, transforms
        basis = leading(first)
        self.moved = [LedgerMoments(mask, basis) for _ in range(transforms)]
        self.aligned = [LedgerMoments(mask, basis) for _ in range(transforms)]
        self.chance = LedgerMoments(mask, basis)
        self.ledgers: list[tuple[Ledger, Ledger, Ledger]] = []
        self._by_chance: Ledger | None = None  # the same for all transformations
        self._errors = GrowingRows()  # (images, transforms, sources, parts)
        self._before: Tensor | None = None  # the original of the image before
        self._other = torch.zeros(0)  # those of the images before, of the batch begun
        small = transforms * 2 * first.numel() <= _MOST
        self.correlation = CorrelationState(transforms) if small else None

    def begin(self, first: Tensor) -> None:
        """Begin a half after the image whose original is the partner of the half's first one."""
        self._before = first

    def fit(
        self, which: int, moved: Tensor, aligned: Tensor, original: Tensor, folds: Sequence[int]
    ) -> None:
        """Add maps of the fit half under transformation number `which`."""
        self.moved[which].update(moved, original, folds)
        self.aligned[which].update(aligned, original, folds)
        if which == 0:
            first = 1 if self._before is None else 0  # an image that none went before
            others = self._others(original)
            self.chance.update(others[first:], original[first:], folds[first:])

    def solve(self, which: int) -> None:
        """Fit the ledgers of transformation number `which`."""
        if self._by_chance is None:
            self._by_chance = fit_ledger(self.chance)
        moved, aligned = fit_ledger(self.moved[which]), fit_ledger(self.aligned[which])
        self.ledgers.append((moved, aligned, self._by_chance))

    def start_batch(self, original: Tensor) -> None:
        """Begin a batch of the evaluation half."""
        self._other = self._others(original)
        shape = (len(original), self.transforms, len(SOURCES), len(PARTS))
        self._errors.append(torch.zeros(shape, dtype=torch.float64))
        if self.correlation is not None:
            self.correlation.start_batch(original, self.ledgers[0][0].mean_original)

    def evaluate(self, which: int, moved: Tensor, aligned: Tensor, original: Tensor) -> None:
        """Errors of every part from every kind of maps, for the batch begun."""
        rows = self._errors.last(len(original))
        given = (moved, aligned, self._other)
        for source, (ledger, maps) in enumerate(zip(self.ledgers[which], given, strict=True)):
            if source == len(given) - 1 and which:  # no transformation changes what chance does
                rows[:, which, source] = rows[:, 0, source]
                continue
            rows[:, which, source] = ledger.errors(maps, original, self.mask).cpu()
        if self.correlation is not None:
            for kind, maps in enumerate((moved, aligned)):
                mean = self.ledgers[which][kind].mean_given
                self.correlation.add(which, kind, maps, mean, original)

    def finish(self) -> Array:
        """Errors (transforms, sources, parts, images)."""
        return np.asarray(self._errors.all().permute(1, 2, 3, 0).contiguous())

    def correlations(self, variance: float, level: float) -> list[dict[str, float]]:
        """A row per transformation (see `CorrelationState.table`); NaN where it is not kept."""
        if self.correlation is None or variance <= 0:
            return [unknown() for _ in range(self.transforms)]
        return self.correlation.table(variance, level)

    def _others(self, original: Tensor) -> Tensor:
        """For every image of a batch the original of the one before."""
        before = original[:1] if self._before is None else self._before.to(original)
        self._before = original[-1:].clone()
        return torch.cat([before, original[:-1]])


def ledger_rows(
    errors: Array, variance: Array, layer: str, keys: Sequence[dict[str, Any]], level: float
) -> pd.DataFrame:
    """One row per transformation, source and part: its share of the variance with its interval.

    `errors` (transforms, sources, parts, images) and `variance` (images) are sums per image. The
    parts and what is lost add up to 1; where a part is not determined it is NaN, as is what is
    lost, and "undetermined" is the rest.
    """
    value = ledger_shares(errors.sum(-1, keepdims=True), variance.sum(keepdims=True))[..., 0]
    low, high = interval(ledger_shares, errors, variance, level=level)
    rows = [
        {
            "layer": layer,
            **about,
            "source": source,
            "part": part,
            "share": value[place],
            "low": low[place],
            "high": high[place],
        }
        for number, about in enumerate(keys)
        for s, source in enumerate(SOURCES)
        for p, part in enumerate((*PARTS, LOST, UNDETERMINED))
        for place in [(number, s, p)]
    ]
    return pd.DataFrame(rows)
