"""How fine a grid suits each layer: where maps move with the image at all, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..._memory import bytes_text
from ...alignment import Variance, squared_errors
from ...errors import ProbeError
from ...geometry import Frame, Transform, identity, valid_cells
from ..ladder.compared import Compared
from ..options import AUTO, Options
from .borders import shifts, whole_cells
from .dense import Stitching
from .look import Looker
from .memory import free_memory
from .plan import spaced

FLOOR = 0.05
"""The resampling floor that `dense="auto"` aims at, a fraction of the variance."""

_FINEST, _PASSES = 8, 64  # of "auto": a layer's grid, and the passes of one image for all grids
_STILL = 0.01  # of the variance: squared change from which on maps do not move with the image
_IMAGES, _LARGE = 4, 2  # shown, and shown on a large canvas
_MOVES = 8  # transformations over which a floor is averaged
_COPIES = 4  # of a batch's maps on their grids: moved, original, and warps of them


@dataclass(frozen=True)
class Density:
    """How many times finer the grid of each layer is that is moved back, and what is to be said.

    `unlike` is by how much maps change, as a fraction of their variance, that should only move:
    with the image by whole cells, at the compared cells; None where that cannot be told.
    """

    factors: dict[str, int] = field(default_factory=dict)
    unlike: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def with_density(
    frames: Mapping[str, Frame],
    look: Looker,
    indices: Sequence[int],
    moves: Sequence[Transform],
    options: Options,
) -> Density:
    """The grids that `options.dense` asks for, or those that "auto" finds to be worth their cost.

    Between cells a layer's map is that of the image shifted, which is so only where maps move
    with the image. That is measured on up to 4 images of `indices`, shifted by whole cells. A
    change at the compared cells above a hundredth of the variance is looked at again on a canvas
    three times as large: if it is gone in its middle, it came from the edge, and the notes say so;
    otherwise the layer mixes places (attention, global statistics, positions).

    "auto" doubles the grid of the layer with the largest resampling floor, the mean over up to 8
    transformations, until all are at 0.05 or below, 8 times finer, or an image would pass the
    network more than 64 times a transformation.

    Convention: frames carry the margins of the run; shifts in pixels.

    Raises ProbeError for layers that mix places, unless with "auto", which leaves them as they
    are, and for maps that do not fit into memory.
    """
    if options.dense == 1:
        return Density()
    measure = _Measure(frames, look, spaced(indices, _IMAGES), moves, options)
    unlike = {name: measure.unlike(name) for name in frames}
    judged = {name: _judged(measure, name, share) for name, share in unlike.items()}
    mixed = {name: reason for name, (reason, _) in judged.items() if reason}
    notes = [f"dense of {name}: {note}" for name, (_, note) in judged.items() if note]
    if options.dense != AUTO:
        for reason in mixed.values():
            raise ProbeError(f"dense={options.dense}: {reason}; leave it out, or give dense=1")
        factors = {name: int(options.dense) for name in frames}
        measure.check_memory(factors)
        return Density(factors, unlike, notes)
    factors, told = _affordable(measure, [name for name in frames if name not in mixed])
    notes += [f"dense of {name}: {reason}; its own grid is kept" for name, reason in mixed.items()]
    return Density({name: factors.get(name, 1) for name in frames}, unlike, [*notes, *told])


def _judged(measure: _Measure, name: str, share: float | None) -> tuple[str, str]:
    """Why nothing is known of a layer between its cells, or what is to be said of that."""
    if share is None:
        return "", (
            "no compared cell has another beside it, so that it could not be seen whether maps "
            "move with the image"
        )
    if share <= _STILL:
        return "", ""
    changed = f"shifted by whole cells they change by {share:.2g} of their variance"
    away = measure.away(name)
    if away is not None and away <= _STILL:
        return "", (
            f"maps move with the image, but for what its edge does to them: {changed} at the "
            "compared cells, and points between cells are no truer than that"
        )
    where = "" if away is None else ", far from the edge too"
    return (
        f"the maps of {name!r} do not move with the image: {changed}{where} (attention, global "
        "statistics or positions do that), and nothing is known between cells"
    ), ""


def _affordable(measure: _Measure, names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """The grids whose floors are low enough, or as fine as they may become."""
    factors = dict.fromkeys(names, 1)
    floors = {name: measure.floor(name, 1) for name in names}
    stuck: dict[str, str] = {}
    while high := [n for n in names if floors[n] > FLOOR and n not in stuck]:
        name = max(high, key=lambda n: floors[n])
        finer = {**factors, name: 2 * factors[name]}
        passes = Stitching(measure.frames, finer).passes
        if finer[name] > _FINEST:
            stuck[name] = "auto makes none finer"
        elif passes > _PASSES:
            stuck[name] = f"a finer one would take {passes} passes of each image"
        elif measure.bytes_of(finer) > measure.memory():
            stuck[name] = "a finer one would not fit into memory"
        else:
            factors, floors[name] = finer, measure.floor(name, finer[name])
    return factors, [
        f"dense of {name}: the resampling floor is {floors[name]:.2g} with a grid {factors[name]} "
        f"times finer, above {FLOOR:g}; {why}"
        for name, why in stuck.items()
    ]


class _Measure:
    """A few images, shown shifted."""

    def __init__(
        self,
        frames: Mapping[str, Frame],
        look: Looker,
        indices: Sequence[int],
        moves: Sequence[Transform],
        options: Options,
    ) -> None:
        self.frames, self.look, self.indices, self.options = frames, look, indices, options
        self.canvas = look.inputs.images.canvas
        self.moves = spaced([move for move in moves if not move.is_identity], _MOVES)
        self.cells = {n: valid_cells(f, moves, self.canvas) for n, f in frames.items()}
        self.source = look.inputs.load(indices)
        self.own = self._shown(identity(), list(frames))
        self.variance = {name: self._variance(name) for name in frames}

    def unlike(self, name: str) -> float | None:
        """Mean squared change where maps should only move, of the variance."""
        frame, cells = self.frames[name], torch.from_numpy(self.cells[name])
        step, total, number = whole_cells(frame), 0.0, 0
        for axis, sign, move in shifts(step):
            by = sign * round(step / frame.jump[axis])
            moved = self._shown(move, [name])[name]
            there, here = _overlap(moved, by, axis), _overlap(self.own[name], -by, axis)
            seen = _overlap(cells, -by, axis)
            total += float(squared_errors(there, here, seen.to(here)).sum())
            number += int(seen.sum())
        return self._share(name, total, number * len(self.indices)) if number else None

    def away(self, name: str) -> float | None:
        """The same in the middle of a canvas three times as large; None where it cannot be shown.

        Of convolutions only the largest see the edge from there. Such a canvas takes nine times
        as long: fewer images are shown, one way along each axis.
        """
        frame, step = self.frames[name], whole_cells(self.frames[name])
        rows, columns = (side + 2 * step * math.ceil(side / step) for side in self.canvas)
        size = (rows, columns)
        try:
            own = self._large(identity(), name, size)
            total, number = 0.0, 0
            for axis, sign, move in shifts(step):
                if sign < 0:
                    continue
                by = round(step / frame.jump[axis])
                moved = self._large(move, name, size)
                there, here = _middle(moved, by, axis), _middle(own, 0, axis)
                total += float((there - here).double().square().sum())
                number += here.shape[0] * here.shape[2] * here.shape[3]
        except ProbeError:  # a network of one size
            return None
        return self._share(name, total, number)

    def floor(self, name: str, factor: int) -> float:
        """The resampling floor on a grid that many times finer, a mean over transformations."""
        if not self.moves:
            return 0.0
        maps = Stitching(self.frames, {name: factor})({name: self.own[name]}, self._shown)[name]
        compared = Compared(
            self.frames[name], self.cells[name], self.options.map_interpolation, factor
        )
        target = compared.take(self.own[name])
        errors = [squared_errors(compared.there_and_back(maps, h), target) for h in self.moves]
        number = compared.number * len(self.indices)
        return self._share(name, float(torch.stack(errors).sum(1).mean()), number)

    def bytes_of(self, factors: Mapping[str, int]) -> int:
        """What a batch of maps on these grids takes."""
        each = sum(
            self.own[name][:1].numel() * self.own[name].element_size() * factor**2
            for name, factor in factors.items()
        )
        return _COPIES * int(self.options.batch_size) * each

    def memory(self) -> int:
        """What maps may take."""
        return free_memory(self.look.home)

    def check_memory(self, factors: Mapping[str, int]) -> None:
        """Raise ProbeError where a batch of maps would not fit."""
        need, free = self.bytes_of(factors), self.memory()
        if need > free:
            raise ProbeError(
                f"dense={self.options.dense}: the maps of {self.options.batch_size} images take "
                f"{bytes_text(need)}, {bytes_text(free)} are free; give a smaller dense or "
                "batch_size, or fewer layers"
            )

    def _shown(self, move: Transform, layers: list[str]) -> dict[str, Tensor]:
        canvas = self.look.inputs.transformed(self.source, move)
        return self.look(canvas, self.indices, f"dense: {move}", layers)

    def _large(self, move: Transform, name: str, size: tuple[int, int]) -> Tensor:
        canvas = self.look.inputs.transformed(self.source[:_LARGE], move, size)
        return self.look(canvas, self.indices[:_LARGE], f"dense: {move}", [name])[name]

    def _share(self, name: str, total: float, number: int) -> float:
        """A sum over so many cells of images as a fraction of the variance there."""
        if self.variance[name] <= 0:  # a constant map moves in every way
            return 0.0
        own = self.variance[name] / (len(self.indices) * int(self.cells[name].sum()))
        return total / number / own

    def _variance(self, name: str) -> float:
        """Sum of squares about the channel means over the compared cells."""
        maps = self.own[name]
        variance = Variance(maps[0].mean(dim=(1, 2)))
        variance.update(maps, torch.from_numpy(self.cells[name]).to(maps))
        return float(variance.compute()[0].sum())


def _overlap(maps: Tensor, by: int, axis: int) -> Tensor:
    """The part of maps (..., rows, columns) that is still on them when moved back by `by` cells."""
    lines = maps.movedim(-1 - axis, -1)
    kept = lines[..., by:] if by >= 0 else lines[..., :by]
    return kept.movedim(-1, -1 - axis)


def _middle(maps: Tensor, by: int, axis: int) -> Tensor:
    """The middle eighth of the rows and columns, read `by` cells further along an axis."""
    parts = []
    for along, number in ((1, maps.shape[-2]), (0, maps.shape[-1])):
        first, last = (7 * number) // 16, -(-9 * number // 16)
        further = by if along == axis else 0
        parts.append(slice(first + further, last + further))
    return maps[..., parts[0], parts[1]]
