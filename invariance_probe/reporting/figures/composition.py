"""Whether channel maps compose as the transformations do: composed beside direct residuals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from ...errors import ProbeError
from ...probing import Result
from ...probing.rungs import BLACK, BLUE, VERMILLION
from ..drawing.fitting import legend_below
from ..drawing.panels import (
    angle_axis,
    given_axes,
    label_shared,
    letter_panels,
    panel_columns,
    panel_grid,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import FAINT, RESIDUAL, styled
from ..select import around, choose_layers, moves_of, unrolled
from .channels import check_channels

_LOW, _HIGH = 1e-3, 10.0
_SERIES = {
    "direct_linear": ("linear map, direct", VERMILLION, "", "-"),
    "direct_orthogonal": ("orthogonal map, direct", BLUE, "", (0, (3, 0.6))),
    "composed_linear": ("linear maps composed", VERMILLION, "X", "-"),
    "composed_orthogonal": ("orthogonal maps composed", BLUE, "P", (0, (4, 2))),
}


@styled
def plot_composition(
    result: Result,
    layers: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw held-out residuals of composed channel maps A_step·A_h beside the direct A_(step·h).

    Against the angle or scale of the product, on a logarithmic axis; where the two coincide the
    channels carry the transformations as a group. Over a full turn, the points at the right are
    the step taken all the way round, A_stepⁿ, against the originals. A direct map of the identity
    has residual 0 and is not drawn. Arrows stand for values beyond the axis. A panel per layer.
    `width` is millimetres, as in `plot_residuals`.

    Raises ProbeError for an unknown layer and for results in which no product of two
    transformations is there to compare with.
    """
    check_channels(result)
    table = result.composition
    names = [name for name in choose_layers(result, layers) if name in set(table["layer"])]
    if not names:
        raise ProbeError(
            "no composed channel maps in this result; probe a sequence of rotations or scalings "
            "that holds its own products, such as rotation:-180:180:30, with enough images"
        )
    columns = panel_columns([len(names)], width)
    room = panel_room(columns, width, 19.0)  # labels such as 0.001 are wide
    heads = names
    if axes is None:
        heads, taller = titles(names, room)
        figure, chosen = panel_grid(
            [len(names)], row_height=(44.0 if room < 45 else 50.0) + taller, extra=4.0,
            columns=columns, width=width,
        )  # fmt: skip
    else:
        figure, chosen = given_axes(axes, len(names))
    moves = moves_of(result).set_index("transform")
    for place, (name, ax) in enumerate(zip(names, chosen, strict=True)):
        rows = table[table["layer"] == name]
        kind = str(rows["first"].iloc[0]).partition(":")[0]
        _panel(ax, rows, moves, kind, room=room if axes is None else 60.0)
        ax.set_title(heads[place])
        said = "product (degrees)" if kind == "rotation" else "product (scale)"
        if axes is not None:
            ax.set(xlabel=said, ylabel=RESIDUAL)
    if axes is None:
        label_shared(chosen, columns, said, RESIDUAL)
        letter_panels(chosen)
        handles, _ = chosen[0].get_legend_handles_labels()
        closes = bool((table["kind"] == "closure").any())
        if closes:
            number = str(table.loc[table["kind"] == "closure", "second"].iloc[0]).partition(" ")[0]
            for said in (f"{number}×: the step, all the way round", "arrow: beyond the axis"):
                handles.append(Patch(facecolor="none", label=said))
        legend_below(figure, handles, most=3 if closes else 4)
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, moves: pd.DataFrame, kind: str, *, room: float) -> None:
    crowded = room < 45
    pairs = rows[rows["kind"] == "pair"]
    value = moves.loc[pairs["product"], "parameter"].to_numpy(dtype=float)
    still = moves.loc[pairs["product"], "identity"].to_numpy(dtype=bool)
    place = np.where(still, 0.0 if kind == "rotation" else 1.0, value)
    order = np.argsort(place, kind="stable")
    place, still, pairs = place[order], still[order], pairs.iloc[order]
    if kind == "rotation" and len(place):
        again = around(place)
        place, still, pairs = unrolled(place), still[again], pairs.iloc[again]
    ends = (-180.0, 180.0) if kind == "rotation" and len(place) else (0.5, 2.0)
    if len(place):
        ends = (float(place.min()), float(place.max()))
    closure = rows[rows["kind"] == "closure"]
    aside = ends[1] + (0.26 if crowded else 0.16) * max(ends[1] - ends[0], 60.0)
    for column, (label, colour, marker, line) in _SERIES.items():
        y = pairs[column].to_numpy(dtype=float).copy()
        if column.startswith("direct"):
            y[still] = np.nan
        _line(ax, place, y, colour, marker, line, label)
        if len(closure) and column.startswith("composed"):
            _line(ax, np.array([aside]), closure[column].to_numpy(dtype=float), colour, marker, "")
    ax.axhline(1.0, color=FAINT, linewidth=0.5, zorder=0)
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(_LOW, _HIGH)
    ax.set_yticks([0.001, 0.01, 0.1, 1, 10], ["0.001", "0.01", "0.1", "1", "10"])
    ax.yaxis.set_minor_locator(NullLocator())
    if kind != "rotation":
        scale_axis(ax, *ends)
        if ends[1] > ends[0]:
            ax.set_xlim(ends[0] / 1.06, ends[1] * 1.06)
        return
    angle_axis(ax, *ends, labels=2 if room < 45 else 4 if room < 60 else 6)
    if len(closure):
        turns = str(closure["second"].iloc[0]).partition(" ")[0]
        ax.set_xlim(ends[0], aside + 0.5 * (aside - ends[1]))
        ax.axvline((ends[1] + aside) / 2, color=BLACK, linewidth=0.4, zorder=0)
        ax.annotate(
            f"{turns}×", (aside, 0), xycoords=("data", "axes fraction"), xytext=(0, -4.5),
            textcoords="offset points", ha="center", va="top", fontsize=7,
        )  # fmt: skip


def _line(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    colour: str,
    marker: str,
    line: object,
    label: str | None = None,
) -> None:
    beyond, below = y > _HIGH, y < _LOW
    inside = np.where(beyond | below, np.nan, y)
    ax.plot(
        x, inside, color=colour, linestyle=line, marker=marker or None, markersize=3.4,
        markeredgewidth=0, label=label, linewidth=1.1 if marker else 3.2,
        alpha=1.0 if marker else 0.35,  # broad and pale: seen also below the composed one
    )  # fmt: skip
    for which, edge, arrow in ((beyond, _HIGH, "^"), (below, _LOW, "v")):
        if which.any():
            ax.plot(
                x[which], np.full(int(which.sum()), edge), color=colour, linestyle="none",
                marker=arrow, markersize=4.0, markeredgewidth=0, clip_on=False,
            )  # fmt: skip
