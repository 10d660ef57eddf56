"""Words of the viewer: transformations in order, with what a slider shows and a voice reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...geometry import Transform
from ...probing.pictures.values import SHOWN_RUNGS, Pictures
from ...probing.rungs import rung_of
from ..select import closes

PANELS = {
    "input": "input",
    "moved": "its map",
    "back": "map moved back",
    "image": "original",
    "original": "original's map",
    "difference": "difference",
}
"""What the panels are called, in the order of reading: two rows of three."""

RUNGS = {rung: rung_of(rung).label for rung in SHOWN_RUNGS}


@dataclass(frozen=True)
class Step:
    """One position of the slider: which transformation, its label, and how it is read out.

    `value` is the angle in degrees or the factor, of other kinds the first parameter.
    """

    index: int
    value: float
    label: str
    spoken: str


@dataclass(frozen=True)
class Turn:
    """Transformations of one kind in rising order; `loops` where the last meets the first."""

    kind: str
    steps: tuple[Step, ...]
    loops: bool

    @property
    def start(self) -> int:
        """The step to begin with: well away from the identity, which shows nothing."""
        return (2 * len(self.steps)) // 3 if len(self.steps) > 1 else 0


def turns(pictures: Pictures) -> list[Turn]:
    """The transformations by kind, each kind in rising order of angle or factor."""
    moves = pictures.moves
    found = []
    for kind in dict.fromkeys(move.kind for move in moves):
        own = [index for index, move in enumerate(moves) if move.kind == kind]
        if all(_numeric(moves[index]) for index in own):
            own.sort(key=lambda index: moves[index].parameter)
        angles = np.array([moves[index].parameter for index in own])
        loops = kind == "rotation" and closes(angles)
        found.append(Turn(kind, tuple(_step(index, moves[index]) for index in own), loops))
    return found


def label(move: Transform) -> str:
    """A transformation in a few characters.

    >>> from invariance_probe.geometry import rotation, scaling
    >>> label(rotation(-45)), label(scaling(2)), label(scaling(2, 1))
    ('−45°', '× 2', 'scaling:2,1')
    """
    if move.kind == "rotation":
        return f"{move.parameter:g}°".replace("-", "−")
    if move.kind == "scaling" and _numeric(move):
        return f"× {move.parameter:.3g}"
    return move.text


def _step(index: int, move: Transform) -> Step:
    spoken = label(move)
    if move.kind == "rotation" and move.parameter:
        way = "counter-clockwise" if move.parameter > 0 else "clockwise"
        spoken = f"{abs(move.parameter):g} degrees {way}"
    elif move.kind == "scaling" and _numeric(move):
        octaves = f"{round(math.log2(move.parameter), 2) + 0.0:g}".replace("-", "−")
        return Step(
            index, move.parameter, f"{label(move)} (log₂ {octaves})", f"factor {move.parameter:.3g}"
        )
    return Step(index, move.parameter, label(move), spoken)


def _numeric(move: Transform) -> bool:
    return move.kind in ("rotation", "scaling") and len(move.parameters) == 1
