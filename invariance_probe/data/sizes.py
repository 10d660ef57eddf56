"""Arithmetic of canvas and source sizes: parity, margins, the size a rotation needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from ..errors import ProbeError

Size: TypeAlias = tuple[int, int]

# Pixels beyond the farthest sample that a bicubic kernel (two taps a side) still reads.
_KERNEL_REACH = 2


def as_size(value: int | Sequence[int], what: str = "canvas") -> Size:
    """Return (H, W) from a side or a pair; ProbeError for anything else."""
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or any(isinstance(n, bool) or int(n) != n or n < 1 for n in pair):
        raise ProbeError(f"{what} {value!r} is no size; give a side or (H, W) in whole pixels")
    return int(pair[0]), int(pair[1])


def size_text(size: Size) -> str:
    """Return '224x320' (rows x columns) for messages."""
    return f"{size[0]}x{size[1]}"


def rotation_reach(canvas: Size) -> Size:
    """Return the smallest source (H, W), of the canvas's parity, that covers it at any rotation.

    Covers the samples of a bilinear or bicubic kernel at the corners of the turned canvas.
    """
    diagonal = math.hypot(canvas[0] - 1, canvas[1] - 1)
    side = math.ceil(diagonal) + 1 + 2 * _KERNEL_REACH if diagonal else 1
    return side + (side - canvas[0]) % 2, side + (side - canvas[1]) % 2


def fit_parity(available: int, canvas: int) -> int:
    """Return the largest side <= available with the canvas's parity, at least the canvas."""
    return max(canvas, available - (available - canvas) % 2)


def covers_rotation(source: Size, canvas: Size) -> bool:
    """Say whether real content fills the canvas at every rotation about its centre."""
    need = rotation_reach(canvas)
    return source[0] >= need[0] and source[1] >= need[1]


def border_note(source: Size, canvas: Size, background: tuple[float, ...] | str) -> str | None:
    """Return the sentence a report must carry when rotations look beyond the source, or None."""
    if covers_rotation(source, canvas):
        return None
    need = size_text(rotation_reach(canvas))
    if isinstance(background, str):
        filled = "the border is reflected"
    else:
        values = ", ".join(f"{float(v):g}" for v in dict.fromkeys(background))
        filled = f"the border is filled with {values}"
    return (
        f"beyond the source of {size_text(source)} {filled}: "
        f"a rotated canvas of {size_text(canvas)} needs {need} of real content"
    )
