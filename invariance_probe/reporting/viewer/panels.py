"""Panels drawn with Pillow: for animations as files, and for pages without scripts."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ...probing.pictures.values import Bytes, LayerPictures, Pictures
from .labels import turns
from .scales import limits, painted_difference, painted_map

INK, PAPER, FAINT = (34, 34, 34), (255, 255, 255), (205, 205, 205)
_ACROSS = 8  # transformations of the still figure


def font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same text on every machine."""
    return _font(max(1, round(size)))


def panel(
    pictures: Pictures,
    one: LayerPictures,
    name: str,
    image: int,
    channel: int,
    move: int,
    width: int,
) -> Image.Image:
    """One panel as an RGB picture of this width; the parameters are places in the pictures.

    `name` is "image", "input", "original", "moved", "back" or "difference"; cells that are not
    compared are hatched in the difference and pale in the map moved back.
    """  # fmt: skip
    if name in ("image", "input"):
        shown = pictures.originals[image] if name == "image" else pictures.inputs[image, move]
        rows, columns = shown.shape[:2]
        size = (width, max(1, round(width * rows / columns)))
        smooth = Image.Resampling.BICUBIC if columns > 64 else Image.Resampling.NEAREST
        return Image.fromarray(np.broadcast_to(shown, (rows, columns, 3))).resize(size, smooth)
    scale = limits(one, channel)
    height, across = one.extent
    size = (width, max(1, round(width * height / across)))
    if name == "difference":
        picture = painted_difference(_apart(one, image, channel, move), scale)
    else:
        frame = {
            "original": one.original[image, channel],
            "moved": one.moved[image, move, channel],
            "back": one.back[image, move, channel],
        }[name]
        picture = painted_map(frame, scale)
    drawn = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)
    if name in ("back", "difference") and not one.cells.all():
        left_out = Image.fromarray(~one.cells).resize(size, Image.Resampling.NEAREST)
        if name == "difference":
            drawn.paste(_hatching(size), mask=left_out)
        else:
            drawn.paste(Image.blend(drawn, Image.new("RGB", size, PAPER), 0.6), mask=left_out)
    return drawn


def contact_sheet(
    pictures: Pictures, *, layer: int = 0, image: int = 0, channel: int = 0, side: int = 96
) -> Bytes:
    """A still figure (rows, columns, 3): input, map, map moved back and difference, side by side.

    The first column is the original, then come up to eight transformations of the first kind.
    """
    turn, one = turns(pictures)[0], pictures.layers[layer]
    every, most = len(turn.steps), min(len(turn.steps), _ACROSS)
    ends = most if turn.loops else max(1, most - 1)  # a full turn's end is its beginning again
    last = every if turn.loops else every - 1
    steps = [turn.steps[round(k * last / ends)] for k in range(most)]
    rows = {"input": "input", "moved": "its map", "back": "moved back", "difference": "difference"}
    heights = [
        panel(pictures, one, name, image, channel, 0, side).height for name in rows
    ]  # as wide as each other, not always as high
    gap, left, top = 6, 92, 22
    size = (left + (side + gap) * (len(steps) + 1), top + sum(heights) + gap * len(rows))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, text in enumerate(("original", *(step.label for step in steps))):
        at = left + column * (side + gap) + side / 2
        draw.text((at, top / 2), text.partition(" (")[0], INK, font(12), anchor="mm")
    y = top
    for name, height in zip(rows, heights, strict=True):
        draw.text((4, y + height / 2), rows[name], INK, font(12), anchor="lm")
        own = {"input": "image", "moved": "original"}.get(name)
        if own:
            sheet.paste(panel(pictures, one, own, image, channel, 0, side), (left, y))
        for column, step in enumerate(steps, start=1):
            drawn = panel(pictures, one, name, image, channel, step.index, side)
            sheet.paste(drawn, (left + column * (side + gap), y))
        y += height + gap
    return np.asarray(sheet)


def dial(draw: ImageDraw.ImageDraw, box: tuple[float, float, float], degrees: float) -> None:
    """A small clock (centre x, y and radius) whose hand stands at an angle, from the right."""
    x, y, radius = box
    around = (x - radius, y - radius, x + radius, y + radius)
    line = max(1, round(radius / 9))
    draw.ellipse(around, outline=FAINT, width=line)
    draw.line((x, y, x + radius, y), fill=FAINT, width=line)
    turn = math.radians(degrees)
    hand = (x + radius * math.cos(turn), y - radius * math.sin(turn))
    draw.line((x, y, *hand), fill=(213, 94, 0), width=2 * line)


def gauge(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], share: float) -> None:
    """A small ruler (left, middle y, width, height) with a mark at a share of its length."""
    x, y, width, height = box
    line = max(1, round(height / 8))
    draw.line((x, y, x + width, y), fill=FAINT, width=line)
    at = x + share * width
    draw.line((at, y - height / 2, at, y + height / 2), fill=(213, 94, 0), width=2 * line)


def _apart(one: LayerPictures, image: int, channel: int, move: int) -> NDArray[np.float64]:
    step = float(one.high[channel] - one.low[channel]) / 255
    back, original = one.back[image, move, channel], one.original[image, channel]
    return (back.astype(np.float64) - original) * step


@cache
def _hatching(size: tuple[int, int]) -> Image.Image:
    rows, columns = np.indices(size[::-1])
    lines = (rows + columns) % 7 < 1.5
    return Image.fromarray(np.where(lines[..., None], 190, 240).astype(np.uint8).repeat(3, axis=2))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), size)
