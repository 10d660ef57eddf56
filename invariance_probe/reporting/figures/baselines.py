"""Baselines of other papers beside our residuals: a row per layer, a panel per measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...errors import ProbeError
from ...probing.baseline_measures.table import ALL, OUTPUT
from ...probing.rungs import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from ..drawing.fitting import legend_below, text_width, wrapped
from ..drawing.panels import given_axes
from ..drawing.style import FAINT, SHADE, WIDE, checked_width, new_figure, styled

_LOOKS = ((VERMILLION, "o"), (BLUE, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"))
_NAMES, _LEAST = 0.3, 21.0  # share of the width that names may take; millimetres of a panel
_GENERATORS = {"rotation": "rotation", "scaling": "scaling", "translation": "translation_x"}


@dataclass(frozen=True)
class _Panel:
    """One measure: of maps moved back by h⁻¹ (filled), and of maps as they are (open)."""

    title: str
    label: str
    filled: str
    open: str | None = None
    span: tuple[float | None, float | None] = (None, None)
    log: bool = False


_PANELS = (
    _Panel("residual", "of variance", "inverse", "unaligned", (0, None)),
    _Panel("gain", "of what the\naligned input wins", "gain", None, (None, 1)),
    _Panel("normalised\nvariance", "TV/SV", "same_equivariance", "normalised_variance", (0, None)),
    _Panel("same-equiv.\ndistance", "activation", "same_equivariance_distance", None, (0, None)),
    _Panel("EQ PSNR", "dB", "eq_psnr"),
    _Panel("linear CKA", "similarity", "cka_inverse", "cka_unaligned", (0, 1)),
    _Panel("Lie\nderivative", "per variance", "lie_derivative_relative", None, log=True),
)


@styled
def plot_baselines(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    layers: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw every measure of a table of `baselines` against depth, one panel a measure.

    `tables` is one table or several by name, such as one a kind of transformation; they are told
    apart by colour and mark. Filled marks are of maps moved back by h⁻¹, open ones of maps as they
    are; bars are intervals where there are any. Grey, in the panel of residuals, is the band
    between floor and ceiling. Values are those over all transformations of a table; the Lie
    derivative is that of the generator of the table's kind. Measures that no table has are left
    out, and so are points that are not finite. `width` is millimetres, as in `plot_residuals`.

    Raises ProbeError for an unknown layer, and where there is nothing to draw.
    """
    given = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    if not given or not all(len(table) for table in given.values()):
        raise ProbeError("no baselines to draw; give tables that baselines(...) returned")
    names = _layers(given, layers)
    here = set().union(*(set(table["measure"]) for table in given.values()))
    panels = [panel for panel in _PANELS if {panel.filled, panel.open} & here]
    wide = checked_width(width) or WIDE
    ticks = [wrapped(name, _NAMES * wide, 7.0) for name in names]
    columns = len(panels)
    if axes is None:
        if width is not None:
            beside = 6.0 + max(text_width(one, 7.0) for one in ticks)
            fit = max(1, min(columns, int((wide - beside) // _LEAST)))
            columns = -(-columns // -(-columns // fit))  # rows of nearly equal length
        rows = -(-len(panels) // columns)
        line = max(5.0, 3.6 * len(given), 3.0 * max(1 + one.count("\n") for one in ticks))
        figure: Figure = new_figure(wide, 10.0 + rows * (20.0 + len(names) * line))
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        chosen = list(grid.flat)
        for spare in chosen[len(panels) :]:
            spare.remove()
        chosen = chosen[: len(panels)]
    else:
        figure, chosen = given_axes(axes, len(panels))
    for place, (panel, ax) in enumerate(zip(panels, chosen, strict=True)):
        for number, table in enumerate(given.values()):
            _draw(ax, panel, table, names, number, len(given))
        _finish(ax, panel, ticks, first=place % columns == 0)
    if axes is None:
        legend_below(figure, _handles(list(given)), most=3 + len(given))
    return figure


def _layers(given: Mapping[str, pd.DataFrame], layers: str | Iterable[str] | None) -> Sequence[str]:
    there = [
        name
        for name in dict.fromkeys(n for table in given.values() for n in table["layer"])
        if name != OUTPUT
    ]
    if layers is None:
        return there
    asked = [layers] if isinstance(layers, str) else list(layers)
    for name in asked:
        if name not in there:
            raise ProbeError(f"no layer {name!r} in these baselines; there are {', '.join(there)}")
    return asked or there


def _values(
    table: pd.DataFrame, measure: str | None, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, low and high of a measure over all transformations, one entry a layer."""
    kind = str(table.loc[table["transform"] == ALL, "kind"].iloc[0])
    which = _GENERATORS.get(kind, "") if str(measure).startswith("lie") else ALL
    rows = table[(table["measure"] == measure) & (table["transform"] == which)]
    rows = rows.set_index("layer").reindex(list(names))
    value, low, high = (rows[n].to_numpy(dtype=float) for n in ("value", "low", "high"))
    return np.where(np.isfinite(value), value, np.nan), low, high


def _draw(
    ax: Axes, panel: _Panel, table: pd.DataFrame, names: Sequence[str], number: int, of: int
) -> None:
    colour, marker = _LOOKS[number % len(_LOOKS)]
    shift = 0.0 if of == 1 else 0.44 * (number / (of - 1) - 0.5)
    y = np.arange(len(names)) + shift
    if panel.filled == "inverse":
        floor, ceiling = (_values(table, n, names)[0] for n in ("input_aligned", "other_image"))
        height = 0.7 if of == 1 else 0.44 / (of - 1) - 0.04
        ax.barh(y, ceiling - floor, left=floor, height=height, color=SHADE, zorder=1)
    for measure, face in ((panel.open, "white"), (panel.filled, colour)):
        value, low, high = _values(table, measure, names)
        if panel.log:
            value = np.where(value > 0, value, np.nan)
        if not np.isfinite(value).any():
            continue
        whole = np.isfinite(low) & np.isfinite(high) & np.isfinite(value)
        ax.hlines(y[whole], low[whole], high[whole], color=colour, linewidth=0.8, zorder=3)
        ax.plot(
            value, y, linestyle="none", marker=marker, markersize=3.6, color=colour,
            markerfacecolor=face, markeredgewidth=0.8, zorder=4, clip_on=False,
        )  # fmt: skip


def _finish(ax: Axes, panel: _Panel, names: Sequence[str], first: bool) -> None:
    ax.set_title(panel.title)
    ax.set_xlabel(panel.label)
    ax.set_ylim(len(names) - 0.5, -0.5)
    # Panels share their y axis: names set in one are set in all, and only shown at the left.
    ax.set_yticks(np.arange(len(names)), list(names))
    ax.tick_params(axis="y", length=0, labelleft=first)
    for place in range(1, len(names)):
        ax.axhline(place - 0.5, color=FAINT, linewidth=0.4, zorder=0)
    if panel.log:
        _log_axis(ax)
        return
    low, high = panel.span
    if panel.filled == "recovered":
        ax.axvline(0, color=GREY, linewidth=0.5, zorder=1)
        low = min(0.0, ax.get_xlim()[0])
    ax.set_xlim(low, high)
    ax.locator_params(axis="x", nbins=3, min_n_ticks=2)


def _log_axis(ax: Axes) -> None:
    """Whole decades about what is drawn; labels at both ends and, where short, between."""
    points = [line.get_xdata() for line in ax.lines if line.get_marker() != "None"]
    values = np.concatenate([np.zeros(0), *(np.asarray(part, dtype=float) for part in points)])
    values = values[np.isfinite(values)]
    ax.set_xscale("log")
    low, high = 0.0, 0.0
    if len(values):
        low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    if high == low:
        low, high = low - 1, high + 1
    # Long names leave no room for a third.
    number = 3 if max(abs(low), abs(high)) < 3 else 2
    powers = np.unique(np.round(np.linspace(low, high, number)))
    texts = [f"{10.0**p:g}" if abs(p) < 3 else f"1e{p:.0f}".replace("-", "−") for p in powers]
    ax.set_xticks(10.0**powers, texts)
    ax.minorticks_off()
    ax.set_xlim(10.0**low, 10.0**high)


def _handles(names: Sequence[str]) -> list[Line2D]:
    def mark(label: str, colour: str, marker: str, face: str) -> Line2D:
        return Line2D(
            [], [], label=label, linestyle="none", color=colour, marker=marker, markersize=3.6,
            markerfacecolor=face, markeredgewidth=0.8,
        )  # fmt: skip

    handles = [
        mark(name, *_LOOKS[number % len(_LOOKS)], _LOOKS[number % len(_LOOKS)][0])
        for number, name in enumerate(names)
        if name
    ]
    handles.append(mark("maps moved back by h⁻¹", GREY, "o", GREY))
    handles.append(mark("maps as they are", GREY, "o", "white"))
    band = Line2D([], [], color=SHADE, linewidth=5, label="floor to ceiling")
    return [*handles, band]
