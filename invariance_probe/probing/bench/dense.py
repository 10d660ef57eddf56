"""Maps on grids finer than a layer's own: images shown shifted, and what comes out interleaved."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from ...geometry import Frame, Transform, translation

Maps = dict[str, Tensor]
Show = Callable[[Transform, list[str]], Maps]
"""The maps of some layers for images whose content is moved by a shift, whatever else is done."""


class Stitching:
    """Which shifts of the image fill the grids of all layers, each in the fewest passes.

    `factors` says how many times finer than its own the grid of a layer is to be (`Frame.finer`).
    A shift by a fraction of the jump moves the content between cells to where cells are. Of the
    shifts that do, the smallest are taken: they bring the least of the edge in. Layers that need
    the same one share its pass, and a pass ends with the last layer that needs it.

    Convention: shifts in pixels, x right, y down; those of whole pixels are exact, others cost no
    more than the interpolation that the transformation of the image costs anyhow.

    >>> from invariance_probe.geometry import image_frame
    >>> Stitching({"a": image_frame(8, 8)}, {"a": 2}).passes
    4
    """

    def __init__(self, frames: Mapping[str, Frame], factors: Mapping[str, int]) -> None:
        self.factors = {name: factor for name, factor in factors.items() if factor > 1}
        self.places: dict[tuple[float, float], dict[str, tuple[int, int]]] = {}
        for name, factor in self.factors.items():
            jump, before = frames[name].jump, factor // 2
            for place in ((r, c) for r in range(factor) for c in range(factor)):
                down, across = (index - before for index in place)
                shift = (0.0 - across * jump[0] / factor, 0.0 - down * jump[1] / factor)
                if any(shift):
                    self.places.setdefault(shift, {})[name] = place

    @property
    def passes(self) -> int:
        """How often an image passes the network for its maps on all grids."""
        return 1 + len(self.places)

    def __call__(self, own: Maps, show: Show) -> Maps:
        """The maps of all layers on the grids asked for; `own` are those at no shift."""
        maps = dict(own)
        for name, factor in self.factors.items():
            rows, columns = own[name].shape[2:]
            shape = (*own[name].shape[:2], rows * factor, columns * factor)
            maps[name] = own[name].new_empty(shape)
            first = factor // 2
            maps[name][..., first::factor, first::factor] = own[name]
        for shift, places in self.places.items():
            shifted = show(translation(*shift), list(places))
            for name, (row, column) in places.items():
                step = self.factors[name]
                maps[name][..., row::step, column::step] = shifted[name]
        return maps
