"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@functools.cache
def keep_freed_memory() -> bool:
    """Have the process keep memory that it frees; return whether that could be asked for.

    Training and probing free and take the same tens of megabytes in every step. By default glibc
    gives such blocks back to the system each time, which costs a third of the time of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(_TRIM_THRESHOLD, (1 << 31) - 1))
