"""The alignment landscape: residual over applied and aligning transformation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ...errors import ProbeError
from ...probing import Result
from ..drawing.fitting import legend_below
from ..drawing.panels import (
    angle_axis,
    edges,
    given_axes,
    label_shared,
    letter_panels,
    panel_columns,
    panel_grid,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import styled
from ..select import Block, around, choose_blocks, unrolled

_KINDS = {"angle": "rotation", "scale": "scaling"}
_COLOURS = "cividis"  # made for colour-vision deficiency; rises evenly in lightness
_AXES = {
    "angle": ("applied angle (degrees)", "aligning angle (degrees)"),
    "scale": ("applied scale factor", "aligning scale factor"),
}


@styled
def plot_landscape(
    result: Result,
    layer: str | Iterable[str] | None = None,
    by: str = "angle",
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the residual after every aligning angle (or scale) for every applied one.

    `by` is "angle" (rotations applied, maps rotated) or "scale" (scalings applied, maps scaled).
    A panel per layer, all by default. Residuals are those of the fit half, on which the search
    works. The dashed line is the inverse, g = h⁻¹; points are the rotation (or scale) of the best
    transformation found in the whole family. `width` is millimetres, as in `plot_residuals`.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge.

    Raises ProbeError for an unknown layer, and where the result has no such transformations.
    """
    if by not in _KINDS:
        raise ProbeError(f"a landscape by {by!r} is not known; use 'angle' or 'scale'")
    (block,) = choose_blocks(result, _KINDS[by], layer)[:1]
    if not block.numeric:
        raise ProbeError(
            "the landscape needs uniform scalings; this result scales x and y differently"
        )
    sizes = [len(block.layers)]
    columns = panel_columns(sizes, width)
    room = panel_room(columns, width)
    narrow = axes is None and columns > 1 and room < 34  # the colour bar stands below
    names = list(block.layers)
    if axes is None:
        names, taller = titles(names, room)
        height = (46.0 if room < 45 else 64.0 if columns > 1 else 62.0) + taller
        figure, chosen = panel_grid(
            sizes, row_height=height, extra=22.0 if narrow else 6.0, columns=columns, width=width
        )
    else:
        figure, chosen = given_axes(axes, len(block.layers))
    tables = [_grid(block, name, by) for name in block.layers]
    finite = [values[np.isfinite(values)] for _, _, values in tables]
    top = max((float(part.max()) for part in finite if part.size), default=1.0)
    mesh: QuadMesh | None = None
    for place, (name, ax) in enumerate(zip(block.layers, chosen, strict=True)):
        applied, aligning, values = tables[place]
        mesh = _draw(ax, applied, aligning, values, by, Normalize(0.0, top or 1.0))
        _inverse_line(ax, applied, aligning, by)
        _best(ax, block, name, by)
        _axes(ax, applied, aligning, by)
        ax.set_title(names[place])
        if axes is not None:
            ax.set(xlabel=_AXES[by][0], ylabel=_AXES[by][1])
    if mesh is not None:
        bar = figure.colorbar(
            mesh, ax=chosen, pad=0.02, fraction=0.06, aspect=30 if narrow else 18,
            location="bottom" if narrow else "right",
        )  # fmt: skip
        gap = " " if narrow else "\n"
        bar.set_label(f"residual, fit half (fraction{gap}of variance unexplained)")
        bar.outline.set_linewidth(0.5)
    if axes is None:
        label_shared(chosen, columns, *_AXES[by])
        letter_panels(chosen)
        handles, _ = chosen[0].get_legend_handles_labels()
        legend_below(
            figure, handles, most=2, facecolor="0.6", framealpha=1, frameon=True, edgecolor="none"
        )
    return figure


def _grid(block: Block, layer: str, by: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Applied values (A), aligning values (G) and residuals (G, A); closed circles at ±180°."""
    rows = block.rows(layer, "landscape")
    table = rows[rows["by"] == by].pivot_table(
        index="value", columns="parameter", values="residual", dropna=False
    )
    aligning, applied = table.index.to_numpy(dtype=float), table.columns.to_numpy(dtype=float)
    values = table.to_numpy(dtype=float)
    if by == "angle":
        values = values[np.ix_(around(aligning), around(applied))]
        aligning, applied = unrolled(aligning), unrolled(applied)
    return applied, aligning, values


def _draw(
    ax: Axes,
    applied: np.ndarray,
    aligning: np.ndarray,
    values: np.ndarray,
    by: str,
    norm: Normalize,
) -> QuadMesh:
    if by == "scale":
        x, y = (2.0 ** edges(np.log2(part)) for part in (applied, aligning))
    else:
        x, y = edges(applied), edges(aligning)
    # Drawn as an image inside vector files: thousands of small cells show seams and weigh much.
    return ax.pcolormesh(x, y, values, cmap=_COLOURS, norm=norm, rasterized=True)


def _inverse_line(ax: Axes, applied: np.ndarray, aligning: np.ndarray, by: str) -> None:
    ends = np.array([applied.min(), applied.max()])
    line = -ends if by == "angle" else 1.0 / ends
    for colour, width, dash, label in (
        ("black", 1.8, "-", None),
        ("white", 1.0, (0, (4, 3)), "inverse, g = h⁻¹"),
    ):
        ax.plot(ends, line, color=colour, linewidth=width, linestyle=dash, label=label, zorder=2)


def _best(ax: Axes, block: Block, layer: str, by: str) -> None:
    rows = block.rows(layer, "alignments")
    applied = rows["parameter"].to_numpy(dtype=float)
    found = rows[by].to_numpy(dtype=float)
    if by == "angle":  # the half turn has two places on the axis
        applied, found = unrolled(applied), found[around(applied)]
        again = np.isclose(np.abs(found), 180.0, atol=1e-6)
        applied = np.append(applied, applied[again])
        found = np.append(found, -found[again])
    ax.plot(
        applied, found, linestyle="none", marker="o", markersize=3.2, markerfacecolor="white",
        markeredgecolor="black", markeredgewidth=0.6, label="best found", zorder=3, clip_on=False,
    )  # fmt: skip


def _axes(ax: Axes, applied: np.ndarray, aligning: np.ndarray, by: str) -> None:
    if by == "scale":
        x, y = (2.0 ** edges(np.log2(part)) for part in (applied, aligning))
        scale_axis(ax, float(applied.min()), float(applied.max()))
        scale_axis(ax, float(aligning.min()), float(aligning.max()), which="y")
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(y[0], y[-1])
        return
    angle_axis(ax, float(applied.min()), float(applied.max()), labels=5)
    angle_axis(ax, float(aligning.min()), float(aligning.max()), which="y")
    x = edges(applied)
    closed = applied[0] == -180 and applied[-1] == 180
    ax.set_xlim(*((-180, 180) if closed else (x[0], x[-1])))
    ax.set_ylim(aligning.min(), aligning.max())
