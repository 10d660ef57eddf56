"""Frames as sheets: strips of 8 bit pictures in one PNG or JPEG, as data URIs for a page."""

from __future__ import annotations

import base64
import zlib
from io import BytesIO

import matplotlib
import numpy as np
from PIL import Image

from ...probing.pictures.values import Bytes

MAPS, DIFFERENCES = "viridis", "RdBu_r"
_PHOTOGRAPH = 64  # px; larger thumbnails are photographs, which JPEG keeps well


def colours(name: str) -> Bytes:
    """256 colours (256, 3) of one of matplotlib's maps."""
    table = matplotlib.colormaps[name](np.arange(256), bytes=True)
    return np.ascontiguousarray(table[:, :3])


def map_sheet(original: Bytes, moved: Bytes, back: Bytes) -> str:
    """One grey PNG: the original's frame, then all of `moved`, then all of `back`, downwards.

    Frames are (rows, columns) and (T, rows, columns).
    """
    return png(np.concatenate([original[None], moved, back]).reshape(-1, original.shape[-1]))


def input_sheet(original: Bytes, inputs: Bytes) -> str:
    """One picture: the original (rows, columns, 1 or 3), then all inputs (T, ...), downwards."""
    rows, columns, planes = original.shape
    strip = np.concatenate([original[None], inputs]).reshape(-1, columns, planes)
    return png(strip) if max(rows, columns) <= _PHOTOGRAPH else jpeg(strip)


def jpeg(values: Bytes) -> str:
    """Bytes (rows, columns, 1 or 3) as a JPEG's data URI."""
    buffer = BytesIO()
    _image(values).save(buffer, "JPEG", quality=82, optimize=True)
    return _uri(buffer.getvalue(), "jpeg")


def png(values: Bytes) -> str:
    """Bytes (rows, columns) or (rows, columns, 1 or 3) as a PNG's data URI."""
    buffer = BytesIO()
    # Maps are noise to longer matches: runs alone make files as small in a fifth of the time.
    _image(values).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return _uri(buffer.getvalue(), "png")


def _image(values: Bytes) -> Image.Image:
    grey = values.ndim == 3 and values.shape[-1] == 1
    return Image.fromarray(np.ascontiguousarray(values[..., 0] if grey else values))


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
