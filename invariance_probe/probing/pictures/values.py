"""Pictures of a probe as a value: small 8 bit frames with their scales, on disk as one file."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ProbeError
from ...geometry import Transform, parse_transforms
from ...running.files import write_atomically

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.float64]

SHOWN_RUNGS = ("unaligned", "inverse", "input_aligned")
"""Rungs whose residual stands under a picture; the last one is the floor."""

_FAINT = 1 / 8  # of a channel's range: what 8 bits tell apart safely in a difference
_FORMAT = 1
_ARRAYS = ("original", "moved", "back", "low", "high", "span", "cells", "residuals")
_DAMAGE = (
    OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class LayerPictures:
    """Frames of one layer: N images, T transformations, K channels, maps of rows x columns.

    Attributes
    ----------
    layer : its name; `channels` the K channels shown, of `width` in all.
    extent : (height, width) in image pixels that the map covers; `block` cells of the network's
        map are averaged a side.
    original : Γf, (N, K, rows, columns), 8 bit: value = low + (high − low)·byte/255.
    moved, back : Γ T_h f and T_{h⁻¹} of it, (N, T, K, rows, columns), on the same scale.
    low, high : ends of each channel's scale (K), shared by all its frames.
    span : half-width of each channel's scale of differences (K): the largest |back − original|
        over the compared cells, at least an eighth of high − low.
    cells : (rows, columns), True where compared.
    residuals : (N, T, 1 + K, 3) of `SHOWN_RUNGS`; first over all channels, then of each shown
        one; NaN where an image does not vary.
    """

    layer: str
    channels: tuple[int, ...]
    width: int
    extent: tuple[float, float]
    block: int
    original: Bytes
    moved: Bytes
    back: Bytes
    low: Numbers
    high: Numbers
    span: Numbers
    cells: NDArray[np.bool_]
    residuals: Numbers

    def values(self, frames: Bytes) -> Numbers:
        """What frames (..., K, rows, columns) show, within half a step (high − low)/255."""
        low, high = self.low[:, None, None], self.high[:, None, None]
        return low + (high - low) * (frames / 255.0)

    def differences(self) -> Numbers:
        """back − original, (N, T, K, rows, columns), within one step; NaN where not compared."""
        found = self.values(self.back) - self.values(self.original)[:, None]
        return np.where(self.cells, found, np.nan)


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a network makes of a few transformed images, small enough to be looked at in a page.

    Attributes
    ----------
    images : names of the N images.
    transforms : the T transformations as text, in the order in which they were given.
    originals, inputs : f and T_h f before normalisation, (N, rows, columns, 1 or 3) and (N, T,
        rows, columns, 1 or 3), 8 bit.
    layers : one `LayerPictures` each.
    network, data : what was shown to what, in words.
    notes : sentences that whoever shows the numbers must show too.
    """

    images: tuple[str, ...]
    transforms: tuple[str, ...]
    originals: Bytes
    inputs: Bytes
    layers: tuple[LayerPictures, ...]
    network: str = ""
    data: str = ""
    notes: tuple[str, ...] = ()

    @property
    def moves(self) -> tuple[Transform, ...]:
        """The transformations as values."""
        return tuple(move for text in self.transforms for move in parse_transforms(text))

    @property
    def nbytes(self) -> int:
        """Bytes of all frames, not compressed."""
        frames = [a for one in self.layers for a in (one.original, one.moved, one.back)]
        return sum(array.nbytes for array in (self.originals, self.inputs, *frames))

    def save(self, path: str | Path) -> Path:
        """Write one .npz file, whole or not at all; it holds arrays and JSON, no pickles.

        Raises ProbeError where it cannot be written.
        """
        place = Path(path)
        head = {
            "format": _FORMAT,
            "images": self.images,
            "transforms": self.transforms,
            "network": self.network,
            "data": self.data,
            "notes": self.notes,
            "layers": [
                {
                    "layer": one.layer,
                    "channels": one.channels,
                    "width": one.width,
                    "extent": one.extent,
                    "block": one.block,
                }
                for one in self.layers
            ],
        }
        arrays: dict[str, Any] = {"head": np.array(json.dumps(head))}
        arrays |= {"originals": self.originals, "inputs": self.inputs}
        for number, one in enumerate(self.layers):
            arrays |= {f"{name}_{number}": getattr(one, name) for name in _ARRAYS}
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(place, buffer.getvalue(), "the pictures")
        return place

    def __repr__(self) -> str:
        names = ", ".join(one.layer for one in self.layers)
        return (
            f"Pictures({len(self.images)} images, {len(self.transforms)} transforms, "
            f"layers {names}, {self.nbytes / 1e6:.1f} MB)"
        )


def load_pictures(path: str | Path) -> Pictures:
    """Read pictures that `Pictures.save` wrote; equal to the original.

    Raises ProbeError for files that are not there, are something else, or are damaged.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as held:
            head = json.loads(str(held["head"]))
            if head.pop("format") != _FORMAT:
                raise ValueError("another format")
            layers = tuple(
                LayerPictures(
                    layer=str(said["layer"]),
                    channels=tuple(map(int, said["channels"])),
                    width=int(said["width"]),
                    extent=(float(said["extent"][0]), float(said["extent"][1])),
                    block=int(said["block"]),
                    **{name: held[f"{name}_{number}"] for name in _ARRAYS},
                )
                for number, said in enumerate(head.pop("layers"))
            )
            found = Pictures(
                tuple(map(str, head["images"])), tuple(map(str, head["transforms"])),
                held["originals"], held["inputs"], layers, str(head["network"]), str(head["data"]),
                tuple(map(str, head["notes"])),
            )  # fmt: skip
        _check(found)
    except FileNotFoundError:
        raise ProbeError(f"no pictures '{path}'; save some with Pictures.save") from None
    except _DAMAGE as error:
        reason = str(error).strip().partition("\n")[0]
        raise ProbeError(
            f"'{path}' holds no pictures or is damaged ({reason}); save them again"
        ) from None
    return found


def quantised(
    original: NDArray[np.float32],
    moved: NDArray[np.float32],
    back: NDArray[np.float32],
    cells: NDArray[np.bool_],
) -> dict[str, Any]:
    """8 bit frames and their scales from maps (..., K, rows, columns), one scale each channel."""
    stacks = [stack.reshape(-1, *stack.shape[-3:]) for stack in (original, moved, back)]
    low = np.min([stack.min(axis=(0, 2, 3)) for stack in stacks], axis=0).astype(np.float64)
    high = np.max([stack.max(axis=(0, 2, 3)) for stack in stacks], axis=0).astype(np.float64)
    width = high - low
    step = np.where(width > 0, width, 1.0)[:, None, None]

    def encode(maps: NDArray[np.float32]) -> Bytes:
        return np.rint((maps - low[:, None, None]) / step * 255).clip(0, 255).astype(np.uint8)

    apart = np.abs(back - original[:, None])[..., cells]  # (N, T, K, compared)
    span = np.maximum(apart.max(axis=(0, 1, 3)), _FAINT * width)
    return {
        "original": encode(original), "moved": encode(moved), "back": encode(back),
        "low": low, "high": high, "span": np.where(span > 0, span, 1.0).astype(np.float64),
    }  # fmt: skip


def _check(found: Pictures) -> None:
    """ValueError unless the arrays fit together."""
    n, t = len(found.images), len(found.transforms)
    fits = found.inputs.shape[:2] == (n, t) and found.originals.shape == (
        n, *found.inputs.shape[2:],
    )  # fmt: skip
    fits = fits and found.inputs.ndim == 5 and found.inputs.shape[-1] in (1, 3)
    fits = fits and len(found.moves) == t and len(found.layers) > 0
    for one in found.layers:
        k, size = len(one.channels), one.cells.shape
        fits = fits and one.original.shape == (n, k, *size)
        fits = fits and one.moved.shape == one.back.shape == (n, t, k, *size)
        fits = fits and one.low.shape == one.high.shape == one.span.shape == (k,)
        fits = fits and one.residuals.shape == (n, t, 1 + k, len(SHOWN_RUNGS))
        frames = (one.original, one.moved, one.back, found.inputs, found.originals)
        fits = fits and all(frame.dtype == np.uint8 for frame in frames)
    if not fits:
        raise ValueError("its arrays do not fit together")
