"""The same function over many items by several threads, in order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

from ...errors import ProbeError

_T = TypeVar("_T")
_R = TypeVar("_R")

_MOST = 256
_AHEAD = 64  # items a thread may have waiting, so that a million files are not all queued at once


def check_workers(workers: object) -> int:
    """Return the number of threads; ProbeError for anything but 0 ... 256."""
    if isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= _MOST:
        raise ProbeError(f"workers={workers!r}; give a number of threads from 0 to {_MOST}")
    return workers


def in_order(function: Callable[[_T], _R], items: Sequence[_T], workers: int) -> list[_R]:
    """Return the function's values in the order of the items.

    Threads, because Pillow decodes outside Python's lock. 0 and 1 work in the calling thread. The
    error that is raised is that of the first item at fault, whatever the number of threads.
    """
    with warnings.catch_warnings():
        # Here an image beyond the limit is an error, and one line is enough.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        if workers <= 1 or len(items) <= 1:
            return [function(item) for item in items]
        done: list[_R] = []
        with ThreadPoolExecutor(min(workers, len(items))) as pool:
            step = _AHEAD * workers
            for start in range(0, len(items), step):
                done += pool.map(function, items[start : start + step])
        return done


__all__ = ["check_workers", "in_order"]
