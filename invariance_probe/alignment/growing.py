"""Rows gathered over a stream, in one buffer."""

from __future__ import annotations

import torch
from torch import Tensor


class GrowingRows:
    """Rows appended batch by batch to a buffer that doubles when it is full.

    A list of small tensors would do the same, but each stays where the allocator put it between
    the batch's large temporaries, and the process grows with the images by far more than it holds.

    >>> rows = GrowingRows()
    >>> rows.append(torch.zeros(2, 3))
    >>> rows.append(torch.ones(1, 3))
    >>> rows.all().shape, rows.last(1).tolist()
    (torch.Size([3, 3]), [[1.0, 1.0, 1.0]])
    """

    def __init__(self) -> None:
        self._buffer: Tensor | None = None
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, rows: Tensor) -> None:
        """Add rows (n, ...) of the same shape as those before."""
        needed = self._length + len(rows)
        if self._buffer is None or needed > len(self._buffer):
            grown = rows.new_zeros((max(256, 2 * needed), *rows.shape[1:]))
            if self._buffer is not None:
                grown[: self._length] = self._buffer[: self._length]
            self._buffer = grown
        self._buffer[self._length : needed] = rows
        self._length = needed

    def all(self) -> Tensor:
        """All rows, a view of the buffer."""
        return torch.zeros(0) if self._buffer is None else self._buffer[: self._length]

    def last(self, number: int) -> Tensor:
        """The last `number` rows, a view that can be written to."""
        return self.all()[self._length - number :]
