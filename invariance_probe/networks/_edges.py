"""Thin inputs of half planes of NaN, and the marks they leave on the maps of a network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ._capture import run
from ._support import NAN, SupportMode

LONGER = 192

# Marks of one map: (images, rows, columns), whether any channel of a cell saw a NaN.
Marks = dict[str, Tensor]


@dataclass(frozen=True)
class Line:
    """Centres of receptive fields along one axis: pixel jump·u + corner, pixel 0 the first."""

    jump: float
    corner: float


@dataclass(frozen=True)
class Strip:
    """A thin input along one axis ("x" or "y"): only the structure along that axis counts."""

    network: nn.Module
    channels: int
    axis: str
    thickness: int

    def marks(self, layers: Sequence[str], length: int, edges: Sequence[int]) -> Marks:
        """Marked cells (images, cells) of each layer; edge j marks pixels >= j, ~j those < L-j."""
        position = torch.arange(length)
        planes = [position >= j if j >= 0 else position < length - ~j for j in edges]
        shape = (len(edges), self.channels, self.thickness, length)
        marked = torch.stack(planes)[:, None, None, :].expand(shape)
        images = torch.ones(shape).masked_fill(marked, NAN)
        if self.axis == "y":
            images = images.transpose(2, 3).contiguous()
        seen: Marks = {}

        def take(layer: str, output: object) -> None:
            if not isinstance(output, Tensor) or output.ndim != 4:
                raise ProbeError(f"layer {layer!r} gives no map on another canvas")
            across = 1 if self.axis == "x" else 2
            seen[layer] = torch.isnan(output).any(1).any(across).cpu()

        with support():
            run(self.network, images.to(like(self.network)), layers, take)
        return seen

    def seen(self, layers: Sequence[str], length: int) -> bool:
        """Whether cells see the strip at all: taps apart may fall on either side of a thin one."""
        marks = self.marks(layers, length, [0])
        return all(bool(row[0, row.shape[1] // 2]) for row in marks.values())

    def shapes(self, layers: Sequence[str], length: int) -> dict[str, tuple[int, int]]:
        """(rows, columns) of each layer for a strip of `length`."""
        sizes = (self.thickness, length) if self.axis == "x" else (length, self.thickness)
        with support():
            return map_sizes(self.network, layers, sizes, self.channels)


@contextmanager
def support() -> Iterator[None]:
    """SupportMode with libraries off that compute convolutions over tiles."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32")
        with torch.backends.mkldnn.flags(enabled=False), SupportMode():
            yield


def like(network: nn.Module) -> Tensor:
    """A tensor of the network's device and floating type."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            return tensor
    return torch.zeros(())


def map_sizes(
    network: nn.Module, layers: Sequence[str], canvas: tuple[int, int], channels: int
) -> dict[str, tuple[int, int]]:
    """(rows, columns) of each layer's map for images of `canvas` (rows, columns)."""
    sizes: dict[str, tuple[int, int]] = {}

    def take(layer: str, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ProbeError(f"layer {layer!r} gives no map on another canvas")
        sizes[layer] = (int(output.shape[2]), int(output.shape[3]))

    run(network, torch.ones(1, channels, *canvas).to(like(network)), layers, take)
    return sizes


def thin_strip(
    network: nn.Module, sizes: Mapping[str, tuple[int, int]], axis: str,
    canvas: tuple[int, int], channels: int,
) -> Strip:  # fmt: skip
    """The thinnest strip along `axis` on which maps are as long as on the canvas (`sizes`)."""
    length, across = canvas[::-1] if axis == "x" else canvas
    side = 1 if axis == "x" else 0
    for thickness in (1, 8, 32, 80):
        if thickness >= across:
            break
        strip = Strip(network, channels, axis, thickness)
        try:
            found = strip.shapes(list(sizes), length)
        except ProbeError:
            continue
        if all(found[layer][side] == size[side] for layer, size in sizes.items()) and strip.seen(
            list(sizes), length
        ):
            return strip
    return Strip(network, channels, axis, across)


def added_cells(strip: Strip, cells: Mapping[str, int], length: int) -> dict[str, int]:
    """How many cells 192 more pixels add to each layer that grows with the canvas.

    Raises ProbeError for a layer whose maps have their channels last.
    """
    try:
        before = strip.shapes(list(cells), length)
        after = strip.shapes(list(cells), length + LONGER)
    except ProbeError:
        if len(cells) == 1:
            return {}
        # One layer behind a fully connected one must not keep the others from growing.
        alone = [added_cells(strip, {layer: count}, length) for layer, count in cells.items()]
        return {layer: more for one in alone for layer, more in one.items()}
    side = 1 if strip.axis == "x" else 0
    if strip.axis == "x":
        for layer, size in after.items():
            if size[1] == before[layer][1] and size[0] > before[layer][0]:
                raise ProbeError(
                    f"layer {layer!r} gives maps with channels last (N, H, W, C), not "
                    "(N, C, H, W); choose a layer that gives (N, C, H, W)"
                )
    grown = {layer: after[layer][side] - count for layer, count in cells.items()}
    return {layer: more for layer, more in grown.items() if more > 0}
