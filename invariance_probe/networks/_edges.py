"""Edges of receptive fields along one axis, read from half planes of NaN.

With the pixels from j on marked, the cells that see none of them form the left part of a map; the
first marked cell u(j) steps up by one wherever j passes the right edge of a cell's receptive
field. Locating three steps by bisection gives the right edges of three neighbouring cells; the
mirrored half planes give left edges of others. Both are straight lines in u with the same slope,
the jump, and the line halfway between them runs through the centres of the receptive fields.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from ._capture import run
from ._support import NAN, SupportMode

# Padding that depends on the size of the input keeps its parity when a canvas grows by 64.
GROWTH = (0, 64, 192, 448, 960, 1984)
CELLS = 3
SWEEP = 160
_BATCH = 24

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
        if all(found[layer][side] == size[side] for layer, size in sizes.items()):
            return strip
    return Strip(network, channels, axis, across)


def measure_lines(
    strip: Strip, cells: Mapping[str, int], length: int, added: Mapping[str, int]
) -> dict[str, Line]:
    """The Line of every layer whose edges of receptive fields are seen; others are left out.

    `cells` counts each layer's cells along the strip on the real canvas of `length` pixels,
    `added` how many more there are 192 pixels further, for layers that grow with the canvas.
    """
    lines: dict[str, Line] = {}
    steps = {
        layer: max(1, round(192 / added[layer] if layer in added else length / count))
        for layer, count in cells.items()
    }
    for growth in GROWTH:
        here = [layer for layer in steps if layer not in lines and (not growth or layer in added)]
        if not here:
            break
        try:
            found, steps = _measure(strip, {layer: steps[layer] for layer in here}, length + growth)
        except ProbeError:
            break  # the network takes no other size than its own
        for layer, (line, period) in found.items():
            # A map that is resized to a fixed or rounded size is not on one grid in all sizes.
            if layer not in added or abs(line.jump * added[layer] - 192) < line.jump * period:
                lines[layer] = line
    return lines


def added_cells(strip: Strip, cells: Mapping[str, int], length: int) -> dict[str, int]:
    """How many cells 192 more pixels add to each layer that grows with the canvas.

    Raises ProbeError for a layer whose maps have their channels last.
    """
    try:
        before = strip.shapes(list(cells), length)
        after = strip.shapes(list(cells), length + 192)
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


# Of one layer and one side: the first marked cell for every edge probed so far.
_Table = dict[int, int]
_Edges = list[tuple[int, int]]


def _measure(
    strip: Strip, steps: dict[str, int], length: int
) -> tuple[dict[str, tuple[Line, int]], dict[str, int]]:
    """(Line, period) of the layers resolved at this length; the steps of those that need more."""
    tables: dict[tuple[str, bool], _Table] = {(n, m): {} for n in steps for m in (False, True)}
    edges: dict[tuple[str, bool], _Edges] = {}
    widths: dict[str, int] = {}
    small: dict[str, int] = {}
    failed: set[str] = set()
    ask = {length}  # marks nothing: what is marked then was NaN of the network's own making
    while ask:
        pending = [n for n in steps if any(tables.get((n, m)) is not None for m in (False, True))]
        for chunk in _chunks(sorted(ask), _BATCH if length < 1024 else _BATCH // 3):
            for layer, marks in strip.marks(pending, length, chunk).items():
                widths[layer] = marks.shape[1]
                if length in chunk and bool(marks[chunk.index(length)].any()):
                    failed.add(layer)
                for edge, row in zip(chunk, marks, strict=True):
                    table = tables.get((layer, edge < 0))
                    if table is not None:
                        table[~edge if edge < 0 else edge] = _first_marked(row, edge < 0)
        ask = set()
        for key, table in list(tables.items()):
            layer, mirrored = key
            plan = None
            if layer not in failed and layer not in small:
                plan = _plan(table, length, steps[layer])
            if isinstance(plan, set):
                ask |= {~edge for edge in plan} if mirrored else plan
                continue
            del tables[key]
            if plan:
                edges[key] = plan
            elif layer not in failed:
                small[layer] = steps[layer]
    found = {}
    for layer, width in widths.items():
        if (layer, False) in edges and (layer, True) in edges:
            mirror = [(width - 1 - u, length - 1 - j) for u, j in edges[layer, True]]
            line = _centre_line(edges[layer, False], sorted(mirror))
            if line is not None:
                found[layer] = line
    return found, small


def _plan(table: _Table, length: int, step: int) -> set[int] | _Edges | None:
    """Edges to probe next, or (cell, right edge of its field) of neighbours, or None: no room."""
    # Fields cut off by the canvas all end among its last pixels, those that no cell of an
    # unpadded strided layer looks at included; these are fewer than a step.
    end = length - step
    if end not in table:
        return {end, max(0, end - 1 - step)} if end > 0 else None
    top = table[end] - 1
    if top < CELLS - 1:
        return None
    cells = range(top - CELLS + 1, top + 1)
    brackets = {u: _bracket(table, u) for u in cells}
    if any(below is None for below, _ in brackets.values()):
        lowest = min(table)
        return {max(0, lowest - 2 * step)} if lowest > 0 else None
    known = {u: below for u, (below, above) in brackets.items() if above - below == 1}
    if len(known) < CELLS:
        below, above = brackets[top]
        if top not in known:
            return {(below + above) // 2}
        ask = set()
        for u, (below, above) in brackets.items():
            if u not in known:
                # Most likely the same distance as the canvas grows by; else halve again.
                guess = known[top] - (top - u) * step
                likely = {j for j in (guess, guess + 1) if below < j < above}
                ask |= likely or {(below + above) // 2}
        return ask
    if any(table[edge] == 0 for u, edge in known.items() if u):
        return None  # all cells marked: marks have come round from the other side
    found = sorted(known.items())
    if found[1][1] - found[0][1] == found[2][1] - found[1][1] > 0:
        return found
    # Steps of changing height: an upsampled map. Look at every edge of a longer stretch.
    every = set(range(max(1, end - SWEEP), end)) - table.keys()
    if every:
        return every
    swept = [(u, *_bracket(table, u)) for u in range(1, top + 1)]
    return [(u, b) for u, b, a in swept if b is not None and a - b == 1 and table[b] > 0] or None


def _bracket(table: _Table, cell: int) -> tuple[Any, int]:
    """The last edge that marks the cell (None if unknown) and the first that does not."""
    below = max((edge for edge, first in table.items() if first <= cell), default=None)
    return below, min(edge for edge, first in table.items() if first > cell)


def _first_marked(row: Tensor, mirrored: bool) -> int:
    """One past the last unmarked cell, counted from the other end when mirrored."""
    clear = (~(row.flip(0) if mirrored else row)).nonzero()
    return int(clear[-1]) + 1 if len(clear) else 0


def _centre_line(right: _Edges, left: _Edges) -> tuple[Line, int] | None:
    a, b = _fit(right), _fit(left)
    if a is None or b is None or a[0] != b[0]:
        return None
    jump, period = a[0], max(a[2], b[2])
    return Line(float(jump), float((a[1] + b[1]) / 2)), period


def _fit(edges: _Edges) -> tuple[Fraction, Fraction, int] | None:
    """(slope, intercept, period) of edges that repeat with the shortest period of cells."""
    values = [edge for _, edge in edges]
    for period in range(1, len(values) // 2 + 1):
        rises = {values[i + period] - values[i] for i in range(len(values) - period)}
        if len(rises) == 1 and min(rises) > 0:
            slope = Fraction(min(rises), period)
            rests = [edge - slope * u for u, edge in edges[:period]]
            return slope, sum(rests, Fraction(0)) / period, period
    return None


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
