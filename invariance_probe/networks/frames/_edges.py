"""Thin inputs of half planes of NaN, and the marks they leave on the maps of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ..layers.capture import run
from ..layers.layouts import Layout, layouts_of
from ..marking.constant import core
from ..marking.support import NAN, like, support

LONGER = 192

# Marks of one map: (images, rows, columns), whether any channel of a cell saw a NaN.
Marks = dict[str, Tensor]


@dataclass(frozen=True)
class Line:
    """Centres of receptive fields along one axis: pixel jump·u + corner, pixel 0 the first.

    `error`: by how many pixels two ways of measuring disagree about it.
    """

    jump: float
    corner: float
    error: float = 0.0


class Maps:
    """How the outputs of some layers hold maps, on the canvas and on any other."""

    def __init__(
        self, network: nn.Module, layers: Sequence[str], canvas: tuple[int, int], channels: int
    ) -> None:
        self.network, self.channels = network, channels
        self.layouts = layouts_of(network, layers, canvas, channels)
        self.unite = True  # until the network takes joined channels apart again
        self._others: dict[tuple[int, int], dict[str, Layout]] = {canvas: self.layouts}
        self._tokens = [name for name, found in self.layouts.items() if found.kind == "tokens"]

    def on(self, canvas: tuple[int, int], layers: Sequence[str]) -> dict[str, Layout]:
        """The layouts on another canvas: only tokens stand for other cells there."""
        if not set(self._tokens) & set(layers):
            return self.layouts
        if canvas not in self._others:
            again = layouts_of(self.network, self._tokens, canvas, self.channels)
            kept = {k: v for k, v in self.layouts.items() if v.kind != "tokens"}
            self._others[canvas] = {**kept, **again}
        return self._others[canvas]

    def read(self, layer: str, output: object, layouts: Mapping[str, Layout | None]) -> Tensor:
        """The map (N, C, H, W) that an output holds there; raises ProbeError if it is none."""
        layout = layouts.get(layer)
        if isinstance(output, Tensor):
            if layout is not None and layout.fits(output):
                return layout.to_map(output)
            if layer not in self.layouts and output.ndim == 4:
                return output
        raise ProbeError(f"layer {layer!r} gives no map on another canvas")


@dataclass(frozen=True)
class Strip:
    """A thin input along one axis ("x" or "y"): only the structure along that axis counts."""

    network: nn.Module
    channels: int
    axis: str
    thickness: int
    maps: Maps = field(compare=False)

    def canvas(self, length: int) -> tuple[int, int]:
        """(rows, columns) of a strip of `length`."""
        return (self.thickness, length) if self.axis == "x" else (length, self.thickness)

    def marks(self, layers: Sequence[str], length: int, edges: Sequence[int]) -> Marks:
        """Marked cells (images, cells) of each layer; edge j marks pixels >= j, ~j those < L-j."""
        position = torch.arange(length)
        planes = [position >= j if j >= 0 else position < length - ~j for j in edges]
        rows = torch.ones(len(edges), length).masked_fill(torch.stack(planes), NAN)
        line = rows[:, None, None, :] if self.axis == "x" else rows[:, None, :, None]
        images = line.to(like(self.network)).expand(-1, -1, *self.canvas(length)).contiguous()
        layouts = self.maps.on(self.canvas(length), layers)
        seen: Marks = {}

        def take(layer: str, output: object) -> None:
            across = 1 if self.axis == "x" else 2
            with mode.reading():
                maps = self.maps.read(layer, output, layouts)
                marks = torch.isnan(core(maps)).any(1).expand(-1, *maps.shape[2:])
                seen[layer] = marks.any(across).expand(len(edges), -1).cpu()

        # One plane for all channels: what is alike in them is stored once.
        images = images.expand(-1, self.channels, -1, -1)
        with support(unite=self.maps.unite) as mode:
            run(self.network, images, layers, take)
        if mode.inexact:
            self.maps.unite = False
            with support(unite=False) as mode:
                run(self.network, images, layers, take)
        return seen

    def shapes(self, layers: Sequence[str], length: int) -> dict[str, tuple[int, int]]:
        """(rows, columns) of each layer for a strip of `length`."""
        sizes: dict[str, tuple[int, int]] = {}
        canvas = self.canvas(length)
        layouts = self.maps.on(canvas, layers)

        def take(layer: str, output: object) -> None:
            with mode.reading():
                rows, columns = self.maps.read(layer, output, layouts).shape[2:]
            sizes[layer] = (int(rows), int(columns))

        images = torch.ones(1, 1, *canvas).to(like(self.network))
        with support() as mode:
            run(self.network, images.expand(-1, self.channels, -1, -1), layers, take)
        return sizes


def thin_strip(
    maps: Maps, sizes: Mapping[str, tuple[int, int]], axis: str, canvas: tuple[int, int]
) -> Strip:
    """The thinnest strip along `axis` on which maps are as long as on the canvas (`sizes`)."""
    network, channels = maps.network, maps.channels
    length, across = canvas[::-1] if axis == "x" else canvas
    side = 1 if axis == "x" else 0
    for thickness in (1, 8, 32, 80):
        if thickness >= across:
            break
        strip = Strip(network, channels, axis, thickness, maps)
        try:
            seen = strip.marks(list(sizes), length, [0])
        except ProbeError:
            continue
        # Cells must see the strip at all: taps apart may fall on either side of a thin one.
        if all(
            seen[layer].shape[1] == size[side] and bool(seen[layer][0, size[side] // 2])
            for layer, size in sizes.items()
        ):
            return strip
    return Strip(network, channels, axis, across, maps)


def added_cells(strip: Strip, cells: Mapping[str, int], length: int) -> dict[str, int]:
    """How many cells 192 more pixels add to each layer that grows with the canvas."""
    try:
        after = strip.shapes(list(cells), length + LONGER)
    except ProbeError:
        if len(cells) == 1:
            return {}
        # One layer behind a fully connected one must not keep the others from growing.
        alone = [added_cells(strip, {layer: count}, length) for layer, count in cells.items()]
        return {layer: more for one in alone for layer, more in one.items()}
    side = 1 if strip.axis == "x" else 0
    grown = {layer: after[layer][side] - count for layer, count in cells.items()}
    return {layer: more for layer, more in grown.items() if more > 0}
