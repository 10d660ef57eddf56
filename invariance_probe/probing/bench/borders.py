"""How far in the canvas' edge changes a layer's maps: measured by moving the content under it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...alignment import Variance, varying
from ...errors import ProbeError
from ...geometry import Frame, Transform, translation, valid_cells
from ..options import AUTO, Options
from .look import Looker
from .plan import batches, spaced

Array = NDArray[np.float64]

_TOUCHED = 1e-3  # of the variance: squared change at a cell from which on the edge is seen there
_IMAGES, _BATCH = 8, 4
_STEP = 1 / 8  # of the canvas: about the shift that is tried
_SHARE, _LEAST = 0.25, 4  # of the valid cells, and cells, that a margin must leave
_DENOMINATOR = 64  # jumps are fractions such as 32/7


@dataclass(frozen=True)
class Borders:
    """The frames with the margin that cells keep from the edge, and what is to be said of it."""

    frames: dict[str, Frame]
    notes: list[str]


def with_margins(
    frames: Mapping[str, Frame],
    look: Looker,
    indices: Sequence[int],
    moves: Sequence[Transform],
    options: Options,
) -> Borders:
    """Give every frame the margin in pixels that `options.erode` asks for, or that is measured.

    The content of up to 8 images of `indices` is shifted under the edge, along both axes and both
    ways. Far from the edge maps shift with it; nearer they change, because layers see padding
    where there was content, or the content's own end. The margin begins at the first cell, seen
    from the edge, whose mean squared change is below a thousandth of the map's variance (or, where
    no cell is that still, near the smallest change); what interpolation reads across is added.

    A margin that would leave less than a quarter of the valid cells, or fewer than 4, is cut down
    to the largest that does not; the notes say so.

    Convention: pixels of the canvas, measured from its edge to a cell's position.
    """
    if options.erode != AUTO:
        return Borders({n: replace(f, margin=float(options.erode)) for n, f in frames.items()}, [])
    if all(move.is_identity for move in moves):
        return Borders(dict(frames), [])
    canvas = look.inputs.images.canvas
    changes = _measured(frames, look, spaced(indices, _IMAGES), options)
    found, notes = {}, []
    for name, frame in frames.items():
        reach = changes[name].reach()
        wanted = reach and reach + _read_across(frame, options)
        margin = _affordable(frame, moves, canvas, wanted)
        found[name] = replace(frame, margin=margin)
        if margin < wanted:
            notes.append(_cut_down(name, wanted, margin, changes[name].beyond(margin), canvas))
    return Borders(found, notes)


class _Changes:
    """Squared changes of one layer's maps when the content moves by `step` px along one axis."""

    def __init__(self, frame: Frame, canvas: tuple[int, int], step: int, weigh: bool) -> None:
        self.frame, self.canvas, self.step, self.weigh = frame, canvas, step, weigh
        self.sums: dict[tuple[int, int], Tensor] = {}  # (axis, sign): (C, lines)
        self.variance: Variance | None = None
        self.images = 0

    def begin(self, original: Tensor) -> None:
        """Take the maps (N, C, rows, columns) that the next ones are compared with."""
        self.original = original
        if self.variance is None:
            self.variance = Variance(original[0].mean(dim=(1, 2)))
        self.variance.update(original, original.new_ones(original.shape[-2:]))
        self.images += len(original)

    def add(self, axis: int, sign: int, moved: Tensor) -> None:
        """Compare with the maps of the content moved along x (axis 0) or y (axis 1)."""
        low, high, share = self._pairs(axis, sign)
        lines = moved.movedim(3 - axis, 3)
        back = lines[..., high].lerp(lines[..., high + 1], share) if share else lines[..., high]
        change = (back - self.original.movedim(3 - axis, 3)[..., low]).square()
        total = change.sum(2).sum(0, dtype=torch.float64)
        self.sums[axis, sign] = self.sums.get((axis, sign), torch.zeros_like(total)) + total

    def reach(self) -> float:
        """Distance from the edge at which maps begin not to show it; infinite where all do."""
        sides = self._sides()
        still = min((e for side in sides for _, e in side), default=0.0)
        limit = _TOUCHED if still <= _TOUCHED else _TOUCHED + 3 * still
        found = 0.0
        for side in sides:
            first = next((i for i, (_, e) in enumerate(side) if e <= limit), len(side))
            if first:
                found = max(found, side[first][0] if first < len(side) else math.inf)
        return found

    def beyond(self, margin: float) -> float:
        """Mean change at cells that far from the edge or farther, of the variance."""
        left = [e for side in self._sides() for d, e in side if d >= margin]
        return float(np.mean(left)) if left else math.nan

    def _pairs(self, axis: int, sign: int) -> tuple[Tensor, Tensor, float]:
        """Lines of the original, the lines that show the same content, and a share of the next."""
        size = self.frame.size[1 - axis]
        cells = sign * self.step / self.frame.jump[axis]
        whole = round(cells)
        share = 0.0 if abs(cells - whole) < 1e-6 else cells - math.floor(cells)
        whole = math.floor(cells) if share else whole
        lines = torch.arange(size, device=self.original.device)
        low = lines[(lines + whole >= 0) & (lines + whole + bool(share) < size)]
        return low, low + whole, share

    def _sides(self) -> list[list[tuple[float, float]]]:
        """(distance, change) of the lines nearest to each edge, from the edge inwards."""
        if self.variance is None:
            return []
        variance = torch.from_numpy(self.variance.compute()[1])
        alive = varying(variance)
        weights = torch.where(alive, 1 / variance.clamp(min=1e-300), 0.0) if self.weigh else None
        whole = float(alive.sum() if self.weigh else variance.sum())
        sides: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for (axis, sign), sums in self.sums.items():
            low = self._pairs(axis, sign)[0].cpu()
            line = sums.cpu() if weights is None else sums.cpu() * weights[:, None]
            each = self.images * self.frame.size[axis] * whole
            change = line.sum(0) / each if whole > 0 else torch.zeros(len(low))
            place = low * self.frame.jump[axis] + self.frame.start[axis]
            half = self.canvas[1 - axis] / 2
            entering = half + sign * place  # of the original's cell, from where content comes in
            leaving = half - sign * (place + sign * self.step)  # of the moved one's, ahead
            for behind, ahead, value in zip(entering, leaving, change, strict=True):
                side = -sign if behind <= ahead else sign
                nearest = (float(min(behind, ahead)), float(value))
                sides.setdefault((axis, side), []).append(nearest)
        return [sorted(side) for side in sides.values()]


def _measured(
    frames: Mapping[str, Frame], look: Looker, indices: Sequence[int], options: Options
) -> dict[str, _Changes]:
    """Show the images as they are, then shifted by what suits each layer's cells."""
    canvas, inputs = look.inputs.images.canvas, look.inputs
    steps = _steps(frames, canvas)
    weigh = options.weighting == "channel"
    changes = {n: _Changes(f, canvas, steps[n], weigh) for n, f in frames.items()}
    for batch in batches(list(indices), _BATCH):
        source = inputs.load(batch)
        originals = look(inputs.original(source), batch, "borders")
        for name, change in changes.items():
            change.begin(originals[name])
        for step in sorted(set(steps.values())):
            for axis, sign, move in shifts(step):
                moved = look(inputs.transformed(source, move), batch, f"borders: {move}")
                for name, change in changes.items():
                    if steps[name] == step:
                        change.add(axis, sign, moved[name])
    return changes


def shifts(step: int) -> Iterator[tuple[int, int, Transform]]:
    """The axis (0 is x), the sign and the translation of content by `step` px, four ways."""
    for axis in (0, 1):
        for sign in (1, -1):
            yield axis, sign, translation(*((sign * step, 0) if axis == 0 else (0, sign * step)))


def _steps(frames: Mapping[str, Frame], canvas: tuple[int, int]) -> dict[str, int]:
    """Pixels to shift by: a whole number of cells where one of pixels is, for all layers if it can.

    >>> _steps({"a": Frame((2, 2), (0, 0), (9, 9)), "b": Frame((3, 3), (0, 0), (9, 9))}, (60, 60))
    {'a': 12, 'b': 12}
    """
    about, most = max(1, round(min(canvas) * _STEP)), min(canvas) // 2
    own = {name: whole_cells(frame) for name, frame in frames.items()}
    together = math.lcm(*own.values())
    steps = {}
    for name, each in own.items():
        unit = together if together <= most else each
        steps[name] = about if unit > most else -(-about // unit) * unit
    return steps


def whole_cells(frame: Frame) -> int:
    """The least whole number of pixels that is a whole number of cells along both axes."""
    jumps = [Fraction(abs(jump)).limit_denominator(_DENOMINATOR) for jump in frame.jump]
    return math.lcm(*(jump.numerator for jump in jumps))


def _read_across(frame: Frame, options: Options) -> float:
    """Pixels that interpolation of image and map reads beyond a sample, towards the edge."""
    wide = max(map(abs, frame.jump)) if options.map_interpolation == "bicubic" else 0.0
    return wide + (2.0 if options.image_interpolation == "bicubic" else 1.0)


def _affordable(
    frame: Frame, moves: Sequence[Transform], canvas: tuple[int, int], wanted: float
) -> float:
    """The margin wanted, or the largest that leaves enough cells."""
    whole = _left(frame, moves, canvas, 0.0)
    least = min(whole, max(_LEAST, math.ceil(_SHARE * whole)))
    if not wanted or (math.isfinite(wanted) and _left(frame, moves, canvas, wanted) >= least):
        return wanted
    good, bad = 0.0, min(wanted, min(canvas) / 2)
    while bad - good > 0.25:
        middle = (good + bad) / 2
        if _left(frame, moves, canvas, middle) >= least:
            good = middle
        else:
            bad = middle
    return math.floor(good * 4) / 4


def _left(frame: Frame, moves: Sequence[Transform], canvas: tuple[int, int], margin: float) -> int:
    try:
        return int(valid_cells(frame, moves, canvas, erode=margin).sum())
    except ProbeError:
        return 0


def _cut_down(
    name: str, wanted: float, margin: float, share: float, canvas: tuple[int, int]
) -> str:
    """What is to be said where the edge is seen in compared cells."""
    if math.isinf(wanted):
        far, remedy = "everywhere", "images with real content beyond the canvas"
    else:
        more = 2 * math.ceil(wanted - margin)
        far = f"up to {wanted:g} px from it"
        remedy = f"a canvas of {canvas[0] + more}x{canvas[1] + more}"
    part = f" (up to {share:.2g} of their variance)" if share >= _TOUCHED else ""
    return (
        f"borders of {name}: maps show the canvas' edge {far}, and only {margin:g} px could be "
        f"kept from it; the rest is in the numbers{part}; {remedy}, milder transformations or an "
        "earlier layer would lessen that"
    )
