"""Tuning curves: how every channel's response depends on the angle or scale of the image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...errors import ProbeError
from ...probing import Result
from ...probing.ladder.tuning import tuning_summary
from ...probing.rungs import BLUE, VERMILLION
from ..drawing.fitting import legend_below
from ..drawing.panels import (
    angle_axis,
    factor_text,
    given_axes,
    leftmost,
    lowest,
    panel_columns,
    panel_room,
    panel_rows,
    scale_axis,
    titles,
)
from ..drawing.style import FAINT, NARROW, WIDE, new_figure, styled
from ..select import choose_layers, closes

_KINDS = ("rotation", "scaling")
_BY = {"modulation": "mod.", "selectivity": "sel."}
_MEANING = {
    "modulation": "mod.: (max − min)/(max + min)",
    "selectivity": "sel.: 0 for a flat curve, 1 for a single peak",
}
_TURN = np.radians([0, 90, 180, 270])


@styled
def plot_tuning(
    result: Result,
    layer: str | Iterable[str] | None = None,
    channels: int | Iterable[int] | None = None,
    kind: str | None = None,
    by: str = "modulation",
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the response of channels against the angle or scale by which the image was changed.

    `channels` is a number, of those with the highest `by`, or which channels; by default four, or
    as many as a row of a figure of `width` millimetres holds. `by`, which titles give, is
    "modulation" = (max − min)/(max + min) or "selectivity" (for an angle, or for a scale; channels
    that answer a filter's pattern and its half turn alike have none for an angle). `kind` is
    "rotation" or "scaling"; by default the first of the two in the result. A full turn is drawn
    in polar coordinates (angles as on the screen, 0 to the right), an arc or scales on a straight
    axis. Responses are root mean squares as fractions of the channel's largest. The line from the
    middle points to the preferred angle, its length is the selectivity; on a straight axis a
    dotted line marks the preferred scale, or an arc's peak. A row of panels per layer.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge.

    Raises ProbeError for an unknown layer, channel or kind, and for results without tuning curves.
    """
    if by not in _BY:
        raise ProbeError(f"by={by!r} is not known; use {' or '.join(map(repr, _BY))}")
    summary = tuning_summary(result)
    there = [name for name in _KINDS if name in set(summary["kind"])]
    chosen_kind = kind or there[0]
    if chosen_kind not in there:
        raise ProbeError(
            f"no tuning curves of kind {kind!r} in this result, which has {', '.join(there)}"
        )
    summary = summary[summary["kind"] == chosen_kind]
    names = choose_layers(result, layer)
    if channels is None:
        channels = panel_columns([4], width)
    panels: list[tuple[str, pd.Series, np.ndarray, np.ndarray]] = []
    for name in names:
        for _, row in _rows(summary[summary["layer"] == name], name, channels, by).iterrows():
            panels.append((name, row, *_curve(result, name, int(row["channel"]), chosen_kind)))
    if not panels:
        raise ProbeError(f"no channel of {', '.join(names)} responds; there is no curve to draw")
    polar = chosen_kind == "rotation" and all(closes(place) for _, _, place, _ in panels)
    sizes = [number for number in (sum(p[0] == name for p in panels) for name in names) if number]
    columns = panel_columns(sizes, width)
    wide = width or (NARROW if columns < 3 else WIDE)
    heads = [_title(row, name, by) for name, row, *_ in panels]
    for number in range(1, len(panels)):
        if panels[number - 1][0] == panels[number][0]:
            heads[number] = "\n" + heads[number].partition("\n")[2]
    if axes is None:
        heads, taller = titles(heads, panel_room(columns, wide))
        figure, drawn = _grid(sizes, polar, columns, wide, taller)
        left, low = leftmost(sizes, columns), lowest(sizes, columns)
    else:
        figure, drawn = given_axes(axes, len(panels))
        left = low = [True] * len(drawn)
        polar = polar and all(ax.name == "polar" for ax in drawn)
    for number, (name, row, place, response) in enumerate(panels):
        ax = drawn[number]
        ax.set_title(heads[number])
        (_polar if polar else _straight)(ax, row, place, response, chosen_kind)
        if not polar:
            if low[number] and name == panels[-1][0]:
                ax.set_xlabel("angle (degrees)" if chosen_kind == "rotation" else "scale factor")
            if left[number]:
                ax.set_ylabel("response / largest")
    if axes is None:
        _legend(figure, polar, chosen_kind, by)
    return figure


def _title(row: pd.Series, name: str, by: str) -> str:
    said = f"ch. {int(row['channel'])}, {_BY[by]} {row[by]:.2f}".replace("-", "−")
    return f"{name}\n{said}"


def _rows(
    summary: pd.DataFrame, layer: str, channels: int | Iterable[int], by: str
) -> pd.DataFrame:
    """The channels to draw, one row each: those asked for, or the ones highest in `by`."""
    if isinstance(channels, int):
        if channels < 1:
            raise ProbeError(f"channels={channels} is no number of channels; give 1 or more")
        known = summary[np.isfinite(summary[by].to_numpy(dtype=float))]
        return known.sort_values(by, ascending=False, kind="stable").head(channels)
    by_channel = summary.set_index("channel", drop=False)
    asked = list(channels)
    for channel in asked:
        if channel not in by_channel.index:
            raise ProbeError(
                f"no channel {channel} in layer {layer!r}, which has {len(by_channel)}, from 0"
            )
    return by_channel.loc[asked]


def _curve(result: Result, layer: str, channel: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Parameters in rising order and the channel's response as a fraction of its largest."""
    table = result.tuning
    rows = table[(table["layer"] == layer) & (table["channel"] == channel)]
    rows = rows[(rows["kind"] == kind) | rows["identity"].astype(bool)]
    place = rows["parameter"].to_numpy(dtype=float)
    if kind == "scaling":  # the identity of another kind has the parameter 0
        place = np.where(rows["identity"].astype(bool), 1.0, place)
    else:
        place = np.where(rows["identity"].astype(bool), 0.0, place)
    place, first = np.unique(place, return_index=True)
    response = rows["rms"].to_numpy(dtype=float)[first]
    return place, response / max(float(response.max()), 1e-300)


def _grid(
    sizes: list[int], polar: bool, columns: int, width: float, taller: float
) -> tuple[Figure, list[Axes]]:
    columns, rows = panel_rows(sizes, columns)
    height = 50.0 if polar else 42.0
    figure = new_figure(width, rows * (height + taller) + 4.0)
    grid = figure.add_gridspec(rows, columns)
    axes: list[Axes] = []
    row = 0
    for number in sizes:
        for place in range(number):
            spot = grid[row + place // columns, place % columns]
            ax = figure.add_subplot(spot, projection="polar" if polar else None)
            if not polar and place % columns:
                ax.tick_params(labelleft=False)
            axes.append(ax)
        row += -(-number // columns)
    return figure, axes


def _polar(ax: Axes, row: pd.Series, place: np.ndarray, response: np.ndarray, _: str) -> None:
    angles = np.radians(np.append(place, place[0]))
    closed = np.append(response, response[0])
    ax.plot(
        angles, closed, color=BLUE, marker="o", markersize=2.4, markeredgewidth=0, clip_on=False
    )
    ax.fill(angles, closed, color=BLUE, alpha=0.12, linewidth=0)
    preferred, length = np.radians(float(row["preferred"])), float(row["selectivity"])
    if np.isfinite(length):
        ax.plot([preferred, preferred], [0, length], color=VERMILLION, linewidth=1.6)
    ax.set_ylim(0, 1)
    ax.set_xticks(_TURN, ["0°", "90°", "180°", "−90°"])
    ax.set_yticks([0.5], [""])
    ax.tick_params(axis="x", pad=0)
    ax.grid(color=FAINT, linewidth=0.4)
    ax.spines["polar"].set_linewidth(0.4)
    ax.spines["polar"].set_color(FAINT)


def _straight(ax: Axes, row: pd.Series, place: np.ndarray, response: np.ndarray, kind: str) -> None:
    ax.plot(place, response, color=BLUE, marker="o", markersize=2.6, markeredgewidth=0)
    preferred = float(row["preferred"] if kind == "scaling" else row["peak"])
    if np.isfinite(preferred):
        ax.axvline(preferred, color=VERMILLION, linewidth=1.0, linestyle=":")
    low, high = float(place.min()), float(place.max())
    if kind == "scaling" and high > low:
        scale_axis(ax, low, high)
        ax.set_xlim(low / 1.03, high * 1.03)
    elif kind == "rotation":
        angle_axis(ax, low, high, labels=5)
        if high > low:
            ax.set_xlim(low, high)
    else:
        ax.set_xticks([low], [factor_text(low)])
    ax.set_ylim(0, 1.05)
    ax.set_yticks([0, 0.5, 1])


def _legend(figure: Figure, polar: bool, kind: str, by: str) -> None:
    if polar:
        text = "preferred angle; length: selectivity (rim: 1)"
    else:
        text = "preferred scale" if kind == "scaling" else "angle of the largest response"
    handles: list[Artist] = [
        Line2D([], [], color=BLUE, marker="o", markersize=2.6, label="response / largest"),
        Line2D([], [], color=VERMILLION, linestyle="-" if polar else ":", label=text),
        Patch(facecolor="none", label=_MEANING[by]),
    ]
    legend_below(figure, handles, most=3)
