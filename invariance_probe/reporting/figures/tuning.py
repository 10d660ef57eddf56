"""Tuning curves: how every channel's response depends on the angle or scale of the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from ...errors import ProbeError
from ...probing import Result
from ...probing.ladder.tuning import tuning_summary
from ...probing.rungs import BLACK, BLUE, GREEN, ORANGE, VERMILLION
from ..drawing.fitting import wrapped
from ..drawing.panels import (
    angle_axis,
    factor_text,
    given_axes,
    label_shared,
    letter_panels,
    panel_columns,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import FAINT, NARROW, WIDE, new_figure, styled
from ..select import choose_layers, closes

_KINDS = ("rotation", "scaling")
_BY = ("modulation", "selectivity")
_MEANING = {
    "modulation": "modulation (max − min)/(max + min)",
    "selectivity": "selectivity, 0 for a flat curve, 1 for a single peak",
}
_ACROSS = {"rotation": "angle (degrees)", "scaling": "scale factor"}
Look = tuple[str, str, Any]
_LOOKS: tuple[Look, ...] = (
    (BLUE, "o", "-"), (VERMILLION, "s", (0, (5, 1.5))), (GREEN, "^", (0, (1.5, 1))),
    (BLACK, "D", "-"), (ORANGE, "X", (0, (3, 1, 1, 1))),
)  # fmt: skip
_TURN = np.radians([0, 90, 180, 270])


@styled
def plot_tuning(
    result: Result,
    layer: str | Iterable[str] | None = None,
    channels: int | Iterable[int] = 3,
    kind: str | None = None,
    by: str = "modulation",
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the response of channels against the angle or scale by which the image was changed.

    A panel per layer with one curve per channel: the `channels` with the highest `by`, three by
    default, or those named (five at most). `by`, which stands below each panel beside the channel,
    is "modulation" = (max − min)/(max + min) or "selectivity" (for an angle, or for a scale;
    channels that answer a filter's pattern and its half turn alike have none for an angle). `kind`
    is "rotation" or "scaling"; by default the first of the two in the result. A full turn is drawn
    in polar coordinates (angles as on the screen, 0 to the right), an arc or scales on a straight
    axis. Responses are root mean squares as fractions of the channel's largest: a channel that
    does not mind the change lies on the rim, or at 1. `width` is millimetres, as in
    `plot_residuals`.

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
    asked = choose_layers(result, layer)
    rows = {name: _rows(summary[summary["layer"] == name], name, channels, by) for name in asked}
    names = [name for name, own in rows.items() if len(own)]
    if not names:
        raise ProbeError(f"no channel of {', '.join(asked)} responds; there is no curve to draw")
    curves = {
        name: [_curve(result, name, int(channel), chosen_kind) for channel in rows[name]["channel"]]
        for name in names
    }
    polar = chosen_kind == "rotation" and all(closes(c[0][0]) for c in curves.values())
    most = max(len(rows[name]) for name in names)
    columns = panel_columns([len(names)], width)
    heads = names
    if axes is None:
        heads, taller = titles(names, panel_room(columns, width))
        wide = width or (NARROW if columns == 1 else WIDE)
        height = (52.0 if polar else 40.0) + 3.6 * most + taller
        figure, drawn = _grid(len(names), polar, columns, wide, height)
    else:
        figure, drawn = given_axes(axes, len(names))
        polar = polar and all(ax.name == "polar" for ax in drawn)
    for number, (name, ax) in enumerate(zip(names, drawn, strict=True)):
        ax.set_title(heads[number], pad=14.0 if polar else None)
        for look, row, (place, response) in zip(
            _LOOKS, rows[name].to_dict("records"), curves[name], strict=False
        ):
            said = f"{int(row['channel'])}: {row[by]:.2f}".replace("-", "−")
            (_polar if polar else _straight)(ax, place, response, look, said)
        (_polar_axes if polar else _straight_axes)(ax, curves[name][0][0], chosen_kind)
        below = ScaledTranslation(0, -(16 if polar else 28) / 72, figure.dpi_scale_trans)
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=ax.transAxes + below,
            borderaxespad=0.0, handlelength=2.4, labelspacing=0.3,
        )  # fmt: skip
        if axes is not None and not polar:
            ax.set(xlabel=_ACROSS[chosen_kind], ylabel="response / largest")
    if axes is None:
        if not polar:
            label_shared(drawn, columns, _ACROSS[chosen_kind], "response / largest")
        letter_panels(drawn, 14.0 if polar else 6.0)
        kinds = "response / largest; " if polar else ""
        note = f"{kinds}below: channel: {_MEANING[by]}"
        figure.supxlabel(wrapped(note, 25.4 * figure.get_figwidth() - 4, 7.0), size=7.0)
    return figure


def _rows(
    summary: pd.DataFrame, layer: str, channels: int | Iterable[int], by: str
) -> pd.DataFrame:
    """The channels to draw, one row each: those asked for, or the ones highest in `by`."""
    if isinstance(channels, int):
        if not 1 <= channels <= len(_LOOKS):
            raise ProbeError(f"channels={channels}: a panel shows 1 to {len(_LOOKS)}")
        known = summary[np.isfinite(summary[by].to_numpy(dtype=float))]
        return known.sort_values(by, ascending=False, kind="stable").head(channels)
    by_channel = summary.set_index("channel", drop=False)
    asked = list(channels)
    if len(asked) > len(_LOOKS):
        raise ProbeError(f"{len(asked)} channels in one panel; give {len(_LOOKS)} at most")
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
    number: int, polar: bool, columns: int, width: float, height: float
) -> tuple[Figure, list[Axes]]:
    rows = -(-number // columns)
    figure = new_figure(width, rows * height + 6.0)
    grid = figure.add_gridspec(rows, columns)
    axes = []
    for place in range(number):
        spot = grid[place // columns, place % columns]
        axes.append(figure.add_subplot(spot, projection="polar" if polar else None))
        if not polar and place % columns:
            axes[-1].tick_params(labelleft=False)
    return figure, axes


def _polar(ax: Axes, place: np.ndarray, response: np.ndarray, look: Look, said: str) -> None:
    colour, marker, line = look
    ax.plot(
        np.radians(np.append(place, place[0])), np.append(response, response[0]), color=colour,
        linestyle=line, marker=marker, markersize=2.4, markeredgewidth=0, clip_on=False, label=said,
    )  # fmt: skip


def _polar_axes(ax: Axes, _: np.ndarray, kind: str) -> None:
    ax.set_ylim(0, 1)
    ax.set_xticks(_TURN, ["0°", "90°", "180°", "−90°"])
    ax.set_yticks([0.5], [""])
    ax.tick_params(axis="x", pad=-1)
    ax.grid(color=FAINT, linewidth=0.4)
    ax.spines["polar"].set_linewidth(0.6)
    ax.spines["polar"].set_color("0.5")


def _straight(ax: Axes, place: np.ndarray, response: np.ndarray, look: Look, said: str) -> None:
    colour, marker, line = look
    ax.plot(
        place, response, color=colour, linestyle=line, marker=marker, markersize=2.6,
        markeredgewidth=0, label=said,
    )  # fmt: skip


def _straight_axes(ax: Axes, place: np.ndarray, kind: str) -> None:
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
