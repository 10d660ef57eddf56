"""From a picture of a house to the number on it: 64 x 64 pixels around the digits."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

SIDE = 64
ENLARGED = 1.3

_MOST_PIXELS = 50_000_000


def number_box(boxes: np.ndarray, enlarged: float = ENLARGED) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of what is cut out around the boxes of all digits.

    The smallest box around the boxes (n, 4: left, top, width, height), made larger by 30 % in
    both directions about its centre. Source: Goodfellow et al., Multi-digit Number Recognition
    from Street View Imagery, 2013, section 5.1.

    Convention: edges in pixels, 0 at the edge of the first pixel.

    >>> number_box(np.array([[10.0, 20.0, 5.0, 10.0], [15.0, 20.0, 5.0, 10.0]]))
    (8.5, 18.5, 21.5, 31.5)
    """
    low = boxes[:, :2].min(axis=0)
    high = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2 * enlarged
    left, top = (centre - half).tolist()
    right, bottom = (centre + half).tolist()
    return left, top, right, bottom


def number_crop(content: bytes, boxes: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Return (3, side, side) uint8: the box around the digits, cut out and resized.

    Both axes are brought to `side`, so the shape of the box is lost. Resizing is bilinear and
    anti-aliased; beyond the picture its edge continues. Raises ValueError for what is no picture
    or too large, and for a box that does not lie on the picture.
    """
    with Image.open(io.BytesIO(content)) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"a picture of {image.width} x {image.height}")
        pixels = np.asarray(image.convert("RGB"))
    left, top, right, bottom = number_box(boxes)
    rows, y0, y1 = _span(top, bottom, pixels.shape[0], side)
    columns, x0, x1 = _span(left, right, pixels.shape[1], side)
    cut = Image.fromarray(pixels[rows[:, None], columns[None]])
    resized = cut.resize((side, side), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def _span(low: float, high: float, length: int, side: int) -> tuple[np.ndarray, float, float]:
    """Return the pixels to take along one axis, repeated beyond the ends, and the box on them."""
    if high <= 0 or low >= length or high - low > 4 * length:
        raise ValueError(f"boxes from {low:g} to {high:g} on a picture of {length} pixels")
    # What the kernel reads beyond the box.
    margin = math.ceil(max(1.0, (high - low) / side)) + 1
    start = math.floor(low) - margin
    taken = np.arange(start, math.ceil(high) + margin).clip(0, length - 1)
    return taken, low - start, high - start
