"""Where a search for the best alignment begins: a grid of angles, scales and places, read coarsely.

The error of reading each compared cell at each node of a grid over the map is tabulated once. A
candidate then costs one look-up per cell, rounded to nodes, so that all angles, scales and places
of either orientation are tried. About those that look best ever closer clouds of others are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..geometry import Frame
from .families import SCALE_LIMIT
from .quadratic import ErrorSurface
from .refinement import Ground

Array = NDArray[np.float64]

# Scales of reading, and a table's nodes a side at most and cells for them: a map that is read
# closely leaves more places, which differ by less.
_RANGES = ((1 / SCALE_LIMIT, 0.4, 56, 48), (0.4, SCALE_LIMIT, 28, 32))
_FINEST = 2  # nodes per cell
_CHUNK = 131_072  # look-ups at a time: they stay in cache
_STEP = 1.75  # nodes between neighbours of the grid, at the cells' root mean square distance
_OCTAVE = 1 / 3  # at most between scales
_ANGLES = 12  # at least
_SLACK = 0.05  # of coverage, which the table's cells know roughly
_RANKED = 600  # candidates that clouds begin at

# Cells of spread, starts kept so far apart, and tries about each.
_CLOUDS = ((2.0, 64, 32), (1.3, 40, 40), (0.8, 24, 40), (0.5, 16, 48), (0.3, 10, 48))
_LOWEST = 300  # of the tries that are looked at again
_CELLS, _MORE = 300, 3  # where fewer are compared, up to three times as many tries
_KEPT, _APART = 5, 0.3  # minima in the end, and how many cells apart


class Table:
    """Errors of some `cells` of the compared ones (V, Y, X) at nodes of a grid over the map.

    Maps of few cells have nodes between cells, those of more than `nodes` a side means over blocks.
    """

    def __init__(self, surface: ErrorSurface, nodes: int, cells: int) -> None:
        thinned = surface.thinned(len(surface.points) // cells | 1)
        self.size = surface.size
        self.density, places = zip(
            *(_nodes(side, nodes) for side in reversed(self.size)), strict=True
        )
        errors = thinned.nodes(*(torch.from_numpy(p) for p in places))
        blocks = [max(1, round(1 / density)) for density in reversed(self.density)]
        errors = F.avg_pool2d(errors[None], blocks, ceil_mode=True, count_include_pad=False)[0]
        self.errors = errors.div_(len(thinned.points)).float().contiguous().cpu()
        self.points = thinned.points.cpu().numpy()
        self.centre = self.points.mean(0)
        self.arms = (self.points - self.centre)[:, :2]
        self.centres = [
            _centres(*axis) for axis in zip(reversed(self.size), self.density, strict=True)
        ]
        rows, columns = self.errors.shape[1:]
        self._first = np.arange(len(self.arms), dtype=np.int32)[:, None] * np.int32(rows * columns)
        squares = np.square(self.arms * self.density).sum(1)
        self.radius = max(1.0, float(np.sqrt(squares.mean())))

    def values(self, linear: Array, least: float) -> NDArray[np.float32]:
        """Errors (K, Y, X) of linear parts (K, 2, 2) in cells at all centres; inf where too few
        cells are read on the map."""
        places = [
            (self.arms @ linear[:, axis].T).T[..., None] + self.centres[axis] for axis in (0, 1)
        ]
        middle = [(cells - 1) / 2 for cells in reversed(self.size)]
        inside = [
            (np.abs(p - m) <= m + 0.5).astype(np.float32)
            for p, m in zip(places, middle, strict=True)
        ]
        enough = inside[1].transpose(0, 2, 1) @ inside[0] >= (least - _SLACK) * len(self.arms)
        result = np.full(enough.shape, np.inf, dtype=np.float32)
        which = np.flatnonzero(enough.any((1, 2)))
        step = max(1, _CHUNK // (len(self.arms) * enough[0].size))
        for first in range(0, len(which), step):
            own = which[first : first + step]
            result[own] = self._read(*(p[own] for p in places))
        result[~enough] = np.inf
        return result

    def _read(self, x: Array, y: Array) -> NDArray[np.float32]:
        """Sums over the cells of the errors at the nodes nearest to columns and rows in cells."""
        rows, columns = self.errors.shape[1:]
        x, y = (
            np.floor(p * density + min(1.0, density) / 2).clip(0, last - 1).astype(np.int32)
            for p, density, last in ((x, self.density[0], columns), (y, self.density[1], rows))
        )
        y *= np.int32(columns)
        y += self._first
        index = torch.from_numpy(y)[..., None] + torch.from_numpy(x)[..., None, :]
        errors = self.errors.flatten().index_select(0, index.flatten())
        return errors.view(index.shape).sum(1).numpy()


def _nodes(cells: int, most: int) -> tuple[float, Array]:
    """Nodes per cell along an axis, and the places in cells at which errors are taken."""
    if cells > most:
        return 1.0 / math.ceil(cells / most), np.arange(float(cells))
    steps = max(1, min(_FINEST, most // 2 // cells))
    return float(steps), np.arange((cells - 1) * steps + 1) / steps


def _centres(cells: int, density: float) -> Array:
    """Places of the middle of the compared cells along one axis, in cells."""
    number = max(1, math.ceil(cells * density / _STEP))
    return (np.arange(number) + 0.5) * cells / number - 0.5


def grid_starts(
    surface: ErrorSurface, frame: Frame, mirrors: tuple[float, ...], least: float
) -> Array:
    """Sampling maps (K, 3, 3) in image coordinates that look best, the best first.

    They are local minima over angle and place of a table's errors, at scales of reading from 1/4
    to where less than `least` of the cells would be read on the map, at most 4.
    """
    found = []
    for low, high, nodes, cells in _RANGES:
        table = Table(surface, nodes, cells)
        for scale in _scales(table.radius, low, high):
            here = _minima(table, frame, scale, mirrors, least)
            if not len(here[0]):
                break
            found.append(here)
    if not found:
        return np.zeros((0, 3, 3))
    values, matrices = (np.concatenate(part) for part in zip(*found, strict=True))
    matrices = matrices[np.argsort(values, kind="stable")[:_RANKED]]
    return np.asarray(frame.matrix @ matrices @ frame.inverse_matrix)


def explore(ground: Ground, starts: Array) -> Array:
    """Members (K, 3, 3) at low errors near the starts, the best first, found by trying many.

    Noise makes minima less than a cell apart, in which descent is caught at once. So clouds of
    members are tried about the best, ever closer ones about ever fewer.
    """
    random = np.random.default_rng(0)
    more = min(_MORE, max(1.0, _CELLS / len(ground.surface.points)))
    size = ground.family.parameters(starts[:1]).shape[1]
    found, errors = _lowest(ground, starts)
    for spread, number, tries in _CLOUDS:
        kept = ground.distinct(found, errors, number=number, apart=spread / 2)
        steps = random.normal(size=(int(tries * more), size)) * spread / math.sqrt(size)
        near, values = _lowest(ground, ground.around(found[kept], steps))
        found = np.concatenate([found[kept], near])
        errors = np.concatenate([errors[kept], values])
    return found[ground.distinct(found, errors, number=_KEPT, apart=_APART)]


def _lowest(ground: Ground, matrices: Array) -> tuple[Array, Array]:
    """The maps of lowest error that read enough, and their errors."""
    errors = ground.rough(matrices)
    best = np.argsort(errors, kind="stable")[:_LOWEST]
    best = best[ground.enough(matrices[best])]
    return matrices[best], errors[best]


def _scales(radius: float, low: float, high: float) -> Array:
    """Scales at which maps are read, closer where the same step moves the cells farther."""
    scales = [low]
    while scales[-1] < high:
        scales.append(min(scales[-1] * 2**_OCTAVE, scales[-1] + _STEP / radius))
    return np.minimum(scales, high)


def _minima(
    table: Table, frame: Frame, scale: float, mirrors: tuple[float, ...], least: float
) -> tuple[Array, Array]:
    """Errors (K) and matrices (K, 3, 3) in cells of the minima at one scale."""
    number = max(_ANGLES, math.ceil(2 * math.pi * scale * table.radius / _STEP))
    angles = np.arange(number) * 2 * math.pi / number
    cos, sin = scale * np.cos(angles), scale * np.sin(angles)
    turned = np.stack([cos, sin, -sin, cos], -1).reshape(-1, 2, 2)
    to_cells = 1 / np.asarray(frame.jump)
    linear = np.concatenate([turned * [m, 1.0] for m in mirrors]) * to_cells[:, None] / to_cells
    values = table.values(linear, least)
    lowest = np.concatenate([_lowest_around(part) for part in np.split(values, len(mirrors))])
    k, y, x = np.nonzero((values <= lowest) & np.isfinite(values))
    matrices = np.tile(np.eye(3), (len(k), 1, 1))
    matrices[:, :2, :2] = linear[k]
    centre = np.stack([table.centres[0][x], table.centres[1][y]], -1)
    matrices[:, :2, 2] = centre - linear[k] @ table.centre[:2]
    return values[k, y, x].astype(float), matrices


def _lowest_around(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The least value (K, Y, X) within a step of angle, which is cyclic, and of place."""
    lowest = np.minimum(values, np.minimum(np.roll(values, 1, 0), np.roll(values, -1, 0)))
    for axis in (1, 2):
        before = np.moveaxis(lowest, axis, 0)
        after = before.copy()
        np.minimum(after[1:], before[:-1], out=after[1:])
        np.minimum(after[:-1], before[1:], out=after[:-1])
        lowest = np.moveaxis(after, 0, axis)
    return lowest
