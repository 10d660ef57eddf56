"""What remains misaligned after the transformation a network learned, beside what was possible."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import parse_transforms
from invariance_probe.probing.oracles.learned import LEARNED
from invariance_probe.probing.rungs import GREEN, Style, rung_of
from invariance_probe.reporting.drawing.panels import (
    angle_axis,
    leftmost,
    letter_panels,
    panel_columns,
    panel_grid,
    scale_axis,
)
from invariance_probe.reporting.drawing.style import RESIDUAL, SHADE, styled

_LEARNED = Style("learned alignment", GREEN, "D", "-")
_CURVES = ("unaligned", "inverse", "best", "inverse_linear", LEARNED)
_LABELS = {
    "rotation": "angle (degrees)",
    "scaling": "scale factor",
    "translation": "shift along x or y (px)",
}


@styled
def plot_learned(
    table: pd.DataFrame, kind: str = "rotation", *, width: float | None = None
) -> Figure:
    """Draw the learned residual against the transformation, a panel per network.

    `table` is what `learned_residuals` returns, of one network or several concatenated; with a
    column `seed` curves are means over the seeds of a network, and bands reach from the lowest to
    the highest end of their bootstrap intervals. `kind` is "rotation", "scaling" or "translation",
    of which those along x or y are shown, the mean of both at the same shift; `width` is in
    millimetres.

    Beside the learned alignment stand what is there without one, and what undoing the
    transformation on the maps, the best spatial alignment and a linear map of the channels after
    the inverse would leave, all of the same network with its transformers at the identity. Grey is
    the band between floor (input aligned) and ceiling (maps of another image).

    Raises ProbeError where the table has no transformation of that kind, and for other kinds.
    """
    shown = _shown(table, kind)
    names = list(dict.fromkeys(shown["network"]))
    columns = panel_columns([len(names)], width)
    legend = 14.0 if columns > 1 or (width or 0) > 120 else 18.0
    figure, axes = panel_grid([len(names)], row_height=44.0, extra=legend, width=width)
    for name, ax, left in zip(names, axes, leftmost([len(names)], columns), strict=True):
        own = shown[shown["network"] == name]
        _draw(ax, own)
        ax.set_title(f"{name}, {own['layer'].iloc[0]}")
        low, high = own["parameter"].min(), own["parameter"].max()
        if kind == "rotation":
            angle_axis(ax, low, high, labels=5)
        elif kind == "scaling":
            scale_axis(ax, low, high)
        ax.set_xlabel(_LABELS[kind])
        if left:
            ax.set_ylabel(RESIDUAL)
    top = 1.04 * float(shown.loc[shown["rung"].isin((*_CURVES, "other_image")), "high"].max())
    axes[0].set_ylim(0, top)
    letter_panels(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if columns < 3 else 3)
    return figure


def _draw(ax: Axes, own: pd.DataFrame) -> None:
    """Band of floor and ceiling, and every curve with its own band."""
    curves = {}
    for rung, part in own.groupby("rung"):
        # Low and high ends of all seeds and both axes; their mean is the curve.
        ends = {"residual": "mean", "low": "min", "high": "max"}
        curves[rung] = part.groupby("parameter").agg(ends)
    floor, ceiling = curves["input_aligned"], curves["other_image"]
    ax.fill_between(
        floor.index, floor["residual"], ceiling["residual"],
        color=SHADE, linewidth=0, zorder=0, label="floor to ceiling",
    )  # fmt: skip
    for rung in _CURVES:
        if rung not in curves:
            continue
        style = _LEARNED if rung == LEARNED else rung_of(rung)
        part = curves[rung]
        ax.plot(
            part.index, part["residual"], color=style.colour, marker=style.marker,
            linestyle=style.line, label=style.label,
        )  # fmt: skip
        ax.fill_between(
            part.index, part["low"], part["high"], color=style.colour, alpha=0.2, linewidth=0
        )


def _shown(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The rows of a kind and of the identity, with the number that they are drawn against."""
    if kind not in _LABELS:
        raise ProbeError(f"no figure of kind '{kind}'; there are {', '.join(_LABELS)}")
    rows = table[table["kind"].isin((kind, "identity"))].copy()
    moves = {text: parse_transforms(text)[0] for text in rows["transform"].unique()}
    places: dict[str, float | None] = {}
    for text, move in moves.items():
        if move.kind == "identity":
            places[text] = 1.0 if kind == "scaling" else 0.0
        elif kind == "translation":
            x, y = move.parameters
            places[text] = x + y if 0 in (x, y) else None
        else:
            places[text] = move.parameter if len(set(move.parameters)) == 1 else None
    rows["parameter"] = rows["transform"].map(places).astype(float)
    rows = rows[rows["parameter"].notna()]
    if not (rows["kind"] == kind).any():
        kinds = ", ".join(sorted(set(table["kind"])))
        raise ProbeError(f"no transformations of kind '{kind}' in the table; it has {kinds}")
    return rows
