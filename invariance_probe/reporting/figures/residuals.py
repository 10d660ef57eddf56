"""Residual against angle, scale or transformation: a curve per rung, a panel per layer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...probing import Result
from ...probing.rungs import CEILING, FLOOR, TELLING, rung_of
from ..drawing.fitting import legend_below
from ..drawing.panels import (
    angle_axis,
    by_block,
    given_axes,
    label_shared,
    letter_panels,
    panel_columns,
    panel_grid,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import NARROW, RESIDUAL, SHADE, WIDE, styled
from ..select import (
    Block,
    around,
    choose_blocks,
    choose_rungs,
    interval_percent,
    plain_numbers,
    undetermined,
    unrolled,
)

_PANEL = 31.0  # millimetres, the narrowest of a figure of two columns
_LETTER = 1.4  # millimetres of a letter at 7 points
XLABELS = {
    "rotation": "angle (degrees)",
    "scaling": "scale factor",
    "reflection": "mirror axis (degrees)",
    "translation": "shift dx, dy (pixels)",
    "shear": "shear kx, ky",
    "affine": "matrix a, b, c, d, e, f",
}


@styled
def plot_residuals(
    result: Result | Sequence[Result],
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
    rungs: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the residual against the transformation, a panel per layer and a curve per rung.

    `kind` is "rotation" (against degrees), "scaling" (against the factor, logarithmic) or another
    kind (by name); None draws every kind in the result, or in several results, in rows of its
    own. `rungs` are by default the five that tell most; `result.axes["rung"]` draws all, and the
    ladder shows them. Rungs that too few samples leave undetermined are left out, and the legend
    names them. Grey is the band between floor and ceiling, coloured bands are the intervals of the
    result; triangles mark transformations under which nothing is interpolated, whose values
    smoothing does not lower. Runs over the full circle are closed at ±180°. With `axes`, one per
    panel, the legend is left to the caller (`ax.legend()`). `width` is millimetres: 85 is one
    column of a printed page, 170 two; by default one for one panel, two for several.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge.

    Raises ProbeError for an unknown layer or rung, for a kind that the result has not, and for
    widths below 70 or above 300.
    """
    blocks = choose_blocks(result, kind, layers)
    sizes = [len(block.layers) for block in blocks]
    columns = panel_columns(sizes, width)
    room = panel_room(columns, width)
    panels = [(block, layer) for block in blocks for layer in block.layers]
    names = [layer for _, layer in panels]
    if axes is None:
        names, taller = titles(names, room)
        row_height = (42.0 if room < 45 else 52.0) + taller
        row_height += max(depth(block, _PANEL / len(block.moves)) for block in blocks)
        row_height += 6.0 if len(_shown(blocks[0].result, rungs)) > 6 else 0.0
        figure, chosen = panel_grid(
            sizes, row_height=row_height, extra=5.0, columns=columns, width=width
        )
    else:
        figure, chosen = given_axes(axes, sum(sizes))
    crowded = axes is None and room < 45
    top = 0.0
    for place, (block, layer) in enumerate(panels):
        ax = chosen[place]
        shown = _shown(block.result, rungs)
        top = max(top, _panel(ax, block, layer, shown))
        if block.numeric and block.kind == "rotation":
            angle_axis(ax, *ax.get_xlim(), labels=5 if crowded else 7)
        ax.set_title(names[place])
        if axes is not None:
            ax.set(xlabel=axis_label(block), ylabel=RESIDUAL)
    for ax in chosen:
        ax.set_ylim(0, 1.04 * top if top > 0 else 1.0)
    if axes is None:
        for block, own in zip(blocks, by_block(chosen, sizes), strict=True):
            label_shared(own, columns, axis_label(block), RESIDUAL)
        letter_panels(chosen)
        first = blocks[0].result
        bands = any(block.numeric for block in blocks)
        wide = figure.get_figwidth() * 25.4 > (NARROW + WIDE) / 2
        drawn, notes = _legend_of(blocks, rungs, wide=wide)
        # Where a panel shows single values, the legend has their marks.
        spots = any(not block.numeric or len(block.moves) == 1 for block in blocks)
        exact = bands and any(_has_exact(block.result) for block in blocks)
        handles = legend_handles(drawn, interval_percent(first), bands, spots, exact)
        legend_below(figure, handles, most=4 if wide else 2, notes=notes)
    return figure


def _has_exact(result: Result) -> bool:
    """Whether there is a transformation but the identity under which nothing is interpolated."""
    rows = result.summary
    return "exact" in rows and bool((rows["exact"].astype(bool) & ~rows["identity"]).any())


def _shown(result: Result, rungs: str | Iterable[str] | None) -> tuple[str, ...]:
    """The rungs asked for; by default those that tell most, so that curves stay apart."""
    chosen = choose_rungs(result, rungs)
    return chosen if rungs is not None else tuple(r for r in chosen if r in TELLING)


def _legend_of(
    blocks: Sequence[Block], rungs: str | Iterable[str] | None, *, wide: bool
) -> tuple[tuple[str, ...], list[str]]:
    """The rungs that have a curve in some panel, and lines that say which lack one."""
    shown = _shown(blocks[0].result, rungs)
    lacking: dict[str, list[str]] = {}
    panels = [(block.kind, name) for block in blocks for name in block.layers]
    for block in blocks:
        for rung, names in undetermined(block.result, block.layers, shown).items():
            lacking.setdefault(rung, []).extend(names)
    drawn = tuple(rung for rung in shown if len(lacking.get(rung, ())) < len(panels))
    parts = [
        rung_of(rung, shown).label
        + (f" ({', '.join(dict.fromkeys(names))})" if len(names) < len(panels) else "")
        for rung, names in lacking.items()
    ]
    text = f"not determined, too few samples: {'; '.join(parts)}" if parts else ""
    return drawn, textwrap.wrap(text, 120 if wide else 58)


def axis_label(block: Block) -> str:
    """What the axis of a block's transformations is called, with units."""
    if block.kind == "scaling" and not block.numeric:
        return "scale factors x, y"
    return XLABELS.get(block.kind, block.kind)


def move_names(moves: pd.DataFrame) -> list[str]:
    """The parameters of transformations as tick labels."""
    return [plain_numbers(text.partition(":")[2] or text) for text in moves["transform"]]


def turned(names: Sequence[str], room: float) -> bool:
    """Whether tick labels are too long to stand side by side, each in `room` millimetres."""
    return len(names) > 1 and _LETTER * max(map(len, names)) + 1 > room


def depth(block: Block, room: float) -> float:
    """Millimetres that upright tick labels of a block need below its panels."""
    names = [] if block.numeric else move_names(block.moves)
    return _LETTER * max(map(len, names)) if turned(names, room) else 0.0


def legend_handles(
    rungs: Sequence[str], level: str, bands: bool, spots: bool, exact: bool = False
) -> list[Artist]:
    """One entry per rung, one for the band between floor and ceiling, one for the intervals."""
    handles: list[Artist] = []
    for rung in rungs:
        style = rung_of(rung, tuple(rungs))
        handles.append(
            Line2D(
                [], [], color=style.colour, marker=style.spot if spots else style.marker,
                linestyle=style.line if bands else "none", label=style.label,
            )
        )  # fmt: skip
    handles.append(Patch(facecolor=SHADE, label="between floor and ceiling"))
    first = rung_of(rungs[min(1, len(rungs) - 1)], tuple(rungs))
    name = f"{level} interval"
    if bands:
        handles.append(Patch(facecolor=first.colour, alpha=0.25, label=name))
    else:
        bar = Line2D(
            [], [], color=first.colour, marker="|", markersize=8, linestyle="none", label=name
        )
        handles.append(bar)
    if exact:
        handles.append(
            Line2D(
                [], [], color="black", marker="^", markersize=3.2, linestyle="none",
                label="exact: nothing interpolated",
            )
        )  # fmt: skip
    return handles


def _panel(ax: Axes, block: Block, layer: str, rungs: Sequence[str]) -> float:
    """Draw one layer; returns the highest value shown."""
    table = block.rows(layer, "residuals")
    by_rung = {rung: rows for rung, rows in table.groupby("rung", sort=False)}
    if table["residual"].isna().all():
        ax.text(
            0.5, 0.5, "no variance\nin this layer", transform=ax.transAxes, ha="center", va="center"
        )
    draw = _curves if block.numeric else _names
    draw(ax, by_rung, rungs, block.kind)
    if block.numeric:
        _mark_exact(ax, block.rows(layer))
    # The ceiling's interval would squeeze everything that matters.
    shown = table[table["rung"].isin(rungs)]
    values = by_rung[CEILING]["residual"]
    ends = shown.loc[shown["rung"] != CEILING, "high"]
    return float(np.nan_to_num(np.concatenate([values, shown["residual"], ends])).max())


def _mark_exact(ax: Axes, rows: pd.DataFrame) -> None:
    """Mark at the axis where nothing is interpolated: values beside are smoothed, these are not."""
    if "exact" not in rows:
        return
    own = rows[rows["exact"].astype(bool)]
    values = own["parameter"].to_numpy(dtype=float)
    if own["kind"].eq("rotation").any() and (np.abs(values) == 180).any():
        values = np.append(values, [-180.0, 180.0])
    low, high = ax.get_xlim()
    values = values[(values >= low - 1e-9) & (values <= high + 1e-9)]
    if not len(values):  # an empty line would take part in the layout all the same
        return
    ax.plot(
        values, np.zeros(len(values)), color="black", marker="^", markersize=3.2,
        markeredgewidth=0, linestyle="none", clip_on=False, zorder=5,
        transform=ax.get_xaxis_transform(),
    )  # fmt: skip


def _curves(ax: Axes, by_rung: dict[str, pd.DataFrame], rungs: Sequence[str], kind: str) -> None:
    values = by_rung[FLOOR]["parameter"].to_numpy(dtype=float)
    index = around(values) if kind == "rotation" else np.arange(len(values))
    x = unrolled(values) if kind == "rotation" else values

    def column(rung: str, name: str) -> np.ndarray:
        return by_rung[rung][name].to_numpy(dtype=float)[index]

    ax.fill_between(
        x,
        column(FLOOR, "residual"),
        column(CEILING, "residual"),
        color=SHADE,
        linewidth=0,
        zorder=0,
    )
    for order, rung in enumerate(rungs):
        if np.isnan(column(rung, "residual")).all():
            continue
        style = rung_of(rung, tuple(rungs))
        ax.fill_between(
            x, column(rung, "low"), column(rung, "high"),
            color=style.colour, alpha=0.25, linewidth=0, zorder=1,
        )  # fmt: skip
        ax.plot(
            x, column(rung, "residual"), color=style.colour, linestyle=style.line,
            marker=style.spot if len(x) == 1 else style.marker or None, markersize=2.4,
            markeredgewidth=0, label=style.label, zorder=3 + order / 100,
        )  # fmt: skip
    if kind == "rotation":
        if len(x) > 1:
            ax.set_xlim(x.min(), x.max())
    else:
        scale_axis(ax, float(x.min()), float(x.max()))
        if len(x) > 1:
            ax.set_xlim(x.min() / 1.03, x.max() * 1.03)


def _names(ax: Axes, by_rung: dict[str, pd.DataFrame], rungs: Sequence[str], _: str) -> None:
    names = move_names(by_rung[FLOOR])
    floor, ceiling = (by_rung[rung]["residual"].to_numpy(dtype=float) for rung in (FLOOR, CEILING))
    place = np.arange(len(names), dtype=float)
    ax.bar(place, ceiling - floor, bottom=floor, width=0.9, color=SHADE, zorder=0)
    step = 0.7 / max(1, len(rungs))
    for order, rung in enumerate(rungs):
        style, rows = rung_of(rung, tuple(rungs)), by_rung[rung]
        if rows["residual"].isna().all():
            continue
        value, low, high = (rows[c].to_numpy(dtype=float) for c in ("residual", "low", "high"))
        # A percentile interval may leave the value out by a hair; a bar has no negative length.
        reach = np.clip([value - low, high - value], 0, None)
        ax.errorbar(
            place + (order - (len(rungs) - 1) / 2) * step, value, yerr=reach,
            color=style.colour, marker=style.spot, markersize=3.5, markeredgewidth=0,
            linestyle="none", elinewidth=0.8, label=style.label, zorder=3, clip_on=False,
        )  # fmt: skip
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_xticks(place, names, rotation=90 if turned(names, _PANEL / len(names)) else 0)
