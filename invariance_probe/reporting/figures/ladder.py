"""The ladder: every rung of every layer with its interval, between floor and ceiling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...probing import Result
from ...probing.rungs import CEILING, FLOOR, rung_of
from ..drawing.fitting import text_width
from ..drawing.panels import (
    given_axes,
    leftmost,
    letter_panels,
    lowest,
    panel_columns,
    panel_grid,
    panel_room,
    titles,
)
from ..drawing.style import FAINT, SHADE, styled
from ..select import as_results, choose_layers, choose_rungs, interval_percent, spoken
from ..tables.decimals import plain
from ..tables.ladder import ladder_table

XLABEL = "residual (fraction of variance unexplained)"


@styled
def plot_ladder(
    result: Result | Sequence[Result],
    transform: str | None = None,
    layers: str | Iterable[str] | None = None,
    rungs: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw every rung as a point with its interval and value, a panel per layer.

    `transform` names one transformation ("rotation:90"); by default means over all of a kind but
    the identity are shown, a row of panels per kind. Grey is the band between floor and ceiling.
    `width` is millimetres, as in `plot_residuals`.

    Raises ProbeError for an unknown transform, layer or rung.
    """
    panels: list[tuple[str, str, pd.DataFrame, tuple[str, ...]]] = []
    sizes = []
    for one in as_results(result):
        table = ladder_table(one, transform)
        shown = choose_rungs(one, rungs)
        names = choose_layers(one, layers)
        for over, group in table.groupby("over", sort=False):
            panels += [(str(over), n, group[group["layer"] == n], shown) for n in names]
            sizes.append(len(names))
    most = max(len(shown) for *_, shown in panels)
    beside = 5.0 + max(text_width(rung_of(r, s).label, 7.0) for *_, s in panels for r in s)
    columns = panel_columns(sizes, width, least=22.0, margin=beside)
    room = panel_room(columns, width, beside)
    heads = [
        f"{spoken(over)}\n{layer}" if place == 0 or panels[place - 1][0] != over else f"\n{layer}"
        for place, (over, layer, *_) in enumerate(panels)
    ]
    narrow = False
    if axes is None:
        heads, taller = titles(heads, room)
        narrow = room < 30
        pitch = 3.8 if narrow else 4.6
        figure, chosen = panel_grid(
            sizes, row_height=14.0 + taller + pitch * most, extra=3.0, columns=columns,
            width=width, share_x=True,
        )  # fmt: skip
        left, low = leftmost(sizes, columns), lowest(sizes, columns)
    else:
        figure, chosen = given_axes(axes, len(panels))
        left = low = [True] * len(chosen)
    top = 0.0
    for place, (_, _, rows, shown) in enumerate(panels):
        ax = chosen[place]
        top = max(top, _panel(ax, rows.set_index("rung"), shown))
        ax.set_title(heads[place])
        ax.tick_params(axis="y", length=0)
        if left[place]:
            labels = [rung_of(rung, shown).label for rung in shown]
            ax.set_yticks(np.arange(len(shown)), labels)
        ax.tick_params(labelbottom=low[place])
    beyond = room / (room - 8.5) if narrow else 1.34  # room for the last number
    for ax in chosen:
        ax.set_xlim(0, beyond * top if top > 0 else 1.0)
        ax.set_ylim(most - 0.4, -0.6)
        ax.locator_params(axis="x", nbins=3 if narrow else 4)
    if axes is None:
        letter_panels(chosen)
        level = interval_percent(as_results(result)[0])
        label = f"{XLABEL}; bars: {level} interval"
        if text_width(label) > 25.4 * figure.get_figwidth() - 4:
            label = label.replace("; ", ";\n")
        figure.supxlabel(label, fontsize=8)
    else:
        for ax in chosen:
            ax.set_xlabel(XLABEL)
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, rungs: Sequence[str]) -> float:
    """Draw one layer; returns the highest value shown."""
    floor, ceiling = (float(rows.loc[rung, "residual"]) for rung in (FLOOR, CEILING))
    if np.isfinite(floor) and np.isfinite(ceiling):
        ax.axvspan(floor, ceiling, color=SHADE, linewidth=0, zorder=0)
    for place, rung in enumerate(rungs):
        value, low, high = (float(rows.loc[rung, c]) for c in ("residual", "low", "high"))
        if not np.isfinite(value):
            # The ceiling is there wherever the layer varies at all.
            varies = bool(np.isfinite(ceiling))
            ax.annotate(
                "not determined" if varies else "no variance",
                (0.03, place),
                xycoords=("axes fraction", "data"),
                va="center", fontsize=7,
            )  # fmt: skip
            continue
        style = rung_of(rung, tuple(rungs))
        ax.plot([0, value], [place, place], color=FAINT, linewidth=0.6, zorder=1)
        ax.plot([low, high], [place, place], color=style.colour, linewidth=1.4, zorder=2)
        ax.plot(
            value, place, color=style.colour, marker=style.spot, linestyle="none",
            markersize=4.0, markeredgecolor="white", markeredgewidth=0.3, zorder=3,
            label=style.label, clip_on=False,
        )  # fmt: skip
        ax.annotate(
            plain(value), (max(high, value), place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=7,
        )  # fmt: skip
    values = rows.loc[list(rungs), ["residual", "high"]].to_numpy(dtype=float)
    return float(np.nan_to_num(values).max())
