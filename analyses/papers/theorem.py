"""The theorem in one figure: what h⁻¹ on the maps undoes, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.probing.rungs import (
    BLACK,
    BLUE,
    CEILING,
    FLOOR,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
)
from invariance_probe.reporting.drawing.fitting import LINE, legend_below, wrapped
from invariance_probe.reporting.drawing.panels import angle_axis, panel_room, scale_axis
from invariance_probe.reporting.drawing.style import (
    FAINT,
    RESIDUAL,
    WIDE,
    checked_width,
    new_figure,
    styled,
)
from invariance_probe.reporting.select import (
    around,
    as_results,
    choose_layers,
    interval_percent,
    unrolled,
)

_BESIDE = 160.0  # millimetres, the narrowest figure of three panels side by side
KINDS = ("translation", "rotation", "scaling")
_TITLES = {
    "translation": "translation: aligns",
    "rotation": "rotation: symmetric filters align",
    "scaling": "scaling: 1x1 filters align",
}
_XLABELS = {
    "translation": "shift (pixels)",
    "rotation": "angle (degrees)",
    "scaling": "scale factor",
}
_LOOKS = ((VERMILLION, "s"), (BLUE, "^"), (GREEN, "o"), (PURPLE, "D"), (ORANGE, "v"), (GREY, "P"))
_RUNGS = ("inverse", "inverse_orthogonal", FLOOR, CEILING)


def theorem_table(
    networks: Mapping[str, Result | Sequence[Result]],
    gaussian: Result | None = None,
    layers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The numbers of `plot_theorem`: one row per network, transformation and rung.

    Columns `network`, `layer`, `transform`, `kind`, `parameter` (degrees, factor, or the signed
    length of a shift in pixels), `rung` (inverse, inverse_orthogonal where measured, floor,
    ceiling), `residual`, `low`, `high`, `images`, and `expected`: 2 − 2 cos θ for rotations of
    `gaussian`, 0 at the identity, else NaN. Networks take the first layer of their result unless
    `layers` names another one.

    Raises ProbeError for an unknown layer and where no network is given.
    """
    if not networks:
        raise ProbeError("no network to compare; give results by name, such as {'CNN': result}")
    given: list[tuple[str, Result]] = []
    for name, result in networks.items():
        given += [(name, one) for one in as_results(result)]
    if gaussian is not None:
        given.append(("Gaussian derivatives", gaussian))
    tables = []
    for name, result in given:
        layer = choose_layers(result, (layers or {}).get(name))[0]
        rows = result.residuals
        rows = rows[(rows["layer"] == layer) & rows["rung"].isin(_RUNGS)].copy()
        shift = (rows["kind"] == "translation").to_numpy()
        place = rows["parameter"].to_numpy(dtype=float).copy()
        place[shift] = [_length(text) for text in rows["transform"][shift]]
        rows["parameter"] = place
        expected = np.where(rows["identity"].astype(bool), 0.0, np.nan)
        if result is gaussian:
            turned = (rows["kind"] == "rotation").to_numpy()
            expected[turned] = 2 - 2 * np.cos(np.radians(place[turned]))
        expected[~(rows["rung"] == "inverse").to_numpy()] = np.nan
        rows.insert(0, "network", name)
        rows["expected"] = expected
        tables.append(rows.drop(columns="identity"))
    return pd.concat(tables, ignore_index=True)


def _length(text: str) -> float:
    """Signed length of a shift given as "translation:dx,dy": along x, or else along y.

    >>> _length("translation:-3,4"), _length("translation:2,0")
    (-5.0, 2.0)
    """
    dx, dy = (float(part) for part in text.partition(":")[2].split(","))
    return float(np.hypot(dx, dy)) * (1.0 if (dx or dy) >= 0 else -1.0)


@styled
def plot_theorem(
    networks: Mapping[str, Result | Sequence[Result]],
    gaussian: Result | None = None,
    layers: Mapping[str, str] | None = None,
    *,
    width: float | None = None,
) -> Figure:
    """Draw the residual after h⁻¹ for translations, rotations and scalings of several networks.

    `networks` are results by name, with all three kinds of transformations or several results of
    one kind each. Every network has its floor (dotted) and ceiling (thin, dashed). Below stand the
    measured points of Gaussian first derivatives on the analytic curve 2 − 2 cos θ, and what is
    left of them after an orthogonal channel map; beside them the numbers at 90°, where
    images turn pixel by pixel. Layers as in `theorem_table`, which gives the numbers. `width` is
    millimetres, 170 by default; below 120 there are two panels a row.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge.

    Source: Finnveden, Jansson and Lindeberg, arXiv 2004.11678.

    Raises ProbeError as `theorem_table`, and where there is no such transformation.
    """
    table = theorem_table(networks, gaussian, layers)
    names = list(networks)
    if not table["kind"].isin(KINDS).any():
        raise ProbeError("no translation, rotation or scaling in these results; probe some")
    figure, places = _canvas(checked_width(width) or WIDE, table, gaussian is not None)
    narrow = figure.get_figwidth() * 25.4 < _BESIDE
    room = panel_room(2, 25.4 * figure.get_figwidth()) if narrow else WIDE
    top = [figure.add_subplot(place) for place in places[:3]]
    above = table.loc[table["network"].isin(names), ["residual", "high"]].to_numpy(dtype=float)
    high = float(np.nan_to_num(above).max())
    for place, (ax, kind) in enumerate(zip(top, KINDS, strict=True)):
        _curves(ax, table, names, kind)
        ax.set_title(wrapped(_TITLES[kind], room))
        ax.set_xlabel(_XLABELS[kind])
        ax.set_ylim(0, 1.04 * min(max(high, 2.0), 4.0))
        first = place == 0 or (narrow and place == 2)
        ax.tick_params(labelleft=first)
        if first:
            ax.set_ylabel(RESIDUAL)
    own = table[table["network"] == "Gaussian derivatives"] if gaussian is not None else None
    if own is not None:
        _analytic(figure.add_subplot(places[3]), own, room)
    _numbers(figure.add_subplot(places[4]), table, step=1.0 if narrow else 0.13)
    level = interval_percent(as_results(networks[names[0]])[0])
    legend_below(figure, _handles(names, table, level), most=min(4, len(names) + 1))
    return figure


def _canvas(width: float, table: pd.DataFrame, gaussian: bool) -> tuple[Figure, list[SubplotSpec]]:
    """The figure; places of the three kinds, of the curve of Gaussian derivatives, of numbers."""
    if width >= _BESIDE:
        figure = new_figure(width, 106.0)
        grid = figure.add_gridspec(2, 6, height_ratios=(1.0, 0.92))
        top = [grid[0, 2 * place : 2 * place + 2] for place in range(3)]
        return figure, [*top, grid[1, :3], grid[1, 3:] if gaussian else grid[1, :]]
    tall = 10.0 + LINE * (table["network"].nunique() + 1 + 2 * gaussian)
    figure = new_figure(width, 102.0 + tall)
    grid = figure.add_gridspec(3, 2, height_ratios=(51.0, 51.0, tall))
    return figure, [grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1], grid[2, :]]


def _curves(ax: Axes, table: pd.DataFrame, names: Sequence[str], kind: str) -> None:
    rows = table[(table["kind"] == kind) & table["network"].isin(names)]
    if rows.empty:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center")
        return
    for number, name in enumerate(names):
        colour, marker = _LOOKS[number % len(_LOOKS)]
        by_rung = {
            str(rung): part.sort_values("parameter", kind="stable")
            for rung, part in rows[rows["network"] == name].groupby("rung", sort=False)
        }
        if not by_rung:
            continue
        for rung, line, width in ((CEILING, (0, (5, 2)), 0.6), (FLOOR, ":", 1.0)):
            x, y, _, _ = _closed(by_rung[rung], kind)
            ax.plot(x, y, color=colour, linestyle=line, linewidth=width, zorder=2)
        x, y, low, top = _closed(by_rung["inverse"], kind)
        ax.fill_between(x, low, top, color=colour, alpha=0.2, linewidth=0, zorder=1)
        # Later ones are smaller and on top, so that equal values all show.
        ax.plot(
            x, y, color=colour, marker=marker, markersize=max(4.4 - number, 1.6),
            markeredgewidth=0, zorder=4 + number / 100, clip_on=False,
        )  # fmt: skip
    ends = [line.get_xdata() for line in ax.get_lines()]
    low_end, high_end = (float(end(np.concatenate(ends))) for end in (np.min, np.max))
    if kind == "scaling":
        scale_axis(ax, low_end, high_end)
        if high_end > low_end:
            ax.set_xlim(low_end / 1.03, high_end * 1.03)
    elif kind == "rotation":
        angle_axis(ax, low_end, high_end, labels=5)
        if high_end > low_end:
            ax.set_xlim(low_end, high_end)


def _closed(rows: pd.DataFrame, kind: str) -> list[np.ndarray]:
    """Parameter, residual, low and high; rotations all the way round end where they began."""
    columns = ("parameter", "residual", "low", "high")
    x, *others = (rows[column].to_numpy(dtype=float) for column in columns)
    if kind != "rotation":
        return [x, *others]
    return [unrolled(x), *(values[around(x)] for values in others)]


def _analytic(ax: Axes, rows: pd.DataFrame, room: float) -> None:
    rows = rows[rows["kind"] == "rotation"]
    inverse = rows[rows["rung"] == "inverse"].sort_values("parameter", kind="stable")
    x, y, _, _ = _closed(inverse, "rotation")
    ends = (min(0.0, float(x.min())), max(180.0, float(x.max())))
    angle = np.linspace(*ends, 361)
    ax.plot(angle, 2 - 2 * np.cos(np.radians(angle)), color=FAINT, linewidth=2.4, zorder=1)
    ax.plot(
        x, y, color=BLACK, linestyle="none", marker="o", markersize=3.4,
        markeredgewidth=0, zorder=3, clip_on=False,
    )  # fmt: skip
    mapped = rows[rows["rung"] == "inverse_orthogonal"].sort_values("parameter", kind="stable")
    if np.isfinite(mapped["residual"].to_numpy(dtype=float)).any():
        x, y, _, _ = _closed(mapped, "rotation")
        ax.plot(
            x, y, color=ORANGE, linestyle="none", marker="P", markersize=4.0, markeredgewidth=0,
            zorder=3, clip_on=False,
        )  # fmt: skip
    off = (inverse["residual"] - inverse["expected"]).abs()
    said = f"Gaussian derivatives Lx, Ly: within {_short(float(off.max()))}"
    ax.set_title(wrapped(said, room))
    ax.set_xlabel("angle (degrees)")
    if room > _BESIDE:  # else the panel at its left says so
        ax.set_ylabel(RESIDUAL)
    angle_axis(ax, *ends, labels=7 if room > _BESIDE else 5)
    ax.set_xlim(*ends)
    ax.set_ylim(0, 4.1)
    ax.set_yticks([0, 1, 2, 3, 4])


def _numbers(ax: Axes, table: pd.DataFrame, step: float) -> None:
    """The numbers at 90°, as text in columns; lines at most `step` of the panel apart."""
    turned = (table["kind"] == "rotation") & np.isclose(table["parameter"].astype(float), 90.0)
    rows = table[turned].pivot_table(
        index="network", columns="rung", values="residual", sort=False, dropna=False
    )
    ax.set_axis_off()
    ax.set_title("at 90°, where images turn exactly")
    if rows.empty:
        ax.text(0.02, 0.85, "not measured", transform=ax.transAxes)
        return
    heads = {0.62: "h⁻¹", 0.82: "floor", 1.0: "ceiling"}
    entries: list[dict[float, str]] = [heads]
    for network, row in rows.iterrows():
        numbers = (row["inverse"], row[FLOOR], row[CEILING])
        shown = dict(zip(heads, map(_short, numbers), strict=True))
        entries.append({0.0: str(network), **shown})
        if network == "Gaussian derivatives":
            entries.append({0.0: "  analytic, 2 − 2 cos 90°", 0.62: "2"})
            if np.isfinite(row.get("inverse_orthogonal", np.nan)):
                mapped = _short(float(row["inverse_orthogonal"]))
                entries.append({0.0: "  with orthogonal map", 0.62: mapped})
    step = min(step, 0.95 / len(entries))
    for number, entry in enumerate(entries):
        for place, text in entry.items():
            ax.text(
                place, 0.97 - step * number, text, transform=ax.transAxes, va="top",
                ha="left" if place == 0 else "right", fontsize=7,
            )  # fmt: skip
    ax.plot([0, 1], [0.97 - 0.62 * step] * 2, color=BLACK, linewidth=0.5, transform=ax.transAxes)


def _short(value: float) -> str:
    """A residual as text: two decimals, smaller ones as a power of ten.

    >>> [_short(v) for v in (1.7391, 0.004, 3.2e-13, 0.0)]
    ['1.74', '4×10⁻³', '3×10⁻¹³', '0']
    """
    if not np.isfinite(value):
        return "–"
    if value == 0 or value >= 0.01:
        return f"{value:.2f}" if value else "0"
    digits, _, power = f"{value:.0e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}×10{raised}".replace("-", "−")


def _handles(names: Sequence[str], table: pd.DataFrame, level: str) -> list[Any]:
    def line(label: str, **look: Any) -> Line2D:
        return Line2D([], [], label=label, markeredgewidth=0, **look)

    handles: list[Any] = []
    for number, name in enumerate(names):
        colour, marker = _LOOKS[number % len(_LOOKS)]
        handles.append(line(name, color=colour, marker=marker, markersize=2.8))
    handles.append(Patch(facecolor=GREY, alpha=0.25, label=f"{level} interval"))
    handles.append(line("floor: input aligned", color=GREY, linestyle=":"))
    handles.append(line("ceiling: other image", color=GREY, linestyle=(0, (5, 2)), linewidth=0.6))
    if (table["network"] == "Gaussian derivatives").any():
        handles.append(line("2 − 2 cos θ", color=FAINT, linewidth=2.4))
        handles.append(line("measured", color=BLACK, linestyle="none", marker="o", markersize=3.4))
        handles.append(
            line("with orthogonal map", color=ORANGE, linestyle="none", marker="P", markersize=4)
        )
    return handles
