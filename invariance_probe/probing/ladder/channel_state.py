"""What a pass accumulates about one layer's channels: maps between them, and their responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import (
    ChannelMaps,
    ChannelMoments,
    channel_weights,
    fit_channel_maps,
    squared_errors,
)
from ...errors import ProbeError
from ...geometry import Transform
from ..rungs import CHANNEL_RUNGS

_TIE = 1e-4  # of a channel's deviation: channels nearer than this are equal but for rounding

Affine = tuple[NDArray[np.float64], NDArray[np.float64]]
"""A channel map (C, C), and what is added to mapped features (C)."""


class ChannelState:
    """Channel maps of one layer on maps aligned by h⁻¹, fitted on one half, judged on the other.

    `mask` (rows, columns) is 1 on the compared cells of the window that all maps given here show
    (see `Compared`): weighted, and 0 where nothing is compared.
    """

    SUMS: ClassVar[tuple[str, ...]] = ("fitted", "held_out", "originals", "_changed", "_cells")

    def __init__(self, transforms: Sequence[Transform], mask: Tensor) -> None:
        self.transforms, self.mask = transforms, mask
        self.fitted = [ChannelMoments(mask) for _ in transforms]
        self.held_out = [ChannelMoments(mask, folds=1, chance=False) for _ in transforms]
        self.originals = ChannelMoments(mask, folds=1, chance=False)
        self.maps: list[ChannelMaps] = []
        self._changed = torch.zeros(len(transforms), 2, dtype=torch.float64)
        self._cells = torch.zeros(len(transforms), dtype=torch.float64)
        self._standard: tuple[Tensor, Tensor] | None = None
        self._strongest = torch.zeros(0, dtype=torch.int64)

    def fit(self, which: int, aligned: Tensor, original: Tensor, folds: Sequence[int]) -> None:
        """Add aligned and original maps of the fit half, each image to its fold."""
        self.fitted[which].update(aligned, original, folds)

    def solve(self, which: int) -> None:
        """Fit the channel maps of transformation number `which`."""
        self.maps.append(fit_channel_maps(self.fitted[which]))

    def start_batch(self, original: Tensor) -> None:
        """Begin a batch of the evaluation half."""
        if self._standard is None:
            moments = self.fitted[0]
            centre = moments.sums[1] / moments.samples
            variance = moments.target / moments.samples - centre.square()
            self._standard = centre, channel_weights(variance)
        self.originals.update(original, original)
        self._strongest = self._standardised(original).argmax(1, keepdim=True)

    def evaluate(
        self, which: int, aligned: Tensor, realigned: Tensor, original: Tensor
    ) -> dict[str, Tensor]:
        """Errors (N) of the channel rungs; NaN where too few samples determine a map."""
        self.held_out[which].update(aligned, original)
        inside = self.mask > 0
        for column, maps in enumerate((aligned, realigned)):
            values = self._standardised(maps)
            # The greatest value tells as much as its place, and is found faster.
            ahead = values.amax(1, keepdim=True) - values.gather(1, self._strongest)
            overtaken = ahead > _TIE
            self._changed[which, column] += float((overtaken & inside).sum())
        self._cells[which] += float(inside.sum()) * len(original)
        fitted = self.maps[which]
        if not fitted.determined:
            lost = torch.full((len(original),), torch.nan, dtype=torch.float64)
            return dict.fromkeys(CHANNEL_RUNGS, lost)
        permutation = torch.from_numpy(fitted.permutation).to(aligned.device)
        mapped = {
            "inverse_permuted": lambda: aligned.index_select(1, permutation),
            "inverse_orthogonal": lambda: self._mapped(fitted, fitted.orthogonal, aligned),
            "inverse_linear": lambda: self._mapped(fitted, fitted.linear, aligned),
        }  # one at a time: each is as large as the maps
        return {name: squared_errors(maps(), original) for name, maps in mapped.items()}

    def table(self, layer: str, keys: Sequence[dict[str, Any]], energy: float) -> pd.DataFrame:
        """One row per transformation: how much moved to other channels, beside chance and floor."""
        rows = []
        for which, (about, maps) in enumerate(zip(keys, self.maps, strict=True)):
            changed = (self._changed[which] / self._cells[which].clamp(min=1)).tolist()
            moments = self.fitted[which]
            fit_energy = float(moments.target.sum() - moments.sums[1].square().sum() / maps.samples)
            rows.append(
                {
                    "layer": layer,
                    **about,
                    "determined": maps.determined,
                    "samples": maps.samples,
                    "moved": maps.moved,
                    "moved_by_chance": maps.moved_by_chance,
                    "strongest_changed": changed[0],
                    "strongest_changed_floor": changed[1],
                    "off_diagonal": 1 - maps.diagonal,
                    "ridge": maps.ridge if np.isfinite(maps.ridge) else np.nan,
                    **{
                        f"fit_{name}": value / fit_energy if fit_energy > 0 else np.nan
                        for name, value in maps.errors.items()
                    },
                }
            )
        return pd.DataFrame(rows)

    def tuning(self, layer: str, keys: Sequence[dict[str, Any]]) -> pd.DataFrame:
        """Mean and root mean square response of every channel under every transformation."""
        tables = []
        for about, moments in zip(keys, self.held_out, strict=True):
            if moments.images == 0:
                continue
            mean = np.asarray(moments.sums[0].cpu()) / moments.samples
            square = np.asarray(moments.auto.diagonal().cpu()) / moments.samples
            table = pd.DataFrame({"channel": np.arange(len(mean)), "mean": mean,
                                  "rms": np.sqrt(square)})  # fmt: skip
            for column, value in reversed(list({"layer": layer, **about}.items())):
                table.insert(0, column, value)
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def composition(self, layer: str, energy: float) -> pd.DataFrame:
        """Held-out residual of composed channel maps beside the directly fitted one.

        For every pair (step, h) of the run whose product is in the run too, A_step·A_h is tried
        in place of A_(step·h); "closure" is A_step to the power of a full turn, tried on the
        originals themselves.
        """
        step = _step(self.transforms)
        rows: list[dict[str, Any]] = []
        if step is None or energy <= 0 or not self.maps[step].determined:
            return pd.DataFrame(rows, columns=list(COMPOSITION))
        first = self.transforms[step]

        def row(kind: str, second: str, product: str, moments: ChannelMoments, pair: Any) -> None:
            texts = (layer, kind, first.text, second, product)
            entry: dict[str, Any] = dict(zip(COMPOSITION, texts, strict=False))
            for name in ("linear", "orthogonal"):
                composed, direct = pair(name)
                entry[f"composed_{name}"] = moments.error(*composed) / energy
                entry[f"direct_{name}"] = moments.error(*direct) / energy
            rows.append(entry)

        for index, h in enumerate(self.transforms):
            whole = self._find(first @ h)
            if whole is None or first.is_identity or h.is_identity:
                continue

            def pair(name: str, index: int = index, whole: int = whole) -> tuple[Any, Any]:
                one, two, both = (self._affine(i, name) for i in (step, index, whole))
                return _after(one, two), both

            row("pair", h.text, self.transforms[whole].text, self.held_out[whole], pair)
        turns = 360 / first.parameter if first.kind == "rotation" else 0.5
        if abs(turns - round(turns)) < 1e-9:

            def closed(name: str) -> tuple[Any, Any]:
                own = self._affine(step, name)
                whole = (np.eye(len(own[0])), np.zeros(len(own[0])))
                turned = whole
                for _ in range(round(turns)):
                    turned = _after(own, turned)
                return turned, whole

            row("closure", f"{round(turns)} times", "identity", self.originals, closed)
        return pd.DataFrame(rows, columns=list(COMPOSITION))

    def _affine(self, which: int, name: str) -> Affine:
        """The matrix of a fitted map, and what is added."""
        matrix = getattr(self.maps[which], name)
        return matrix, self.maps[which].offset(matrix)

    def _mapped(
        self, fitted: ChannelMaps, channel_map: NDArray[np.float64], maps: Tensor
    ) -> Tensor:
        """Maps with their channels mapped; 0 where nothing is compared."""
        weight = torch.from_numpy(channel_map).to(maps)
        added = torch.from_numpy(fitted.offset(channel_map)).to(maps)[:, None]
        mapped = weight @ maps.flatten(2)
        return mapped.addcmul_(added, (self.mask.flatten() > 0).to(maps)).view_as(maps)

    def _find(self, product: Transform) -> int | None:
        """Which transformation of the run moves points as `product` does."""
        return next((i for i, h in enumerate(self.transforms) if h.isclose(product)), None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Permutations (transforms, C), and correlations (transforms, C, C) up to 256 channels.

        `by_chance` (transforms, C) beside them: the greatest with another channel of other images.
        """
        stored: dict[str, NDArray[Any]] = {
            "permutation": np.stack([maps.permutation for maps in self.maps])
        }
        if len(self.maps[0].permutation) <= 256:
            stored["correlation"] = np.stack(
                [maps.correlation.astype(np.float32) for maps in self.maps]
            )
            stored["by_chance"] = np.stack(
                [maps.by_chance.astype(np.float32) for maps in self.maps]
            )
        return stored

    def _standardised(self, maps: Tensor) -> Tensor:
        """Maps with each channel standardised on the fit half."""
        if self._standard is None:
            raise ProbeError("the evaluation half began before the fit half; fit channels first")
        centre, scale = (t.to(maps)[:, None, None] for t in self._standard)
        return (maps - centre).mul_(scale)


COMPOSITION = (
    "layer", "kind", "first", "second", "product",
    "composed_linear", "direct_linear", "composed_orthogonal", "direct_orthogonal",
)  # fmt: skip


def _after(last: Affine, first: Affine) -> Affine:
    """The map that does `first`, then `last`."""
    return last[0] @ first[0], last[0] @ first[1] + last[1]


def _step(transforms: Sequence[Transform]) -> int | None:
    """The smallest positive rotation or enlargement of a run: the generator of the others."""
    angles = [(h.parameter, i) for i, h in enumerate(transforms)
              if h.kind == "rotation" and h.parameter > 0]  # fmt: skip
    factors = [(h.parameter, i) for i, h in enumerate(transforms)
               if h.kind == "scaling" and h.parameter > 1]  # fmt: skip
    found = angles or factors
    return min(found)[1] if found else None
