"""Grids of panels and the axes along which they are drawn: angles, factors, names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from ...errors import ProbeError
from .fitting import LINE, wrapped
from .style import NARROW, WIDE, checked_width, new_figure

_COLUMNS = 4
_LEAST, _MARGIN = 29.0, 16.0  # millimetres: of a panel, and left of the first one


def panel_columns(
    blocks: Sequence[int],
    width: float | None = None,
    *,
    least: float = _LEAST,
    most: int = _COLUMNS,
    margin: float = _MARGIN,
) -> int:
    """How many panels stand side by side in a figure of `width` millimetres (None: at most).

    As many as have `least` millimetres each beside a `margin` for labels, and no more than the
    same number of rows needs: five panels stand as three and two, not as four and one.

    >>> panel_columns([5]), panel_columns([6], 85), panel_columns([6, 1], 120), panel_columns([1])
    (3, 2, 3, 1)
    """
    asked = checked_width(width)
    fit = most if asked is None else max(1, int((asked - margin) // least))
    fit = max(1, min(fit, most, max(blocks)))
    _, rows = panel_rows(blocks, fit)
    return next(fewer for fewer in range(1, fit + 1) if panel_rows(blocks, fewer)[1] == rows)


def panel_room(columns: int, width: float | None = None, margin: float = _MARGIN) -> float:
    """Millimetres that the title of one of so many panels side by side has."""
    return (_width(columns, width) - margin) / columns - 2.5


def titles(names: Sequence[str], room: float) -> tuple[list[str], float]:
    """Names broken to fit `room` millimetres, and the millimetres that this adds above a panel."""
    broken = [wrapped(name, room) for name in names]
    more = [one.count("\n") - name.count("\n") for one, name in zip(broken, names, strict=True)]
    return broken, LINE * max(more, default=0)


def _width(columns: int, width: float | None) -> float:
    return checked_width(width) or (NARROW if columns == 1 else WIDE)


def panel_rows(blocks: Sequence[int], columns: int = _COLUMNS) -> tuple[int, int]:
    """Columns and rows of a grid in which every block of panels begins a new row."""
    columns = max(1, min(columns, max(blocks)))
    return columns, sum(-(-number // columns) for number in blocks)


def panel_grid(
    blocks: Sequence[int],
    *,
    row_height: float,
    extra: float,
    columns: int | None = None,
    width: float | None = None,
    share_x: bool = False,
    share_y: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A new figure with one panel per entry, `blocks` giving how many each block has.

    `row_height`, `extra` (for a legend) and `width` are millimetres; without a width one panel
    takes a column of the page, several take two. `columns` is by default what `panel_columns`
    says. Panels share their axes where asked; inner tick labels of a shared y axis are left out.
    """
    most = panel_columns(blocks, width) if columns is None else columns
    columns, rows = panel_rows(blocks, most)
    figure = new_figure(_width(columns, width), rows * row_height + extra)
    grid = figure.add_gridspec(rows, columns)
    axes: list[Axes] = []
    row = 0
    for number in blocks:
        for place in range(number):
            first = axes[0] if axes else None
            ax = figure.add_subplot(
                grid[row + place // columns, place % columns],
                sharey=first if share_y else None,
                sharex=first if share_x else None,
            )
            if share_y and place % columns:
                ax.tick_params(labelleft=False)
            axes.append(ax)
        row += -(-number // columns)
    return figure, axes


def leftmost(blocks: Sequence[int], columns: int = _COLUMNS) -> list[bool]:
    """Which panels of `panel_grid` stand at the left."""
    columns, _ = panel_rows(blocks, columns)
    return [place % columns == 0 for number in blocks for place in range(number)]


def lowest(blocks: Sequence[int], columns: int = _COLUMNS) -> list[bool]:
    """Which panels of `panel_grid` have no panel of their block below them."""
    columns, _ = panel_rows(blocks, columns)
    return [place + columns >= number for number in blocks for place in range(number)]


def letter_panels(axes: Sequence[Axes], pad: float = 6.0) -> None:
    """A bold letter before the title of every panel, by which a caption speaks of it.

    `pad` is how many points titles keep from their panels.
    """
    if len(axes) < 2:
        return
    for number, ax in enumerate(axes):
        figure = ax.figure.figure
        at = ScaledTranslation(-4 / 72, pad / 72, figure.dpi_scale_trans)
        figure.text(
            0, 1, _letter(number), transform=ax.transAxes + at, ha="right", va="baseline",
            weight="bold", size=8, in_layout=False,
        )  # fmt: skip


def _letter(number: int) -> str:
    """a to z, then aa, ab and on.

    >>> [_letter(n) for n in (0, 25, 26, 53)]
    ['a', 'z', 'aa', 'bb']
    """
    before = _letter(number // 26 - 1) if number >= 26 else ""
    return before + chr(ord("a") + number % 26)


def label_shared(axes: Sequence[Axes], columns: int, x: str = "", y: str = "") -> None:
    """One label below the lowest row of a block of panels, and one beside its left column.

    They are labels of the panels in the middle, or stand between the two that are nearest to it.
    """
    rows = -(-len(axes) // columns)
    last = len(axes) - (rows - 1) * columns
    if x:
        middle = axes[(rows - 1) * columns + (last - 1) // 2]
        middle.set_xlabel(x, x=0.5 if last % 2 else 1.05, ha="center")
    if y:
        axes[(rows - 1) // 2 * columns].set_ylabel(y, y=0.5 if rows % 2 else -0.1, ha="center")


def by_block(axes: Sequence[Axes], blocks: Sequence[int]) -> list[Sequence[Axes]]:
    """The panels of every block of a `panel_grid`."""
    ends = np.cumsum(blocks)
    return [axes[end - number : end] for end, number in zip(ends, blocks, strict=True)]


def given_axes(axes: Axes | Iterable[Axes], number: int) -> tuple[Figure, list[Axes]]:
    """The caller's axes, checked to be one per panel, and their figure."""
    chosen = [axes] if isinstance(axes, Axes) else list(np.ravel(np.asarray(list(axes))))
    if len(chosen) != number:
        raise ProbeError(f"{number} panels to draw on {len(chosen)} axes; give one axes per panel")
    figure = chosen[0].figure.figure  # the whole figure, also from a sub-figure
    if not isinstance(figure, Figure):
        raise ProbeError("the axes given belong to no figure; make them with figure.subplots()")
    return figure, chosen


def angle_axis(ax: Axes, low: float, high: float, *, which: str = "x", labels: int = 6) -> None:
    """Ticks at round angles (degrees) over [low, high], at most about `labels` of them named."""
    span = max(high - low, 1e-9)
    steps = (1, 2, 5, 10, 15, 30, 45, 90, 180)
    step = next((s for s in steps if span / s <= labels), 180)
    minor = {180: 90, 90: 45, 45: 15, 30: 10, 15: 5, 10: 5}.get(step, step)
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(FixedLocator(_multiples(low, high, step)))
    axis.set_minor_locator(FixedLocator(_multiples(low, high, minor)))
    axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))


def scale_axis(ax: Axes, low: float, high: float, *, which: str = "x") -> None:
    """A logarithmic axis of factors over [low, high] with ticks such as 1/2, 1/√2, 1, √2, 2."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log", base=2)
    octaves = math.log2(high / low)
    if octaves < 0.99:  # too narrow for half octaves: plain factors
        step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / s <= 6), 0.2)
        major = [round(value, 4) for value in _multiples(low, high, step)]
        minor: list[float] = []
    else:
        halves = [2.0 ** (k / 2) for k in _multiples(2 * math.log2(low), 2 * math.log2(high), 1)]
        wholes = [value for value in halves if math.log2(value) % 1 in (0.0, 1.0)]
        major, minor = (halves, []) if octaves <= 2.01 else (wholes, halves)
    axis.set_major_locator(FixedLocator(major))
    axis.set_minor_locator(FixedLocator(minor))
    axis.set_major_formatter(lambda value, _: factor_text(value))
    axis.set_minor_formatter(NullFormatter())


def factor_text(factor: float) -> str:
    """A factor as people write it: powers of √2 as such, others as decimals.

    >>> [factor_text(2 ** (k / 2)) for k in (-3, -2, -1, 0, 1, 2, 3)]
    ['1/(2√2)', '1/2', '1/√2', '1', '√2', '2', '2√2']
    >>> factor_text(0.9)
    '0.9'
    """
    halves = 2 * math.log2(factor)
    number = round(halves)
    if abs(halves - number) > 1e-6:
        return f"{factor:.3g}"
    whole, odd = divmod(abs(number), 2)
    text = (f"{2**whole}" if whole or not odd else "") + ("√2" if odd else "")
    if number >= 0:
        return text
    return f"1/({text})" if whole and odd else f"1/{text}"


def edges(centres: np.ndarray) -> np.ndarray:
    """Boundaries half-way between neighbouring centres, one more than there are centres.

    >>> edges(np.array([0.0, 1.0, 3.0])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    """
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _multiples(low: float, high: float, step: float) -> list[float]:
    # Ends that were given as text, such as 1.41421356 for √2, count as what they stand for.
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [step * index for index in range(first, last + 1)]
