"""Errors on distorted digits beside the published ones, a panel per data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from invariance_probe.errors import ProbeError
from invariance_probe.probing.rungs import BLACK, BLUE, VERMILLION
from invariance_probe.reporting.drawing.panels import (
    given_axes,
    leftmost,
    letter_panels,
    panel_columns,
    panel_grid,
)
from invariance_probe.reporting.drawing.style import FAINT, SHADE, styled
from papers.published import NO_FAMILY
from papers.published_tables import published_rows, shown_family, shown_network

_LEAST, _BESIDE = 35.0, 32.0  # millimetres: of a panel, and of the names at the left
_PAPER = "published"
_LOOKS = ((VERMILLION, "s", "ours, no transformer"), (BLUE, "o", "ours, transformer"))
_RATIO = 1.5  # the least ratio between the ends of an axis


@styled
def plot_published(
    table: pd.DataFrame,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the errors of `beside_published` and the published ones on a logarithmic axis.

    A panel per data set, a row per network and family of warps; filled marks are ours, with the
    standard deviation over seeds, open diamonds the paper's, a line joins the two. `width` is
    millimetres. With `axes`, one per data set, the legend is left to the caller.

    Raises ProbeError for runs of several budgets, and where there is nothing to draw.
    """
    if not len(table):
        raise ProbeError("no errors to draw; give a table of beside_published")
    if (number := table["budget"].nunique()) > 1:
        raise ProbeError(
            f"runs of {number} budgets are not drawn together; give the rows of one of them"
        )
    data = list(dict.fromkeys(table["data"]))
    tables = [table[table["data"] == name] for name in data]
    rows = [published_rows(own) for own in tables]
    if axes is None:
        columns = panel_columns([len(data)], width, least=_LEAST, most=3, margin=_BESIDE)
        height = 14.0 + 4.6 * max(map(len, rows))
        figure, panels = panel_grid(
            [len(data)], row_height=height, extra=6.0 if columns > 1 else 12.0, columns=columns,
            width=width, share_y=False,
        )  # fmt: skip
        left = leftmost([len(data)], columns)
    else:
        figure, panels = given_axes(axes, len(data))
        left = [True] * len(panels)
    for place, (ax, own) in enumerate(zip(panels, tables, strict=True)):
        _panel(ax, own, rows[place])
        ax.set_title(data[place])
        ax.set_xlabel("error (%)")
        named = left[place] or rows[place] != rows[place - 1]
        ax.tick_params(labelleft=named)
    if axes is None:
        letter_panels(panels)
        figure.legend(
            handles=_handles(), loc="outside lower center", borderaxespad=0.2,
            ncols=3 if columns > 1 else 1,
        )  # fmt: skip
    return figure


def _panel(ax: Axes, own: pd.DataFrame, rows: Sequence[tuple[str, str]]) -> None:
    ends: list[float] = []
    last = ""
    for place, (network, family) in enumerate(rows):
        if place and network != last:
            ax.axhline(place - 0.5, color=SHADE, linewidth=0.8, zorder=0)
        last = network
        row = own[(own["network"] == network) & (own["family"] == family)].iloc[0]
        # On a logarithmic axis an error of 0 has no place; half an image does.
        ours = 100 * max(float(row["error"]), 0.5 / (row["number"] * row["passes"]))
        spread = 100 * float(row["sd_seeds"]) if np.isfinite(row["sd_seeds"]) else 0.0
        paper = 100 * float(row["published"])
        low = max(ours - spread, ours / 10)
        ends += [value for value in (low, ours + spread, paper) if np.isfinite(value)]
        if np.isfinite(paper):
            ax.plot([ours, paper], [place, place], color=FAINT, linewidth=1.0, zorder=1)
            ax.plot(
                paper, place, marker="D", markersize=4.4, markerfacecolor="none",
                markeredgecolor=BLACK, markeredgewidth=0.8, linestyle="none", label=_PAPER,
                zorder=5,
            )  # fmt: skip
        colour, marker, label = _LOOKS[family != NO_FAMILY]
        ax.errorbar(
            ours, place, xerr=[[ours - low], [spread]], color=colour, marker=marker,
            markersize=4.0, markeredgewidth=0, elinewidth=0.9, capsize=1.6, capthick=0.9,
            linestyle="none", label=label, zorder=4,
        )  # fmt: skip
    ax.set_xscale("log")
    low, high = min(ends), max(ends)
    pad = max(1.15, (_RATIO * low / high) ** 0.5)
    ax.set_xlim(low / pad, high * pad)
    ax.xaxis.set_major_locator(LogLocator(subs=_ticks(high / low * pad**2)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="x", color=SHADE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), [_label(*row) for row in rows])
    ax.tick_params(axis="y", length=0)


def _ticks(ratio: float) -> tuple[float, ...]:
    if ratio < 3:
        return (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    return (1, 2, 5) if ratio < 40 else (1, 3)


def _label(network: str, family: str) -> str:
    shown = shown_network(network)
    return shown if family == NO_FAMILY else f"{shown}, {shown_family(family)}"


def _handles() -> list[Line2D]:
    looks = [(colour, marker, colour, label) for colour, marker, label in _LOOKS]
    return [
        Line2D(
            [], [], color=colour, marker=marker, markerfacecolor=face, markersize=4.0,
            markeredgewidth=0.8, linestyle="none", label=label,
        )
        for colour, marker, face, label in (*looks, (BLACK, "D", "none", _PAPER))
    ]  # fmt: skip
