"""Which values the colours of a map span: all but the outermost, so that one cell blinds none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...probing.pictures.values import Bytes, LayerPictures
from .sheets import DIFFERENCES, MAPS, colours

_SHARE = 0.25  # percent of the compared cells that may lie beyond each end
_LEAST = 64  # of the 256 levels: a narrower scale would show steps


@dataclass(frozen=True)
class Limits:
    """Ends of one channel's colour scale, in bytes of its frames, and of its differences.

    `span` is in the map's units. `below`, `above` and `beyond` say whether frames or differences
    hold values past the ends, which take the colour of the end.
    """

    low: int
    high: int
    span: float
    below: bool
    above: bool
    beyond: bool


def limits(one: LayerPictures, channel: int, levels: int = 256) -> Limits:
    """The colour scale of a channel (by its place in the pictures), the same for all its frames.

    Differences span at least eight steps between `levels`, and an eighth of the channel's range:
    what is fainter than the steps stays white.
    """
    frames = (one.original[:, channel], one.moved[:, :, channel], one.back[:, :, channel])
    compared = np.concatenate([frames[0][:, one.cells].ravel(), frames[2][..., one.cells].ravel()])
    low, high = (int(v) for v in np.percentile(compared, [_SHARE, 100 - _SHARE]))
    if high - low < _LEAST:
        low, high = max(0, low - _LEAST // 2), min(255, high + _LEAST // 2)
    least, most = min(int(f.min()) for f in frames), max(int(f.max()) for f in frames)
    apart = frames[2][..., one.cells] - frames[0][:, None][..., one.cells].astype(np.float64)
    unit = float(one.high[channel] - one.low[channel]) / 255
    wide = float(np.percentile(np.abs(apart), 100 - 2 * _SHARE)) * unit
    whole = float(one.span[channel])
    span = max(min(wide, whole), 255 * unit * max(1 / 8, 8 / (levels - 1))) or whole
    return Limits(
        low, high, span, least < low, most > high, bool(np.abs(apart).max() * unit > span)
    )


def painted_map(frame: Bytes, scale: Limits) -> Bytes:
    """Colours (rows, columns, 3) of a frame (rows, columns)."""
    shares = (frame.astype(np.float64) - scale.low) / (scale.high - scale.low)
    return colours(MAPS)[_levels(shares)]


def painted_difference(apart: NDArray[np.float64], scale: Limits) -> Bytes:
    """Colours of differences in the map's units; NaN counts as none."""
    return colours(DIFFERENCES)[_levels((np.nan_to_num(apart) / scale.span + 1) / 2)]


def _levels(shares: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.rint(shares.clip(0, 1) * 255).astype(np.intp)
