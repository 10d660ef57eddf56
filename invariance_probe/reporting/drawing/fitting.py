"""Words that fit a width: measured, broken over lines, and legends of as many columns as fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.textpath import text_to_path

LINE = 3.4
"""Millimetres of a line of text at 8 points."""

_ROW = 4.0  # millimetres of a row of a legend at 7 points
_HANDLE, _GAP, _BORDER = 2.8, 2.0, 0.8  # of a legend, in letters' heights
_POINT = 25.4 / 72


@lru_cache(maxsize=4096)
def _points(line: str, size: float, family: tuple[str, ...]) -> float:
    properties = FontProperties(family=list(family), size=size)
    return float(text_to_path.get_text_width_height_descent(line, properties, False)[0])


def text_width(text: str, size: float = 8.0) -> float:
    """Millimetres that the longest line of a text takes at so many points."""
    family = tuple(rcParams["font.family"])
    return _POINT * max(_points(line, size, family) for line in text.split("\n"))


def wrapped(text: str, room: float, size: float = 8.0) -> str:
    """A name on as few lines of `room` millimetres as it needs, broken after dots and slashes.

    A part that is too long by itself is cut.

    >>> print(wrapped("features.denseblock1.denselayer6.conv2", 36))
    features.denseblock1.
    denselayer6.conv2
    """
    return "\n".join(_broken(line, room, size) for line in text.split("\n"))


def _broken(text: str, room: float, size: float) -> str:
    if text_width(text, size) <= room:
        return text
    lines = [""]
    for part in re.findall(r"[^./_\s-]*[./_\s-]+|[^./_\s-]+", text):
        for piece in _pieces(part, room, size):
            if lines[-1] and text_width((lines[-1] + piece).rstrip(), size) > room:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def _pieces(part: str, room: float, size: float) -> list[str]:
    """A part of a name, cut where it alone is wider than the room."""
    if text_width(part.rstrip(), size) <= room:
        return [part]
    pieces = [""]
    for letter in part:
        if len(pieces[-1]) >= 4 and text_width(pieces[-1] + letter, size) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def legend_columns(labels: Sequence[str], width: float, most: int, size: float = 7.0) -> int:
    """How many columns, at most `most`, a legend of a figure of `width` millimetres has room for.

    >>> legend_columns(["unaligned", "inverse", "best"], 85, 4)
    3
    """
    letter = size * _POINT
    for columns in range(min(most, len(labels)), 1, -1):
        # Filled column by column, the first ones taking one more where they cannot all be equal.
        whole, more = divmod(len(labels), columns)
        sizes = [whole + (place < more) for place in range(columns)]
        starts = [sum(sizes[:place]) for place in range(columns)]
        widest = sum(
            max(text_width(label, size) for label in labels[start : start + number])
            for start, number in zip(starts, sizes, strict=True)
        )
        gaps = columns * _HANDLE + (columns - 1) * _GAP + _BORDER
        if widest + letter * gaps <= width - 2.5:
            return columns
    return 1


def legend_below(
    figure: Figure,
    handles: Sequence[Artist],
    *,
    most: int,
    notes: Sequence[str] = (),
    **look: object,
) -> Legend:
    """A legend below the panels, in at most `most` columns; the figure grows by its height.

    Labels too long for the figure are broken over lines; `notes` are lines above the entries.
    """
    width = figure.get_figwidth() * 25.4
    room = width - 2 - 7 * _POINT * (_HANDLE + _BORDER)
    labels = [wrapped(str(handle.get_label()), room, 7.0) for handle in handles]
    columns = legend_columns(labels, width, most)
    rows = -(-len(labels) // columns)
    tall = max(label.count("\n") for label in labels) * rows
    height = _ROW * (rows + len(notes)) + 0.75 * LINE * tall
    figure.set_figheight(figure.get_figheight() + height / 25.4)
    return figure.legend(
        handles=list(handles), labels=labels, loc="outside lower center", borderaxespad=0.2,
        ncols=columns, title="\n".join(notes) or None, title_fontsize=7, **look,
    )  # fmt: skip
