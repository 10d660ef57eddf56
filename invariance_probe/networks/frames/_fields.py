"""Edges of receptive fields along one axis, read from half planes of NaN.

The last j at which a half plane of pixels >= j marks a cell is the right edge of the cell's
receptive field; mirrored half planes give the left edge. Both are found by repeated division for
a few cells in the middle of the map. They are straight lines in the cell's number with the same
slope, the jump, and the line halfway between them runs through the centres of the receptive fields.
Fields must end inside the strip, and end at the same pixels on a longer one: a field that is cut
off there, or a mark that was lost, does not repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ...errors import ProbeError
from ._edges import LONGER, Line, Strip

# Padding that depends on the size of the input keeps its parity when a canvas grows by 64.
GROWTH = (0, 64, 192, 448, 960, 1984)
# As many cells as show that edges rise evenly; as those of an upsampled map need, which do not.
_CELLS = (3, 41)
# Edges tried at once between two known ones, on a thin strip and on a thick one.
_SPLITS = (15, 3)
_THIN = 8
_PIXELS = 1_200_000  # of all images of a pass


@dataclass(frozen=True)
class Seen:
    """The Line of a layer whose fields end inside a strip of a length, which shows it.

    `reach`: pixels from a cell's place to the edges of what it sees, at most.
    """

    line: Line
    strip: Strip
    length: int
    reach: float


def measure_lines(
    strip: Strip, cells: Mapping[str, int], canvas: tuple[int, int], added: Mapping[str, int]
) -> dict[str, Seen]:
    """The Line of every layer whose edges of receptive fields are seen; others are left out.

    `cells` counts each layer's cells along the strip on the real canvas (rows, columns),
    `added` how many more there are 192 pixels further, for layers that grow with the canvas.
    """
    length, across = canvas[::-1] if strip.axis == "x" else canvas
    lines: dict[str, Seen] = {}
    thick = Strip(strip.network, strip.channels, strip.axis, across, strip.maps)
    for each in dict.fromkeys((strip, thick)):
        left = {layer: count for layer, count in cells.items() if layer not in lines}
        found, refuted = _grown(each, thick, left, length, added)
        lines.update(found)
        # On a thin strip a kernel with a hole may see nothing but padding.
        cells = {layer: left[layer] for layer in refuted}
    return lines


def _grown(
    strip: Strip, thick: Strip, cells: Mapping[str, int], length: int, added: Mapping[str, int]
) -> tuple[dict[str, Seen], set[str]]:
    """Lines found on canvases of growing length, and the layers whose fields did not repeat."""
    lines: dict[str, Seen] = {}
    broken: set[str] = set()
    refuted: set[str] = set()
    for growth in GROWTH:
        here = [
            layer for layer in cells
            if layer not in lines and layer not in broken and (not growth or layer in added)
        ]  # fmt: skip
        if not here or (strip == thick and growth > LONGER):
            break
        try:
            found, bad, blind = _measure(strip, here, length + growth)
            grows = {layer: field for layer, field in found.items() if layer in added}
            stays = {layer: field for layer, field in found.items() if layer not in added}
            kept = _repeated(thick, grows, length + growth + LONGER)
            kept |= _repeated(thick, stays, length)
        except ProbeError:
            break  # the network takes no other size than its own
        broken |= bad | blind
        refuted |= (found.keys() - kept) | blind
        for layer in kept:
            line, period = found[layer].line, found[layer].period
            # A map that is resized to a fixed or rounded size is not on one grid in all sizes.
            if layer not in added or abs(line.jump * added[layer] - LONGER) < line.jump * period:
                field = found[layer]
                reach = (field.right - field.left) / 2 + line.jump * period
                lines[layer] = Seen(line, strip, length + growth, reach)
    return lines, refuted - lines.keys()


@dataclass(frozen=True)
class _Field:
    """The Line of a layer and the edges (left, right) it was read from, of one cell."""

    line: Line
    period: int
    cell: int
    left: int
    right: int


_Edges = list[tuple[int, int]]  # (cell, pixel)


class _Brackets:
    """Of every cell of a map the last edges known to mark it and the first known not to.

    Row 0 holds half planes to the right, row 1 mirrored ones; -1 and the length at worst.
    """

    def __init__(self, cells: int, length: int) -> None:
        self.below = torch.full((2, cells), -1)
        self.above = torch.full((2, cells), length)

    def add(self, edges: Sequence[int], marks: Tensor) -> None:
        for edge, marked in zip(edges, marks, strict=True):
            side, place = (1, ~edge) if edge < 0 else (0, edge)
            below, above = self.below[side], self.above[side]
            below[:] = torch.where(marked, below.clamp(min=place), below)
            above[:] = torch.where(marked, above, above.clamp(max=place))

    def of(self, cells: range) -> list[list[tuple[int, int, int]]]:
        """(cell, below, above) of the cells, for half planes to the right and mirrored ones."""
        return [
            [(cell, below[cell], above[cell]) for cell in cells]
            for below, above in zip(self.below.tolist(), self.above.tolist(), strict=True)
        ]


def _measure(
    strip: Strip, layers: Sequence[str], length: int
) -> tuple[dict[str, _Field], set[str], set[str]]:
    """The fields seen at this length, the layers that are NaN of the network's own making, and
    those of which some cell is not marked when everything is.
    """
    found: dict[str, _Field] = {}
    ends = [length - 1, ~(length - 1)]  # the last pixel, the first
    clean = strip.marks(layers, length, [length, 0, *ends])  # marks nothing, marks everything
    broken = {layer for layer, marks in clean.items() if bool(marks[0].any())}
    blind = {layer for layer, marks in clean.items() if not bool(_inside(marks[1]).all())}
    seen: dict[str, _Brackets] = {}
    for layer in layers:
        if layer not in broken | blind:
            seen[layer] = _Brackets(clean[layer].shape[1], length)
            seen[layer].add(ends, clean[layer][2:])
    for number in _CELLS:
        pending = [layer for layer in seen if layer not in found]
        widths = {layer: clean[layer].shape[1] for layer in pending}
        middle = {
            layer: range(max(0, (width - number) // 2), min(width, (width + number) // 2))
            for layer, width in widths.items()
        }
        # What sees the first or the last pixel does not end inside.
        pending = [
            layer for layer in pending
            if not bool(clean[layer][2:, middle[layer].start : middle[layer].stop].any())
        ]  # fmt: skip
        _divide(strip, {layer: seen[layer] for layer in pending}, middle, length)
        for layer in pending:
            field = _field(seen[layer], middle[layer], length)
            if field is not None:
                found[layer] = field
    return found, broken, blind


def _inside(row: Tensor) -> Tensor:
    """The middle half of a row of cells."""
    quarter = len(row) // 4
    return row[quarter : len(row) - quarter]


def _divide(
    strip: Strip, seen: Mapping[str, _Brackets], cells: Mapping[str, range], length: int
) -> None:
    """Probe until both edges of every cell are known to the pixel, all layers in the same pass."""
    splits = _SPLITS[strip.thickness > _THIN]
    while True:
        ask: set[int] = set()
        for layer, brackets in seen.items():
            for side, known in enumerate(brackets.of(cells[layer])):
                for below, above in {(below, above) for _, below, above in known}:
                    steps = min(splits + 1, above - below)
                    places = {below + (above - below) * k // steps for k in range(1, steps)}
                    ask |= {~place for place in places} if side else places
        if not ask:
            return
        for chunk in _chunks(sorted(ask), strip.thickness * length):
            for layer, marks in strip.marks(list(seen), length, chunk).items():
                seen[layer].add(chunk, marks)


def _field(seen: _Brackets, cells: range, length: int) -> _Field | None:
    """The field of the cells in the middle, if all of them end inside and rise together."""
    right, left = seen.of(cells)
    # Below 0 nothing marks the cell; the last pixel may be where the canvas cuts the field off.
    if any(not 0 <= below < length - 1 or above - below != 1 for _, below, above in right + left):
        return None
    ends = [(u, below) for u, below, _ in right]
    starts = [(u, length - 1 - below) for u, below, _ in left]
    fitted = _centre_line(ends, starts)
    if fitted is None or any(
        end < start for (_, end), (_, start) in zip(ends, starts, strict=True)
    ):
        return None
    return _Field(*fitted, ends[0][0], starts[0][1], ends[0][1])


def _repeated(strip: Strip, fields: Mapping[str, _Field], length: int) -> set[str]:
    """The layers whose cell has the same edges on a strip of another length or thickness."""
    wanted: dict[str, dict[int, bool]] = {}
    for layer, field in fields.items():
        mirrored = length - 1 - field.left
        wanted[layer] = {field.right: True, field.right + 1: False}
        wanted[layer] |= {~mirrored: True, ~(mirrored + 1): False}
    same = set(fields)
    ask = sorted({edge for edges in wanted.values() for edge in edges})
    for chunk in _chunks(ask, strip.thickness * length):
        for layer, marks in strip.marks(list(fields), length, chunk).items():
            for edge, row in zip(chunk, marks, strict=True):
                marked = bool(row[fields[layer].cell])
                if wanted[layer].get(edge, marked) != marked:
                    same.discard(layer)
    return same


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


def _chunks(items: list[int], pixels: int) -> Iterator[list[int]]:
    """As many images of so many pixels as one pass takes."""
    size = max(4, min(512, _PIXELS // pixels))
    for start in range(0, len(items), size):
        yield items[start : start + size]
