"""Predicted against applied poses: does a spatial transformer undo what was done to an image?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from numpy.typing import NDArray

from ....errors import ProbeError
from ....probing.rungs import BLACK, VERMILLION
from ....training.poses.statistics import (
    KINDS,
    Line,
    orthogonal_regression,
    pose_deviation,
    unwrap_angles,
    varied_kinds,
)
from ...drawing.fitting import LINE, legend_below
from ...drawing.panels import (
    factor_text,
    given_axes,
    leftmost,
    lowest,
    panel_columns,
    panel_grid,
    panel_room,
    titles,
)
from ...drawing.style import NARROW, WIDE, styled

Array = NDArray[np.float64]

BINS = 110
_BESIDE = 120.0  # millimetres, the narrowest figure of several panels with a colour bar beside them
_MARGIN = 110 / 90  # the reference's histogram reaches ±110° for rotations within ±90°
_RARE = 0.002  # share of predictions that a panel may leave out at either end
_COUNTS = LinearSegmentedColormap.from_list("counts", ["#CFE0F2", "#7FB1DD", "#3A7DBB", "#0B3D78"])
_NAMES = {
    "rotation": ("rotation", "degrees"), "scaling": ("scale factor", ""),
    "translation_x": ("shift in x", "px"), "translation_y": ("shift in y", "px"),
}  # fmt: skip


@styled
def plot_pose_histogram(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    kind: str | None = None,
    *,
    axes: Axes | Sequence[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw how often a pose was predicted for each pose applied, with the regression line.

    `tables` is what `collect_poses` returns, or several by the name of their network; these become
    panels that share axes and colours. `kind` is "rotation", "scaling" (log2 axes), "translation"
    (a row for x and one for y) or one of "translation_x" and "translation_y"; by default the first
    that varies. Bins are 110 per axis. The line is the orthogonal regression, written with its
    equation and the standard deviation of the final pose about its class's mean; the dashed line
    has the slope -1 of perfect alignment. Samples beyond the axes are counted above the panel. With
    `axes`, one per panel, legend and colour bar are left to the
    caller. `width` is millimetres, as in `plot_residuals`.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge; shifts in
    input pixels, x right, y down. Source of the figure: Finnveden, Jansson & Lindeberg, ICPR 2020.

    Raises ProbeError for a kind that is unknown or does not vary.
    """
    named = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    if not named:
        raise ProbeError("no poses to draw; give the table of at least one network")
    kinds = _chosen(named, kind)
    blocks = [len(named)] * len(kinds)
    points = {k: {n: _Points.of(table, k) for n, table in named.items()} for k in kinds}
    boxes = {k: _limits(list(own.values()), k) for k, own in points.items()}
    counts = [[p.histogram(*boxes[k]) for p in own.values()] for k, own in points.items()]
    norm = LogNorm(1, max(2.0, max(float(c.max()) for row in counts for c in row)))
    columns = panel_columns(
        blocks, width, least=33.0, most=len(named) if len(named) <= 4 else 3, margin=14.0
    )
    below = axes is None and columns > 1 and width is not None and width < _BESIDE
    heads = list(named) * len(kinds)
    notes = [p.note(k, found) for k, own in zip(kinds, counts, strict=True)
             for p, found in zip(points[k].values(), own, strict=True)]  # fmt: skip
    if axes is None:
        heads, taller = titles(heads, panel_room(columns, width))
        taller += LINE * (max(note.count("\n") for note in notes) + any(named))
        figure, panels = panel_grid(
            blocks, row_height=_row_height(columns, width, below) + taller,
            extra=18.0 if below else 4.0, columns=columns, width=width, share_y=len(kinds) == 1,
        )  # fmt: skip
        left, low = leftmost(blocks, columns), lowest(blocks, columns)
    else:
        figure, panels = given_axes(axes, sum(blocks))
        left = low = [True] * len(panels)
    places = [(k, n, row) for k, own in zip(kinds, counts, strict=True)
              for n, row in zip(named, own, strict=True)]  # fmt: skip
    for place, (name_of_kind, name, found) in enumerate(places):
        ax = panels[place]
        shown = _panel(ax, points[name_of_kind][name], found, name_of_kind, boxes, norm)
        ax.set_title(f"{heads[place]}\n{notes[place]}".lstrip(), parse_math=False)
        what, unit = _NAMES[name_of_kind]
        gap = "\n" if (columns > 3 or below) and axes is None else " "
        end = f"{gap}({unit})" if unit else ""
        if low[place]:
            ax.set_xlabel(f"applied {what}{end}")
        if left[place]:
            ax.set_ylabel(f"predicted {what}{end}")
    if axes is None:
        bar = figure.colorbar(
            shown, ax=panels, shrink=0.8, aspect=30, pad=0.01,
            location="bottom" if below else "right", panchor=False,
        )  # fmt: skip
        axis = bar.ax.xaxis if below else bar.ax.yaxis
        axis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
        axis.set_minor_formatter(NullFormatter())
        bar.set_label("samples per bin")
        legend_below(figure, _handles(), most=2)
    return figure


@dataclass(frozen=True)
class _Points:
    """Applied and predicted parameters of one network, and what is said about them."""

    x: Array
    y: Array
    deviation: float

    @classmethod
    def of(cls, table: pd.DataFrame, kind: str) -> _Points:
        (part,) = KINDS[kind]
        joined = unwrap_angles(table) if part == "angle" else table
        x, y, final = (
            joined[f"{name}_{part}"].to_numpy(dtype=np.float64)
            for name in ("applied", "predicted", "final")
        )
        known = np.isfinite(x) & np.isfinite(y) & np.isfinite(final)
        if known.sum() < 2:
            raise ProbeError(f"{known.sum()} samples have a finite pose; a line needs at least 2")
        deviation = pose_deviation(final[known], table["label"].to_numpy()[known])
        return cls(x[known], y[known], deviation)

    def histogram(self, across: tuple[float, float], up: tuple[float, float]) -> Array:
        counts, _, _ = np.histogram2d(self.x, self.y, bins=BINS, range=(across, up))
        return counts

    @property
    def line(self) -> Line:
        return orthogonal_regression(self.x, self.y)

    def note(self, kind: str, counts: Array) -> str:
        """The line's equation, the deviation and what lies beyond the axes, each on its line."""
        line, outside = self.line, 1 - counts.sum() / len(self.x)
        said = "no direction" if np.isnan(line.slope) else "vertical"
        if np.isfinite(line.slope):
            said = _equation(line.slope, line.intercept, kind)
        beyond = f"\n{100 * outside:.1f} % outside" if outside > 5e-4 else ""
        return f"{said}\nsd {_spread(self.deviation, kind)}{beyond}"


def _row_height(columns: int, width: float | None, below: bool) -> float:
    """Millimetres of a row of square panels with their title and labels, as wide as they can be.

    A layout of squares ends well where it is clearly either the height or the width that binds.
    """
    wide = width or (NARROW if columns == 1 else WIDE)
    around = 16 if below else 12 if columns == 1 else 20
    return (wide - (14 if below else 29)) / columns - 4 + around


def _chosen(named: Mapping[str, pd.DataFrame], kind: str | None) -> list[str]:
    if kind is not None and kind not in KINDS:
        raise ProbeError(f"no kind of pose {kind!r}; there are {', '.join(KINDS)}")
    for name, table in named.items():
        varied = varied_kinds(table)
        which = f"the poses of {name}" if name else "these poses"
        if not varied:
            raise ProbeError(f"{which}: all samples were transformed alike; nothing to draw")
        kind = kind or ("translation" if varied[0].startswith("translation") else varied[0])
        if kind not in varied:
            raise ProbeError(f"{which} vary in {', '.join(varied)}, not in {kind}; draw those")
    return ["translation_x", "translation_y"] if kind == "translation" else [str(kind)]


def _limits(
    points: Sequence[_Points], kind: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of the applied and the predicted parameter; room for a correction of all.

    Networks may bring all objects to another size or place than the middle: then the range of what
    is predicted lies about what nearly all of them predict.
    """
    low, high = min(p.x.min() for p in points), max(p.x.max() for p in points)
    top = float(max(abs(low), abs(high)))
    if kind == "rotation":
        reach = 110.0 if top <= 110 else 198.0
        return (-reach, reach), (-reach, reach)
    room = (_MARGIN - 1) * (high - low) / 2
    across, up = (low - room, high + room), (-high - room, -low + room)
    if kind != "scaling":
        across = up = (-_MARGIN * top, _MARGIN * top)
    ends = np.array([np.quantile(p.y, [_RARE, 1 - _RARE]) for p in points])
    least, most = float(ends[:, 0].min()), float(ends[:, 1].max())
    if up[0] <= least and most <= up[1]:
        return across, up
    span = up[1] - up[0]
    half = min(max(span, _MARGIN * (most - least)), 2 * span) / 2  # the wildest are counted instead
    middle = (least + most) / 2
    return across, (middle - half, middle + half)


def _panel(
    ax: Axes,
    points: _Points,
    counts: Array,
    kind: str,
    boxes: Mapping[str, tuple[tuple[float, float], tuple[float, float]]],
    norm: LogNorm,
) -> AxesImage:
    across, up = boxes[kind]
    shown = ax.imshow(
        np.ma.masked_equal(counts.T, 0), cmap=_COUNTS, norm=norm, origin="lower",
        extent=(*across, *up), interpolation="nearest", aspect="auto",
    )  # fmt: skip
    slope = points.line.slope
    middle = float(points.x.mean()), float(points.y.mean())
    ax.axline(middle, slope=-1, color=BLACK, linestyle=(0, (4, 2)), linewidth=0.9, zorder=3)
    if np.isinf(slope):
        ax.axvline(middle[0], color=VERMILLION, zorder=4)
    elif np.isfinite(slope):
        ax.axline(middle, slope=slope, color=VERMILLION, linewidth=1.3, zorder=4)
    for axis, (low, high) in ((ax.xaxis, across), (ax.yaxis, up)):
        major, minor = _ticks(low, high, kind)
        axis.set_major_locator(FixedLocator(major))
        axis.set_minor_locator(FixedLocator(minor))
        if kind == "scaling":
            axis.set_major_formatter(lambda value, _: factor_text(2.0**value))
        else:
            axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    ax.set_xlim(across)
    ax.set_ylim(up)
    ax.set_box_aspect(1)
    ax.set_anchor("N")  # else a layout takes the lines above for shorter than they are
    return shown


def _ticks(low: float, high: float, kind: str) -> tuple[list[float], list[float]]:
    step = 90.0 if high > 110 else 45.0
    if kind == "scaling":
        step = 1.0
    elif kind != "rotation":
        step = next((s for s in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0) if high / s < 3), 64.0)
    half = step / 2 if kind != "rotation" or step == 90 else 15.0
    major, minor = (
        [size * k for k in range(-40, 41) if low <= size * k <= high] for size in (step, half)
    )
    return major, minor


def _equation(slope: float, intercept: float, kind: str) -> str:
    if kind == "scaling":  # log2 y = slope · log2 x + intercept
        return f"y = {2.0**intercept:.2f} x^{round(slope, 2) + 0.0:.2f}".replace("-", "−")
    digits = 1 if kind == "rotation" else 2
    sign = "−" if round(intercept, digits) < 0 else "+"
    text = f"y = {round(slope, 2) + 0.0:.2f}x {sign} {abs(intercept):.{digits}f}"
    return text.replace("-", "−")


def _spread(deviation: float, kind: str) -> str:
    if kind == "rotation":
        return f"{deviation:.1f}°"
    return f"{deviation:.2f} {'octaves' if kind == 'scaling' else 'px'}"


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], color=VERMILLION, linewidth=1.3, label="orthogonal regression"),
        Line2D(
            [], [], color=BLACK, linestyle=(0, (4, 2)), linewidth=0.9,
            label="slope −1: perfect alignment",
        ),
    ]  # fmt: skip
