"""The report's tables for Markdown, all from the content of the report."""

from __future__ import annotations

from collections.abc import Sequence

from ..tables.escaping import one_row
from .contents import Ladder, Treatments
from .text.wording import interval, share

_MARKDOWN = str.maketrans({letter: "\\" + letter for letter in "\\`*_[]<>|#"})


def plain(text: str) -> str:
    """Text in which nothing is Markdown or HTML.

    >>> plain("conv_1 <b>")
    'conv\\\\_1 \\\\<b\\\\>'
    """
    return one_row(text).translate(_MARKDOWN)


def ladder_markdown(ladder: Ladder) -> str:
    """Rungs (rows) by layers as a Markdown table."""
    lines = [_line(["rung", *map(plain, ladder.layers)]), _rule(len(ladder.layers))]
    for row in ladder.rows:
        lines.append(_line([row.title, *map(interval, row.cells)]))
    return "\n".join(lines) + "\n"


def treatments_markdown(one: Treatments) -> str:
    """Layers (rows) by treatments as a Markdown table."""
    lines = [_line(["layer", *one.heads]), _rule(len(one.heads))]
    for layer, cells in one.rows:
        lines.append(_line([plain(layer), *(share(c) if c.known else "–" for c in cells)]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(numbers: int) -> str:
    return "|---|" + "---:|" * numbers
