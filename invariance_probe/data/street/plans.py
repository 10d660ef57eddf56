"""What each generated street number shows, and how it lies in its image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...geometry import rotations_of, scalings_of, shears_of, translations_of
from .glyphs import INK_HEIGHT, Glyphs

SIDE = 64
LONGEST = 5
NO_DIGIT = 10

_LENGTHS = (0.1, 0.25, 0.3, 0.2, 0.15)  # share of numbers with 1 ... 5 digits
_LEAST_SPAN = (0.2, 0.35, 0.5, 0.65, 0.75)  # width over the image's, by number of digits
_MOST_SPAN = 0.92
_HEIGHTS = (22.0, 46.0)  # px, the most a digit may have
_TURN, _SLANT, _STRETCH = 15.0, 0.2, (0.75, 1.15)
_HANDWRITTEN = 0.3
_RIM = 1.0  # px between a number and the edge of the image


@dataclass(frozen=True, eq=False)
class Plan:
    """Labels and geometry of n street numbers.

    Attributes
    ----------
    labels : (n, 5) int64, 10 where no digit is.
    glyphs : (n, 5) int64, the cell of each digit.
    places : (n, 5, 2) float64, centre of each digit in the upright number, in px.
    tilts : (n, 5) float64, rotation of each digit in the upright number, in degrees.
    widths : (n,) float64, width of the upright number in px; its digits are 24 px high.
    poses : (n, 3, 3) float64, takes the upright number, centred at the origin, to the image.
    handwritten : (n,) bool.

    Convention: image coordinates (origin at the centre, px, x right, y down), content-moving.
    """

    labels: Tensor
    glyphs: Tensor
    places: Tensor
    tilts: Tensor
    widths: Tensor
    poses: Tensor
    handwritten: Tensor


def plan_numbers(count: int, glyphs: Glyphs, generator: torch.Generator) -> Plan:
    """Return the plans of some street numbers.

    Numbers have 1 to 5 digits and no leading zero, in one font or each digit in another hand.
    Rotation up to 15 degrees, slant up to 0.2, width over height changed by 0.75 to 1.15; the size
    is such that the whole number lies in the image, and the place anywhere where it does.
    """

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * drawn

    shares = torch.tensor(_LENGTHS, dtype=torch.float64)
    lengths = torch.multinomial(shares, count, replacement=True, generator=generator) + 1
    digits = torch.randint(0, 10, (count, LONGEST), generator=generator)
    digits[:, 0] = torch.randint(1, 10, (count,), generator=generator)
    there = torch.arange(LONGEST) < lengths[:, None]
    fonts = torch.randint(0, max(1, len(glyphs.fonts)), (count,), generator=generator)
    handwritten = uniform(count) < (_HANDWRITTEN if len(glyphs.fonts) else 1.0)
    hands = torch.rand((count, LONGEST), generator=generator)
    written = torch.zeros_like(digits)
    for digit, cells in enumerate(glyphs.written):
        which = (hands * len(cells)).long().clamp(max=len(cells) - 1)
        written = torch.where(digits == digit, cells[which], written)
    cells = written
    if len(glyphs.fonts):
        cells = torch.where(handwritten[:, None], written, glyphs.fonts[fonts[:, None], digits])

    widths = glyphs.widths[cells].double() * there
    gaps = uniform(count, 1, low=2.0, high=6.0) * there
    ends = (widths + gaps).cumsum(1)
    total = ends[:, -1] - gaps[:, 0]
    x = ends - gaps - widths / 2 - total[:, None] / 2
    y = uniform(count, LONGEST, low=-1.0, high=1.0)
    tilts = uniform(count, LONGEST, low=-4.0, high=4.0)
    return Plan(
        labels=torch.where(there, digits, NO_DIGIT),
        glyphs=cells,
        places=torch.stack([x, y], -1),
        tilts=tilts,
        widths=total,
        poses=_poses(total, lengths, uniform(count, 8)),
        handwritten=handwritten,
    )


def _poses(widths: Tensor, lengths: Tensor, chance: Tensor) -> Tensor:
    """Return poses under which the upright boxes lie within the image; `chance` is (n, 8)."""
    turn = rotations_of((2 * chance[:, 0] - 1) * _TURN)
    slant = shears_of((2 * chance[:, 1] - 1) * _SLANT)
    stretch = _STRETCH[0] + (_STRETCH[1] - _STRETCH[0]) * chance[:, 2]
    ones = torch.ones_like(stretch)
    shape = turn @ slant @ scalings_of(torch.stack([stretch, ones], 1))

    least = torch.tensor(_LEAST_SPAN, dtype=torch.float64)[lengths - 1]
    span = (least + (_MOST_SPAN - least) * chance[:, 3]) * SIDE / (widths * stretch)
    height = (_HEIGHTS[0] + (_HEIGHTS[1] - _HEIGHTS[0]) * chance[:, 4]) / INK_HEIGHT
    half = torch.stack([widths / 2, torch.full_like(widths, INK_HEIGHT / 2)], 1)
    # Half the extent of the box around the moved box, per axis.
    reach = (shape[:, :2, :2].abs() @ half[..., None])[..., 0]
    room = SIDE / 2 - _RIM
    size = torch.minimum(torch.minimum(span, height), (room / reach).amin(1))
    free = room - reach * size[:, None]
    shift = (2 * chance[:, 5:7] - 1) * free
    return translations_of(shift) @ shape @ scalings_of(size)
