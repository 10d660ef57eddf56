"""What perfect alignment at one layer is worth to the classifier, against depth or angle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...errors import ProbeError
from ...probing import OracleResult
from ...probing.oracles.result import AT_LAYER, MEASURES, ON_INPUT
from ...probing.rungs import BLACK, VERMILLION, Style, rung_of
from ..drawing.fitting import legend_below, text_width, wrapped
from ..drawing.panels import (
    angle_axis,
    given_axes,
    leftmost,
    letter_panels,
    lowest,
    panel_columns,
    panel_grid,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import styled
from ..select import CURVES, around, interval_percent, spoken, unrolled
from ..tables.oracle import TREATMENTS
from .residuals import turned

_LABELS = {
    "accuracy": "accuracy",
    "agreement": "agreement with the\nuntransformed prediction",
    "logit_residual": "residual of the logits\n(fraction of variance)",
}
_XLABELS = {"rotation": "angle (degrees)", "scaling": "scale factor"}
_LOOKS: dict[str, Style] = {
    "nothing": Style(TREATMENTS["nothing"], BLACK, "", ":"),
    **{name: rung_of(name) for name in TREATMENTS if name != "nothing"},
}
_UPRIGHT = 26.0  # millimetres of a line of an upright tick label
_SEVERAL = 3  # transformations of a kind from which they make a curve


@styled
def plot_oracle(
    result: OracleResult,
    measure: str = "accuracy",
    transforms: str | Sequence[str] | None = None,
    *,
    axes: Axes | Sequence[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw a measure of the oracle against depth, or against angle where there are several.

    `measure` is "accuracy", "agreement" or "logit_residual". By default, three rotations or
    scalings or more are drawn as curves against angle or factor, a panel per layer, with intervals
    over the evaluation images as bands. Fewer, other kinds, and those that `transforms` names are
    drawn against depth, a panel per transformation (by default the first four that move
    anything): treatments of one layer's maps as points in the order of the layers, what is done
    to the input, or not at all, as horizontal lines. Channel maps that are not determined are
    left out. With `axes`, one per panel, the legend is left to the caller. `width` is millimetres,
    as in `plot_residuals`.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge.

    Raises ProbeError for unknown measures and transformations, and for accuracies without labels.
    """
    if measure not in MEASURES:
        raise ProbeError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
    table = result.accuracy
    if table[measure].isna().all():
        raise ProbeError("these images have no labels; draw 'agreement' or 'logit_residual'")
    layers = [n for n in dict.fromkeys(result.axes["layer"]) if n != "input"]
    kinds = _curved(table) if transforms is None else []
    if kinds:
        figure, panels = _against_angle(table, kinds, layers, measure, axes, width)
    else:
        names = _named(result, transforms)
        figure, panels = _against_depth(table, names, layers, measure, axes, width)
    _limits(panels, measure)
    if axes is None:
        letter_panels(panels)
        legend_below(
            figure, _handles(f"{interval_percent(result)} interval", bands=bool(kinds)), most=3
        )
    return figure


def _curved(table: pd.DataFrame) -> list[str]:
    """Kinds of which there are enough to be drawn against one number."""
    moves = table.drop_duplicates("transform")
    moves = moves[~moves["identity"].astype(bool)]
    return [
        kind
        for kind in CURVES
        if (own := moves.loc[moves["kind"] == kind, "transform"]).size >= _SEVERAL
        and not own.str.contains(",").any()
    ]


def _named(result: OracleResult, transforms: str | Sequence[str] | None) -> list[str]:
    table = result.accuracy
    if transforms is None:
        moving = table[~table["identity"].astype(bool)]["transform"].unique().tolist()
        names = moving[:4] or list(result.axes["transform"][:1])
    else:
        names = [transforms] if isinstance(transforms, str) else list(transforms)
    for name in names:
        result.table(name)  # refuses unknown ones
    return names


def _against_depth(
    table: pd.DataFrame,
    names: Sequence[str],
    layers: Sequence[str],
    measure: str,
    axes: Axes | Sequence[Axes] | None,
    width: float | None,
) -> tuple[Figure, list[Axes]]:
    columns = panel_columns([len(names)], width)
    room = panel_room(columns, width)
    # A tick label has no more than this, in millimetres; beyond that, labels stand upright.
    upright = turned(layers, (room - 2) / len(layers))
    ticks = [wrapped(name, _UPRIGHT, 7.0) if upright else name for name in layers]
    heads: Sequence[str] = [spoken(name) for name in names]
    if axes is None:
        heads, taller = titles(heads, room)
        taller += max(48.0, 40.0 + max(text_width(one, 7.0) for one in ticks)) if upright else 48.0
        figure, panels = panel_grid(
            [len(names)], row_height=taller, extra=6.0, columns=columns, width=width
        )
        left = leftmost([len(names)], columns)
    else:
        figure, panels = given_axes(axes, len(names))
        left = [True] * len(panels)
    for name, head, ax, first in zip(names, heads, panels, left, strict=True):
        _depth_panel(ax, table[table["transform"] == name], layers, measure)
        ax.set_title(head)
        ax.set_xticks(range(len(layers)), ticks, rotation=90 if upright else 0)
        ax.set_xlim(-0.4, len(layers) - 0.6)
        if first:
            ax.set_ylabel(_LABELS[measure])
    return figure, panels


def _depth_panel(ax: Axes, rows: pd.DataFrame, layers: Sequence[str], measure: str) -> None:
    for treatment in ON_INPUT:
        look = _LOOKS[treatment]
        (row,) = rows[rows["treatment"] == treatment].to_dict("records")
        ax.axhline(
            row[measure],
            color=look.colour,
            linestyle=look.line,
            label=TREATMENTS[treatment],
            zorder=1,
        )
        ax.axhspan(
            row[f"{measure}_low"], row[f"{measure}_high"], color=look.colour, alpha=0.15, lw=0
        )
    for shift, treatment in enumerate(AT_LAYER):
        look = _LOOKS[treatment]
        own = rows[rows["treatment"] == treatment].set_index("layer").reindex(layers)
        value, low, high = (own[f"{measure}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
        # A percentile interval may leave the value out by a hair; a bar has no negative length.
        ends = np.clip([value - low, high - value], 0, None)
        ax.errorbar(
            np.arange(len(layers)) + 0.1 * (shift - 1), value, ends, color=look.colour,
            marker=look.marker, markeredgewidth=0, markersize=3.4, linestyle=look.line,
            elinewidth=0.8, capsize=1.8, capthick=0.8, label=TREATMENTS[treatment], zorder=3,
        )  # fmt: skip


def _against_angle(
    table: pd.DataFrame,
    kinds: Sequence[str],
    layers: Sequence[str],
    measure: str,
    axes: Axes | Sequence[Axes] | None,
    width: float | None,
) -> tuple[Figure, list[Axes]]:
    blocks = [len(layers)] * len(kinds)
    wanted = min(len(layers), 4 if len(layers) % 3 else 3)  # rows as full as can be
    wanted = panel_columns(blocks, width, most=wanted)
    room = panel_room(wanted, width)
    heads = [layer for _ in kinds for layer in layers]
    if axes is None:
        heads, taller = titles(heads, room)
        figure, panels = panel_grid(
            blocks, row_height=(42.0 if room < 100 and wanted > 1 else 50.0) + taller, extra=4.0,
            columns=wanted, width=width,
        )  # fmt: skip
        left, low = leftmost(blocks, wanted), lowest(blocks, wanted)
    else:
        figure, panels = given_axes(axes, sum(blocks))
        left = low = [True] * len(panels)
    places = [(kind, layer) for kind in kinds for layer in layers]
    for place, (kind, layer) in enumerate(places):
        ax = panels[place]
        rows = table[(table["kind"] == kind) & table["layer"].isin(["input", layer])]
        _angle_panel(ax, rows, kind, measure, labels=5 if room < 45 else 7)
        ax.set_title(heads[place])
        if low[place]:
            ax.set_xlabel(_XLABELS[kind])
        if left[place]:
            ax.set_ylabel(_LABELS[measure])
    return figure, panels


def _angle_panel(ax: Axes, rows: pd.DataFrame, kind: str, measure: str, *, labels: int) -> None:
    for order, treatment in enumerate((*ON_INPUT, *AT_LAYER)):
        look = _LOOKS[treatment]
        own = rows[rows["treatment"] == treatment].sort_values("parameter", kind="stable")
        x = own["parameter"].to_numpy(dtype=float)
        index = around(x) if kind == "rotation" else np.arange(len(x))
        value, low, high = (
            own[f"{measure}{end}"].to_numpy(dtype=float)[index] for end in ("", "_low", "_high")
        )
        x = unrolled(x) if kind == "rotation" else x
        ax.fill_between(x, low, high, color=look.colour, alpha=0.25, linewidth=0, zorder=1)
        ax.plot(
            x, value, color=look.colour, linestyle=look.line, marker=look.marker or None,
            markersize=2.6, markeredgewidth=0, label=TREATMENTS[treatment], zorder=2 + order / 10,
        )  # fmt: skip
    if kind == "rotation":
        angle_axis(ax, x.min(), x.max(), labels=labels)
        ax.set_xlim(x.min(), x.max())
    else:
        scale_axis(ax, x.min(), x.max())
        ax.set_xlim(x.min() / 1.03, x.max() * 1.03)


def _limits(panels: Sequence[Axes], measure: str) -> None:
    """One vertical axis for all panels, with room for points and lines that lie on its ends."""
    top = 1.0
    if measure == "logit_residual":
        top = max(float(ax.dataLim.y1) for ax in panels)
        top = top if np.isfinite(top) and top > 0 else 1.0
    for ax in panels:
        ax.set_ylim(-0.04 * top, 1.04 * top)


def _handles(interval: str, *, bands: bool) -> list[Any]:
    handles: list[Any] = []
    for treatment, look in _LOOKS.items():
        handles.append(
            Line2D(
                [], [], color=look.colour, marker=look.marker, linestyle=look.line, markersize=3.4,
                markeredgewidth=0, label=TREATMENTS[treatment],
            )
        )  # fmt: skip
    if bands:
        handles.append(Patch(facecolor=VERMILLION, alpha=0.25, label=interval))
    else:
        handles.append(
            Line2D(
                [], [], color=VERMILLION, marker="|", markersize=8, linestyle="none", label=interval
            )
        )
    return handles
