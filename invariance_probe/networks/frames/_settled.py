"""Frames that two independent ways agree on, and what is left of them where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...errors import ProbeError
from ..marking.support import like
from ._edges import LONGER, Line, Maps, Strip, added_cells, thin_strip
from ._fields import Seen, measure_lines
from ._gradients import centroids, deviation, gradient_lines, implied_jump, no_grid
from ._moments import Moments, moment_line, moments

_AGREE = 2e-3  # px
# Of a cell, between centroids of gradients and the places of moments or edges that have no other
# witness. A random 3×3 kernel alone has its centroid half a pixel or more off its middle.
_NEAR = (1.0, 0.5)
_LENGTHS = (LONGER, 448, 960)

Size = tuple[int, int]


@dataclass(frozen=True)
class _Along:
    """What is known of the maps along one axis: edges of fields, moments, cells added."""

    seen: Mapping[str, Line]
    moments: Mapping[str, Line]
    added: Mapping[str, int]


def settled_lines(
    maps: Maps, sizes: Mapping[str, Size], canvas: Size
) -> tuple[dict[str, tuple[Line, Line, str]], dict[str, str]]:
    """The (x, y) Lines and the method of every layer that has a grid, and why others have none.

    Edges of receptive fields ("support") are checked by moments. Where these see another grid or
    the edges see none, centroids of gradients, which know nothing of either, decide ("moment");
    where moments see none, they are what is left ("gradient").
    """
    along = [_axis(maps, sizes, axis, canvas) for axis in ("x", "y")] if sizes else []
    lines: dict[str, tuple[Line, Line, str]] = {}
    reasons: dict[str, str] = {}
    for layer, (rows, columns) in sizes.items():
        agreed = [
            _agreed(one.seen.get(layer), one.moments.get(layer), cells)
            for one, cells in zip(along, (columns, rows), strict=True)
        ]
        x, y = agreed
        try:
            if x is not None and y is not None:
                lines[layer] = (x, y, "support")
            else:
                lines[layer] = _decided(maps, layer, canvas, along)
        except ProbeError as error:
            reasons[layer] = str(error)
    return lines, reasons


def _axis(maps: Maps, sizes: Mapping[str, Size], axis: str, canvas: Size) -> _Along:
    side, length = (1, canvas[1]) if axis == "x" else (0, canvas[0])
    cells = {layer: size[side] for layer, size in sizes.items()}
    strip = thin_strip(maps, sizes, axis, canvas)
    added = added_cells(strip, cells, length)
    seen = measure_lines(strip, cells, canvas, added)
    found: dict[str, Line] = {}
    # Where a map grows with the canvas, the longest strip shows it as well as its own does.
    groups: dict[tuple[Strip, int], list[str]] = {}
    for layer, one in seen.items():
        longest = one.length
        if layer in added:
            others = [seen[name] for name in seen if name in added]
            longest = max(other.length for other in others if other.strip == one.strip)
        groups.setdefault((one.strip, longest), []).append(layer)
    for (where, longest), here in groups.items():
        found |= _moment_lines(where, longest, here)
    doubtful = [
        layer for layer in cells
        if _agreed(getattr(seen.get(layer), "line", None), found.get(layer), cells[layer]) is None
    ]  # fmt: skip
    thick = Strip(strip.network, strip.channels, axis, canvas[1 - side], maps)
    found |= _of_moments_alone((strip, thick), length, doubtful, added)
    lines = {layer: one.line for layer, one in seen.items()}
    return _Along(lines | _with_strays(strip, length, seen), found, added)


def _with_strays(strip: Strip, length: int, seen: Mapping[str, Seen]) -> dict[str, Line]:
    """The Lines that some cell of the canvas lies off, with how far it does.

    Edges and moments are both read from cells in the middle: a map whose cells are picked by
    number, or rolled around, may be regular there and nowhere else.
    """
    try:
        found = moments(strip, list(seen), length)
    except ProbeError:
        return {}
    lines: dict[str, Line] = {}
    for layer, one in found.items():
        line = seen[layer].line
        apart = _apart(one, line, seen[layer].reach, length)
        if apart > max(abs(line.jump) / 2, _AGREE):
            lines[layer] = replace(line, error=apart)
    return lines


def _apart(found: Moments, line: Line, reach: float, length: int) -> float:
    """How far the places of cells lie off a Line at most, in pixels.

    Only of cells that by the Line and their `reach` see nothing beyond the canvas: padding may
    move the places of others.
    """
    wanted = line.jump * np.arange(len(found.place)) + line.corner
    inside = (wanted >= reach) & (wanted <= length - 1 - reach)
    inside &= np.isfinite(found.place) & (abs(found.mass) > 1e-3 * np.nanmax(abs(found.mass)))
    return float(abs(found.place - wanted)[inside].max(initial=0.0))


def _of_moments_alone(
    strips: tuple[Strip, Strip], length: int, layers: list[str], added: Mapping[str, int]
) -> dict[str, Line]:
    """Lines on the canvas itself, or where fields are too large for it, on two longer ones."""
    found: dict[str, Line] = {}
    for strip in dict.fromkeys(strips):
        left = [layer for layer in layers if layer not in found]
        found |= _moment_lines(strip, length, left) if left else {}
    left = [layer for layer in layers if layer not in found and layer in added]
    before: dict[str, Line] = {}
    for growth in _LENGTHS if left else ():
        here = _moment_lines(strips[0], length + growth, left)
        for layer, line in here.items():
            known = before.get(layer)
            if known is not None and _agreed(known, line, 2) is not None:
                found.setdefault(layer, line)
        before |= here
    return found


def _moment_lines(strip: Strip, length: int, layers: list[str]) -> dict[str, Line]:
    try:
        found = moments(strip, layers, length)
    except ProbeError:
        if len(layers) == 1:
            return {}
        alone = [_moment_lines(strip, length, [layer]) for layer in layers]
        return {layer: line for one in alone for layer, line in one.items()}
    tolerance = max(1e-4, length * _precision(strip))
    lines = {layer: moment_line(one, tolerance) for layer, one in found.items()}
    return {layer: line for layer, line in lines.items() if line is not None}


def _precision(strip: Strip) -> float:
    """Relative error of moments: networks of few digits have no double precision."""
    kind = like(strip.network).dtype
    return 0.0 if kind in (torch.float32, torch.float64) else float(torch.finfo(kind).eps)


def _agreed(seen: Line | None, moment: Line | None, cells: int) -> Line | None:
    """The Line of the edges where the moments know the same jump, with how far they lie apart."""
    if seen is None or moment is None:
        return None
    if abs(seen.jump - moment.jump) * max(cells - 1, 1) > _AGREE:
        return None
    middle = (cells - 1) / 2
    apart = abs((seen.jump - moment.jump) * middle + seen.corner - moment.corner)
    if apart > max(abs(seen.jump), _AGREE):
        return None
    return seen if apart <= _AGREE else replace(seen, error=max(apart, seen.error))


def _decided(maps: Maps, layer: str, canvas: Size, along: list[_Along]) -> tuple[Line, Line, str]:
    """The Lines that centroids of gradients confirm, or else those of the centroids."""
    known = [[one.moments.get(layer), one.seen.get(layer)] for one in along]
    try:
        cells, centres = centroids(maps, layer, canvas)
    except ProbeError:
        # Nothing to ask gradients for (steps, whole numbers): edges alone are all that is known.
        if all(seen is not None for _, seen in known):
            x, y = (replace(seen, error=abs(seen.jump) / 2) for _, seen in known if seen)
            return x, y, "support"
        raise
    chosen: list[Line] = []
    method = "support"
    for axis, lines in enumerate(known):
        # Moments first: they are those of this very canvas, edges may be those of a longer one.
        near = (
            (number, line, deviation(cells, centres, axis, line))
            for number, line in enumerate(lines) if line is not None
        )  # fmt: skip
        number, line, far = next((one for one in near if one[2] <= _NEAR[one[0]]), (0, None, 0.0))
        if line is None:
            break
        chosen.append(replace(line, error=max(far * abs(line.jump), _AGREE)) if number else line)
        method = method if number else "moment"
    if len(chosen) == 2:
        return chosen[0], chosen[1], method
    implied = [implied_jump(one.added.get(layer)) for one in along]
    found = gradient_lines(layer, cells, centres, canvas, (implied[0], implied[1]))
    x, y = (
        _doubted(layer, line, [one for one in lines if one], int(cells[:, axis].max()))
        for axis, (line, lines) in enumerate(zip(found, known, strict=True))
    )
    return x, y, "gradient"


def _doubted(layer: str, line: Line, others: list[Line], last: int) -> Line:
    """A Line of centroids, with how far what else was found lies off it where they have cells.

    Refused where that is a cell: then places are mixed, and nothing tells what is right.
    """
    apart = [
        max(abs((line.jump - one.jump) * cell + line.corner - one.corner) for cell in (0, last))
        for one in others
    ]
    error = max(line.error, min(apart, default=0.0))
    if error > abs(line.jump):
        raise no_grid(layer)
    return replace(line, error=error)
