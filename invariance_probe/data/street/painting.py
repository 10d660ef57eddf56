"""Paints generated street numbers: walls, plates, digits, shadows, light and a poor camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ...geometry import rotations_of, scalings_of, translations_of, warp_each
from .glyphs import INK_HEIGHT, Glyphs
from .plans import NO_DIGIT, SIDE, Plan

_LEAST_CONTRAST, _MOST_CONTRAST = 0.28, 0.75
_STRAYS = 0.3  # chance of a stray digit at each of two edges
_PLATES, _STRIPES, _SHADOWS, _COARSE = 0.45, 0.3, 0.3, 0.3


def paint_numbers(plan: Plan, glyphs: Glyphs, generator: torch.Generator) -> Tensor:
    """Return the images (n, 3, 64, 64) uint8 of some plans.

    Everything that a plan leaves open is drawn here: colours, a wall with a gradient, texture and
    perhaps stripes, perhaps a plate, stray digits cut by the edge, perhaps a shadow, uneven light,
    blur, coarse pixels and noise.
    """
    chance = _Chance(len(plan.labels), generator)
    ground = chance.uniform(0.1, 0.9) + chance.normal(3, scale=0.08)
    wall = _wall(ground, chance)
    wall = _over(wall, _stray_digits(plan, glyphs, chance), _against(ground, chance))
    board = _against(ground, chance)
    shown = chance.yes(_PLATES)
    canvas = _over(wall, _plates(plan, chance) * shown, board)
    ink = _against(torch.where(shown > 0, board, ground), chance)
    mask = _number_mask(plan, glyphs)
    # Light from above and left: the shadow falls one pixel to the right and down.
    shadow = functional.pad(mask, (1, 0, 1, 0))[..., :SIDE, :SIDE] * chance.yes(_SHADOWS)
    canvas = _over(canvas * (1 - 0.5 * shadow), mask, ink)
    return _photograph(canvas, chance)


class _Chance:
    """Random values for n images, shaped to go with (n, C, H, W)."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, channels: int = 1) -> Tensor:
        drawn = torch.rand((self.count, channels, 1, 1), generator=self.generator)
        return low + (high - low) * drawn

    def normal(self, channels: int, rows: int = 1, columns: int = 1, scale: float = 1.0) -> Tensor:
        shape = (self.count, channels, rows, columns)
        return scale * torch.randn(shape, generator=self.generator)

    def yes(self, share: float) -> Tensor:
        return (self.uniform() < share).float()


def _over(below: Tensor, mask: Tensor, colour: Tensor) -> Tensor:
    return torch.lerp(below, colour.expand_as(below), mask.expand_as(below))


def _against(ground: Tensor, chance: _Chance) -> Tensor:
    """Return colours whose brightness differs visibly from the given ones."""
    light = ground.mean(1, keepdim=True).clamp(0, 1)
    step = chance.uniform(_LEAST_CONTRAST, _MOST_CONTRAST) * (2 * chance.yes(0.5) - 1)
    away = light + step
    # Where black or white lies in the way, the step goes to the other side.
    away = torch.where((away < 0) | (away > 1), light - step, away)
    return (away + chance.normal(3, scale=0.06)).clamp(0, 1)


def _wall(ground: Tensor, chance: _Chance) -> Tensor:
    y, x = torch.meshgrid(_steps(), _steps(), indexing="ij")
    turn = chance.uniform(0, 2 * math.pi)
    along = torch.cos(turn) * x + torch.sin(turn) * y
    wall = ground + along * chance.normal(3, scale=0.08)
    for cells, strength in ((5, 0.12), (20, 0.06)):
        grain = chance.normal(1, cells, cells) * chance.uniform(0, strength)
        smooth = functional.interpolate(grain, (SIDE, SIDE), mode="bilinear", align_corners=False)
        wall = wall + smooth
    # Planks, bricks' courses, shutters: stripes that are nearly level or upright.
    tilt = chance.uniform(-0.1, 0.1) + chance.yes(0.5) * (math.pi / 2)
    across = torch.cos(tilt) * y + torch.sin(tilt) * x
    wave = torch.sin(across * chance.uniform(5, 25) + chance.uniform(0, 2 * math.pi))
    return wall + wave * chance.uniform(0.03, 0.12) * chance.yes(_STRIPES)


def _number_mask(plan: Plan, glyphs: Glyphs) -> Tensor:
    image, position = torch.nonzero(plan.labels != NO_DIGIT, as_tuple=True)
    own = translations_of(plan.places[image, position]) @ rotations_of(plan.tilts[image, position])
    cells = glyphs.cells[plan.glyphs[image, position]]
    drawn = warp_each(cells, plan.poses[image] @ own, (SIDE, SIDE))
    mask = torch.zeros((len(plan.labels), 1, SIDE, SIDE)).index_add_(0, image, drawn)
    return mask.clamp_(0, 1)


def _stray_digits(plan: Plan, glyphs: Glyphs, chance: _Chance) -> Tensor:
    """Return the mask of digits whose centres lie on or beyond an edge: never more than half."""
    count = chance.count
    mask = torch.zeros((count, 1, SIDE, SIDE))
    sizes = plan.poses[:, :2, :2].det().abs().sqrt()
    for _ in range(2):
        there = torch.nonzero(chance.yes(_STRAYS).flatten())[:, 0]
        which = torch.randint(0, len(glyphs.cells), (count,), generator=chance.generator)
        beyond = chance.uniform(SIDE / 2, SIDE / 2 + 5).flatten().double()
        along = chance.uniform(-SIDE / 2, SIDE / 2).flatten().double()
        quarter = torch.randint(0, 4, (count,), generator=chance.generator) * 90.0
        place = rotations_of(quarter)[:, :2, :2] @ torch.stack([beyond, along], 1)[..., None]
        turn = rotations_of(chance.uniform(-15, 15).flatten())
        size = scalings_of(sizes * chance.uniform(0.7, 1.2).flatten())
        pose = translations_of(place[..., 0]) @ turn @ size
        drawn = warp_each(glyphs.cells[which[there]], pose[there], (SIDE, SIDE))
        mask[there] = torch.maximum(mask[there], drawn)
    return mask


def _plates(plan: Plan, chance: _Chance) -> Tensor:
    """Return the mask of a rectangle, lying as the number does, with a margin around it."""
    y, x = torch.meshgrid(_centres(), _centres(), indexing="ij")
    inverse = torch.linalg.inv(plan.poses).float()[:, :, :, None, None]
    across = inverse[:, 0, 0] * x + inverse[:, 0, 1] * y + inverse[:, 0, 2]
    down = inverse[:, 1, 0] * x + inverse[:, 1, 1] * y + inverse[:, 1, 2]
    width = plan.widths.float().view(-1, 1, 1) / 2 + chance.uniform(3, 9)[:, 0]
    height = INK_HEIGHT / 2 + chance.uniform(3, 9)[:, 0]
    inside = torch.minimum(width - across.abs(), height - down.abs())
    return (inside * 2 + 0.5).clamp(0, 1)[:, None]


def _photograph(canvas: Tensor, chance: _Chance) -> Tensor:
    y, x = torch.meshgrid(_steps(), _steps(), indexing="ij")
    light = 1 + x * chance.normal(1, scale=0.1) + y * chance.normal(1, scale=0.1)
    canvas = canvas * (light * chance.uniform(0.75, 1.0))
    canvas = _blurred(canvas, chance.uniform(0, 1 / 3))
    coarse = functional.interpolate(
        functional.avg_pool2d(canvas, 2), (SIDE, SIDE), mode="bilinear", align_corners=False
    )
    canvas = torch.where(chance.yes(_COARSE) > 0, coarse, canvas)
    noise = chance.normal(3, SIDE, SIDE).mul_(chance.uniform(0, 0.05))
    return noise.add_(canvas).clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _blurred(canvas: Tensor, side: Tensor) -> Tensor:
    """Return images averaged with their neighbours, whose weight is `side` along each axis."""
    for axis in (2, 3):
        padded = torch.cat([canvas.narrow(axis, 0, 1), canvas, canvas.narrow(axis, -1, 1)], axis)
        near = padded.narrow(axis, 0, SIDE) + padded.narrow(axis, 2, SIDE)
        canvas = torch.addcmul(canvas * (1 - 2 * side), near, side)
    return canvas


def _centres() -> Tensor:
    return torch.arange(SIDE, dtype=torch.float32) - (SIDE - 1) / 2


def _steps() -> Tensor:
    """Pixel centres along one axis, the canvas being -1 ... 1."""
    return _centres() / (SIDE / 2)
