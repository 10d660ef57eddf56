"""Class numbers of images, from wherever they come."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ProbeError

_MOST = 10**18


def check_labels(labels: Any, count: int, where: str) -> np.ndarray:
    """Return labels as int64 (count,), which may come as (count, 1) or (1, count).

    Raises ProbeError, beginning with `where`, for anything but whole numbers below 10^18, one each.
    """
    try:
        values = np.asarray(labels)
    except (ValueError, TypeError, OverflowError):  # lists of unequal length, among others
        raise ProbeError(f"{where}labels are no list of whole numbers") from None
    if values.shape not in ((count,), (count, 1), (1, count)):
        raise ProbeError(f"{where}labels of shape {values.shape} for {count} images; give one each")
    if values.dtype.kind not in "iu":
        raise ProbeError(f"{where}labels of type {values.dtype}; labels are whole numbers")
    outside = (values >= _MOST) | (values <= -_MOST) if values.dtype.itemsize == 8 else None
    if outside is not None and outside.any():
        raise ProbeError(f"{where}label {values[outside][0]}; labels are class numbers")
    return values.reshape(count).astype(np.int64)


__all__ = ["check_labels"]
