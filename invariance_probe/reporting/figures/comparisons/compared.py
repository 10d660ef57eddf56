"""Pairs of panels, values above and paired differences below, that comparisons are drawn on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from ....errors import ProbeError
from ....probing.comparison.compared import Comparison
from ....probing.rungs import CEILING, FLOOR, GREY, Style
from ...drawing.fitting import wrapped
from ...drawing.panels import angle_axis, letter_panels, scale_axis
from ...drawing.style import NARROW, SHADE, WIDE, checked_width, new_figure
from ...select import CURVES, around, known, unrolled
from ..residuals import XLABELS, move_names, turned

Columns = tuple[str, str, str]
"""Columns of a value, of its lower and of its upper end."""

VALUE: Columns = ("value", "low", "high")
DIFFERENCE: Columns = ("difference", "difference_low", "difference_high")

_HEIGHT, _MARGIN = 56.0, 18.0  # of a pair of panels; left of the first one, in millimetres
_LINE = 3.6  # millimetres of a line of text
_LONG_NAME = 12  # letters of a baseline that still fit an axis label


@dataclass(frozen=True)
class Block:
    """The transformations of one kind and the layers to show."""

    kind: str
    layers: tuple[str, ...]
    moves: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def numeric(self) -> bool:
        """Whether one number, an angle or a uniform factor, orders the transformations."""
        return self.kind in CURVES and not any("," in move for move in self.moves)

    @property
    def names(self) -> list[str]:
        """The parameters as tick labels."""
        return move_names(pd.DataFrame({"transform": list(self.moves)}))


Pairs = list[tuple[tuple[str, Block], tuple[Axes, Axes]]]
"""(layer, block) and the panels above and below that show it."""


def comparison_kinds(comparison: Comparison) -> list[str]:
    """Kinds of transformations compared; the identity only if there is nothing else."""
    kinds = list(dict.fromkeys(comparison.table["kind"]))
    return [kind for kind in kinds if kind != "identity"] or kinds


def choose_blocks(
    comparison: Comparison,
    kind: str | None,
    layers: str | Iterable[str] | None,
    *,
    means: bool = False,
) -> list[Block]:
    """Every kind or the one asked for, with its transformations or with their mean."""
    asked = [layers] if isinstance(layers, str) else layers
    chosen = tuple(
        known("layer", one, comparison.layers, "this comparison")
        for one in asked or comparison.layers
    )
    there = comparison_kinds(comparison)
    kinds = there if kind is None else [known("kind", kind, there, "this comparison")]
    blocks = []
    for one in kinds:
        rows = comparison.means() if means else comparison.table[comparison.table["transforms"] < 2]
        rows = rows[rows["kind"] == one].drop_duplicates("transform")
        if one in CURVES and not rows["transform"].str.contains(",").any():
            rows = rows.sort_values("parameter", kind="stable")
        if len(rows):
            values = tuple(rows["parameter"].astype(float))
            blocks.append(Block(one, tuple(chosen), tuple(rows["transform"]), values))
    if not blocks:
        raise ProbeError(
            "this comparison holds nothing but the identity, under which every residual is 0; "
            "probe other transformations"
        )
    return blocks


def pair_grid(
    blocks: Sequence[Block],
    handles: Sequence[Artist],
    width: float | None,
    *,
    subtitles: bool = False,
) -> tuple[Figure, Pairs, float]:
    """A figure with two panels, above and below, for every layer of every block, and a legend.

    `subtitles` names the block's first transformation below the layer. The last of what is
    returned is the room of a panel in millimetres.
    """
    width = checked_width(width)
    panels = [(layer, block) for block in blocks for layer in block.layers]
    most = max(len(block.layers) for block in blocks)
    wide = WIDE if width is None and most > 2 else width or NARROW
    columns = 4 if wide > (NARROW + WIDE) / 2 else 2
    columns = math.ceil(most / math.ceil(most / columns))  # rows of nearly equal length
    room = (wide - _MARGIN) / columns
    titles = [
        wrapped(title, room) + (f"\n{block.moves[0]}" if subtitles else "")
        for title, block in panels
    ]
    lines = max(title.count("\n") for title in titles)
    deep = max(
        1.4 * max(map(len, names)) if turned(names, room / len(names)) else 0.0
        for names in ([""] if block.numeric else block.names for block in blocks)
    )
    for handle in handles:
        handle.set_label(wrapped(str(handle.get_label()), wide - 14))
    texts = [line for handle in handles for line in str(handle.get_label()).split("\n")]
    ncols = int(max(1, min(len(handles), (wide - 4) // (1.2 * max(map(len, texts)) + 9))))
    legend = -(-len(handles) // ncols) * max(1 + str(h.get_label()).count("\n") for h in handles)
    rows = sum(-(-len(block.layers) // columns) for block in blocks)
    figure = new_figure(wide, rows * (_HEIGHT + _LINE * lines + deep) + 5 + _LINE * legend)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(wspace=0.06)  # type: ignore[call-arg]  # between labels such as 180 and -180
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[5, 3] * rows)
    pairs: Pairs = []
    row, count = 0, 0
    for block in blocks:
        first: tuple[Axes | None, Axes | None] = (None, None)
        for place in range(len(block.layers)):
            at = (2 * (row + place // columns), place % columns)
            above = figure.add_subplot(grid[at], sharey=first[0])
            below = figure.add_subplot(grid[at[0] + 1, at[1]], sharey=first[1], sharex=above)
            above.tick_params(labelbottom=False)
            above.set_title(titles[count])
            for ax in (above, below):
                ax.tick_params(labelleft=not at[1])
            first = (first[0] or above, first[1] or below)
            pairs.append((panels[count], (above, below)))
            count += 1
        row += -(-len(block.layers) // columns)
    figure.legend(handles=handles, loc="outside lower center", borderaxespad=0.2, ncols=ncols)
    return figure, pairs, room


def draw(
    ax: Axes,
    block: Block,
    rows: pd.DataFrame,
    columns: Columns,
    style: Style,
    spot: tuple[int, int],
) -> None:
    """A curve over angles or factors; marks side by side, at `spot` of so many, over names."""
    if block.numeric:
        values = np.array(block.values)
        index = around(values) if block.kind == "rotation" else np.arange(len(values))
        x = unrolled(values) if block.kind == "rotation" else values
        curve(ax, x, rows.iloc[index], columns, style)
        return
    value, low, high = (rows[name].to_numpy(dtype=float) for name in columns)
    place, number = spot
    # A percentile interval may leave the value out by a hair; a bar has no negative length.
    reach = np.clip([value - low, high - value], 0, None)
    ax.errorbar(
        np.arange(len(value)) + (place - (number - 1) / 2) * 0.7 / number, value, yerr=reach,
        color=style.colour, marker=style.marker or "_", markersize=3.5, markeredgewidth=0,
        linestyle="none", elinewidth=0.8, zorder=3,
    )  # fmt: skip


def curve(ax: Axes, x: np.ndarray, rows: pd.DataFrame, columns: Columns, style: Style) -> None:
    """A line with its interval as a band; a lone point with a bar."""
    value, low, high = (rows[name].to_numpy(dtype=float) for name in columns)
    if len(x) == 1:
        ax.vlines(x, low, high, color=style.colour, linewidth=0.8, zorder=2)
    ax.fill_between(x, low, high, color=style.colour, alpha=0.22, linewidth=0, zorder=1)
    ax.plot(
        x, value, color=style.colour, linestyle=style.line, markersize=2.4, markeredgewidth=0,
        marker=style.marker or ("." if len(x) == 1 else None), zorder=3,
    )  # fmt: skip


def limits(
    ax: Axes, block: Block, rows: pd.DataFrame, style: Style, spot: tuple[int, int], shade: bool
) -> None:
    """Thin lines at a network's floor and ceiling, and the band between them if `shade`."""
    ends = [rows[rows["quantity"] == name].set_index("transform") for name in (FLOOR, CEILING)]
    low, high = (end.loc[list(block.moves), "value"].to_numpy(dtype=float) for end in ends)
    look: dict[str, Any] = {"color": style.colour, "linewidth": 0.5}
    if not block.numeric:
        middle = np.arange(len(low)) + (spot[0] - (spot[1] - 1) / 2) * 0.7 / spot[1]
        if shade:
            ax.bar(np.arange(len(low)), high - low, bottom=low, width=0.9, color=SHADE, zorder=0)
        for end in (low, high):
            ax.hlines(end, middle - 0.35 / spot[1], middle + 0.35 / spot[1], **look)
        return
    values = np.array(block.values)
    index = around(values) if block.kind == "rotation" else np.arange(len(values))
    x = unrolled(values) if block.kind == "rotation" else values
    if shade:
        ax.fill_between(x, low[index], high[index], color=SHADE, linewidth=0, zorder=0)
    for end in (low, high):
        ax.plot(x, end[index], linestyle=style.line, zorder=2, **look)


def move_axis(ax: Axes, block: Block, room: float) -> None:
    """Ticks and label of the axis of a block's transformations, in `room` millimetres."""
    label = XLABELS.get(block.kind, block.kind)
    if not block.numeric:
        names = block.names
        upright = turned(names, room / len(names))
        ax.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        ax.set_xlim(-0.5, len(names) - 0.5)
        label = "scale factors x, y" if block.kind == "scaling" else label
    elif block.kind == "rotation":
        x = unrolled(np.array(block.values))
        if len(x) > 1:
            ax.set_xlim(x.min(), x.max())
        angle_axis(ax, *ax.get_xlim(), labels=7 if room > 50 else 5)
    else:
        low, high = min(block.values), max(block.values)
        scale_axis(ax, low, high)
        if high > low:
            ax.set_xlim(low / 1.03, high * 1.03)
    ax.set_xlabel(label)


def step_axis(ax: Axes, steps: np.ndarray, label: str) -> None:
    """The axis of rising training steps, logarithmic where they span a factor above 20.

    Ticks stand at steps that were measured, as many as have room.
    """
    first, last = float(steps[0]), float(steps[-1])
    positive = steps[steps > 0]
    if first >= 0 and len(positive) > 1 and positive[-1] / positive[0] > 20:
        ax.set_xscale("symlog", linthresh=float(positive[0]), linscale=0.6)
    margin = 0.03 * (last - first)
    ax.set_xlim(first - (margin if first else 0), last + margin)
    places = ax.transAxes.inverted().transform(
        ax.transData.transform([(step, 0.0) for step in steps])
    )[:, 0]
    chosen = [len(steps) - 1]  # from the last one back, each as far as a label is wide
    for number in reversed(range(len(steps) - 1)):
        if places[chosen[-1]] - places[number] >= 0.16:
            chosen.append(number)
    ax.xaxis.set_major_locator(FixedLocator([float(steps[number]) for number in chosen]))
    ax.xaxis.set_major_formatter(lambda value, _: short(value))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(label)


def short(value: float) -> str:
    """A step in few letters.

    >>> [short(v) for v in (0, 250, 1500, 16000, 2.5e6, 0.1)]
    ['0', '250', '1.5k', '16k', '2.5M', '0.1']
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}".replace("-", "−")
    return f"{value:g}".replace("-", "−")


def finish(pairs: Pairs, label: str, comparison: Comparison, *, from_zero: bool) -> None:
    """Labels at the left, a zero line below, and room for what is shown."""
    name = comparison.baseline if len(comparison.baseline) <= _LONG_NAME else "baseline"
    letter_panels([above for _, (above, _) in pairs])
    for _, (above, below) in pairs:
        below.axhline(0, color=GREY, linewidth=0.6, zorder=0)
        if above.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            above.set_ylabel(label)
            below.set_ylabel(f"difference\nto {name}")
        if from_zero:
            above.set_ylim(0, None)
        low, high = below.get_ylim()
        if high - low < 1e-9:  # nothing differs: no ticks of 1e-17
            below.set_ylim(-1e-3, 1e-3)


def percent(comparison: Comparison) -> str:
    """The level of the intervals as text: "95 %"."""
    return f"{100 * float(comparison.provenance['bootstrap']['level']):g} %"


def line(style: Style) -> Line2D:
    """The legend's entry of a style."""
    return Line2D(
        [], [], color=style.colour, marker=style.marker, linestyle=style.line, label=style.label
    )
