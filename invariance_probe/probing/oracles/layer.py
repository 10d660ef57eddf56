"""One layer of an oracle run: how its maps are aligned, and the channel maps of the fit half."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...alignment import ChannelMoments, fit_channel_maps
from ...errors import ProbeError
from ...geometry import Frame, Transform, valid_cells, warp
from ..options import Options


@dataclass
class _ChannelMap:
    """The two channel maps of one layer under one transformation."""

    permutation: Tensor  # (C)
    linear: Tensor  # (C, C)
    offset: Tensor  # (C, 1, 1), added to linearly mapped channels


class OracleLayer:
    """One layer's grid, and what the fit half tells about its channels."""

    def __init__(
        self,
        name: str,
        frame: Frame,
        moves: Sequence[Transform],
        canvas: tuple[int, int],
        options: Options,
        place: torch.device,
    ) -> None:
        self.name, self.frame, self.options = name, frame, options
        self.notes: list[str] = []
        try:
            self.cells = valid_cells(frame, moves, canvas)
        except ProbeError as error:
            # Alignment itself needs no such cells.
            self.cells = np.zeros(frame.size, dtype=np.bool_)
            self.notes.append(f"channel maps of {name}: not determined; {error}")
        mask = torch.from_numpy(self.cells).to(place)
        turned = [move for move in moves if not move.is_identity and self.cells.any()]
        self.moments = {move: ChannelMoments(mask, chance=False) for move in turned}
        self.maps: dict[Transform, _ChannelMap] = {}
        self.ridges: dict[str, float | None] = {}  # of linear maps; None keeps the orthogonal one

    def aligned(self, maps: Tensor, move: Transform) -> Tensor:
        """T_h⁻¹ of maps (N, C, rows, columns): sampled, not smoothed, as in a transformer."""
        return warp(
            maps, move.inverse(), frame=self.frame, interpolation=self.options.map_interpolation,
            beyond="nearest", antialias=False,
        )  # fmt: skip

    def fix(self, like: Tensor) -> None:
        """Turn the moments into channel maps and free them."""
        for move, moments in self.moments.items():
            found = fit_channel_maps(moments)
            if not found.determined:
                self.notes.append(
                    f"channel maps of {self.name}: not determined under {move}; {found.samples} "
                    f"samples for {len(found.permutation)} channels, give more images"
                )
                continue
            self.ridges[move.text] = found.ridge if math.isfinite(found.ridge) else None
            self.maps[move] = _ChannelMap(
                torch.from_numpy(found.permutation).to(like.device),
                torch.from_numpy(found.linear).to(like),
                torch.from_numpy(found.offset(found.linear)).to(like)[:, None, None],
            )
        self.moments = {}

    def treated(self, aligned: Tensor, move: Transform) -> dict[str, Tensor]:
        """What replaces the layer's maps, by treatment; the ones not determined are missing."""
        treated = {"inverse": aligned}
        if (found := self.maps.get(move)) is not None:
            treated["inverse_permuted"] = aligned[:, found.permutation]
            mapped = torch.einsum("dc,nchw->ndhw", found.linear, aligned)
            treated["inverse_linear"] = mapped + found.offset
        return treated
