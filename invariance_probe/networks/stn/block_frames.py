"""Sizes and frames through blocks of convolutions and poolings, in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

Size = tuple[int, int]


def output_size(blocks: Iterable[nn.Module], size: Size) -> Size:
    """Return the size of the map that blocks make of one of `size` (rows, columns)."""
    for kernel, stride, padding in _windows(blocks):
        rows, columns = (
            (size[axis] + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)
        )
        size = (rows, columns)
    return size


def cell_frame(blocks: Iterable[nn.Module], size: Size) -> Tensor:
    """Return the matrix (3, 3) float64 from cells of the blocks' map to those of their input.

    Convention: cells are counted from the centre of their map, x right, y down.
    """
    frame = torch.eye(3, dtype=torch.float64)
    for kernel, stride, padding in _windows(blocks):
        step = torch.eye(3, dtype=torch.float64)
        out: list[int] = []
        for axis in (0, 1):  # rows, columns
            inputs = size[axis]
            cells = (inputs + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1
            # Cell j looks at the window whose centre is stride·j - padding + (kernel - 1)/2.
            offset = stride[axis] * (cells - 1) / 2 - padding[axis] + (kernel[axis] - 1) / 2
            step[1 - axis, 1 - axis] = stride[axis]
            step[1 - axis, 2] = offset - (inputs - 1) / 2
            out.append(cells)
        frame = frame @ step
        size = (out[0], out[1])
    return frame


def _windows(blocks: Iterable[nn.Module]) -> Iterator[tuple[Size, Size, Size]]:
    """Kernel, stride and padding (rows, columns) of everything that moves cells."""
    for block in blocks:
        for module in block.modules():
            if isinstance(module, nn.Conv2d | nn.MaxPool2d):
                yield _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)


def _pair(value: object) -> Size:
    rows, columns = value if isinstance(value, tuple) else (value, value)
    return int(rows), int(columns)
