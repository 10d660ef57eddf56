"""Channel shift: which channels the response moved to, and how much of it moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...errors import ProbeError
from ...probing import Result
from ...probing.rungs import BLUE, ORANGE, SKY, VERMILLION
from ..drawing.fitting import legend_below, text_width
from ..drawing.panels import (
    angle_axis,
    given_axes,
    leftmost,
    lowest,
    panel_columns,
    panel_grid,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import FAINT, styled
from ..select import (
    Block,
    around,
    choose_blocks,
    choose_layers,
    choose_transform,
    moves_of,
    unrolled,
)
from .residuals import axis_label, depth, move_names, turned

_COLOURS = "RdBu"  # as in the heat map of `recovered`: blue is what one hopes for
_PANEL = 31.0  # millimetres, the narrowest of a figure of two columns
_BESIDE = 120.0  # millimetres, the narrowest figure of several panels with a colour bar beside them
_MOVED = {
    "moved": ("variance in channels that moved", VERMILLION, "o", "-"),
    "moved_by_chance": ("the same by chance", ORANGE, "", (0, (5, 1.5))),
    "strongest_changed": ("cells whose strongest channel changed", BLUE, "s", "-"),
    "strongest_changed_floor": ("the same, input aligned (floor)", SKY, "", ":"),
}
_ALONE = {"moved_by_chance": "d", "strongest_changed_floor": "<"}  # marks of single values
_RUNGS = ("inverse_permuted", "inverse_orthogonal", "inverse_linear")


def check_channels(result: Result) -> None:
    """Refuse a result that was measured without channel maps."""
    if not len(result.channels):
        raise ProbeError("this result holds no channel maps; probe with channels=True")


def telling_transform(result: Result) -> str:
    """The rotation nearest to 90°, else the scaling nearest to 2, else the first that moves."""
    moves = moves_of(result)
    moves = moves[~moves["identity"].astype(bool)]
    if moves.empty:
        raise ProbeError("this result holds nothing but the identity, which moves no channel")
    for kind, off in (
        ("rotation", lambda angle: np.abs(angle - 90)),
        ("scaling", lambda factor: np.abs(np.log2(factor) - 1)),
    ):
        own = moves[(moves["kind"] == kind) & np.isfinite(moves["parameter"].astype(float))]
        if len(own):
            place = int(np.argmin(off(own["parameter"].to_numpy(dtype=float))))
            return str(own["transform"].iloc[place])
    return str(moves["transform"].iloc[0])


@styled
def plot_channel_shift(
    result: Result,
    layer: str | Iterable[str] | None = None,
    transform: str | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw correlations between original channels and those of the maps aligned by h⁻¹.

    `transform` is by default the rotation nearest to 90° (else the scaling nearest to 2). Rows are
    original channels, those with the best stand-in at the top; columns are aligned channels in the
    order of the permutation found, so that stand-ins lie on the diagonal. A ring marks every
    channel's own place: on the diagonal where it stayed, elsewhere where another took over.
    A panel per layer, all by default that have correlations (up to 256 channels). All numbers are
    of the fit half. `width` is millimetres, as in `plot_residuals`.

    Raises ProbeError for an unknown layer or transform, layers without correlations, and results
    measured without channels.
    """
    check_channels(result)
    there = [name for name in result.axes["layer"] if f"correlation/{name}" in result.extra]
    names = [name for name in choose_layers(result, layer) if layer is not None or name in there]
    lacking = [name for name in names if name not in there]
    if lacking or not names:
        which = lacking[0] if lacking else result.axes["layer"][0]
        raise ProbeError(
            f"no correlations of layer {which!r} in this result; they are kept up to 256 channels"
        )
    move = telling_transform(result) if transform is None else choose_transform(result, transform)
    sizes = [len(names)]
    columns = panel_columns(sizes, width, margin=12.0)
    # Where panels are small the colour bar stands below, and they are as wide as can be.
    below = axes is None and columns > 1 and width is not None and width < _BESIDE
    room = panel_room(columns, width, 12.0 if below else 28.0)
    small = room < 42
    heads = [_title(name, _row(result, name, move), wide=not small) for name in names]
    if axes is None:
        heads, taller = titles(heads, room)
        height = {1: 76.0, 2: 80.0, 3: 60.0}.get(columns, 50.0)
        if width is not None:  # squares as tall as they are wide
            height = min(room, 90.0) + (22.0 if small else 18.0)
        figure, chosen = panel_grid(
            sizes, row_height=height + taller, extra=19.0 if below else 3.0, columns=columns,
            width=width, share_y=False,
        )  # fmt: skip
        left, low = leftmost(sizes, columns), lowest(sizes, columns)
    else:
        figure, chosen = given_axes(axes, len(names))
        left = low = [True] * len(chosen)
    mesh: QuadMesh | None = None
    for place, (name, ax) in enumerate(zip(names, chosen, strict=True)):
        row = _row(result, name, move)
        mesh = _matrix(ax, result, name, move, room) if bool(row["determined"]) else mesh
        if not bool(row["determined"]):
            _undetermined(ax, row)
        ax.set_title(heads[place])
        if low[place]:
            ax.set_xlabel("aligned channel" if small else "aligned channel, reordered", labelpad=1)
        if left[place]:
            ax.set_ylabel("original channel", labelpad=1)
    if mesh is not None:
        bar = figure.colorbar(
            mesh, ax=chosen, pad=0.02, fraction=0.05, aspect=30 if below else 18,
            location="bottom" if below else "right", shrink=0.92 if below else 1.0,
            ticks=[-1, -0.5, 0, 0.5, 1] if below else None,
        )  # fmt: skip
        bar.set_label(f"correlation, {_said(move)}")
        bar.outline.set_linewidth(0.5)
    if axes is None and mesh is not None:
        ring = next(ax.get_lines()[0] for ax in chosen if ax.get_lines())
        legend_below(figure, [ring], most=1)
    return figure


def _said(move: str) -> str:
    kind, _, values = move.partition(":")
    try:
        number = float(values)
    except ValueError:
        return move
    unit = {"rotation": "°", "reflection": "°"}.get(kind, "")
    return f"{kind} {number:.4g}{unit}".replace("-", "−")


def _row(result: Result, layer: str, move: str) -> pd.Series:
    rows = result.channels
    return rows[(rows["layer"] == layer) & (rows["transform"] == move)].iloc[0]


def _title(layer: str, row: pd.Series, *, wide: bool) -> str:
    if not bool(row["determined"]):
        return f"{layer}\n" + ("" if wide else "\n")
    moved, chance = (f"{100 * row[name]:.0f} %" for name in ("moved", "moved_by_chance"))
    return f"{layer}\nmoved {moved}" + (", " if wide else "\n") + f"by chance {chance}"


def _undetermined(ax: Axes, row: pd.Series) -> None:
    ax.text(
        0.5, 0.5, f"not determined:\n{int(row['samples'])} samples\nare too few",
        transform=ax.transAxes, ha="center", va="center",
    )  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])


def _matrix(ax: Axes, result: Result, layer: str, move: str, room: float) -> QuadMesh:
    which = result.axes["transform"].index(move)
    correlation = np.asarray(result.extra[f"correlation/{layer}"][which], dtype=float)
    permutation = np.asarray(result.extra[f"permutation/{layer}"][which], dtype=int)
    channels = np.arange(len(permutation))
    order = np.argsort(-correlation[channels, permutation], kind="stable")
    across = permutation[order]
    mesh = ax.pcolormesh(
        correlation[np.ix_(order, across)], cmap=_COLOURS, norm=Normalize(-1, 1), rasterized=True
    )
    column = np.empty_like(across)
    column[across] = channels  # where an aligned channel stands
    inches = ax.get_position().width * ax.figure.figure.get_figwidth()
    size = float(np.clip(72 * inches / len(channels) * 0.8, 1.6, 9.0))
    ax.plot(
        column[order] + 0.5, channels + 0.5, linestyle="none", marker="o", markersize=size,
        markerfacecolor="none", markeredgecolor="black", markeredgewidth=0.5,
        label="a channel's own place (on the diagonal: it stayed)", clip_on=False, zorder=4,
    )  # fmt: skip
    ax.set_xlim(0, len(channels))
    ax.set_ylim(len(channels), 0)
    ax.set_aspect("equal")
    widest = text_width("0" * len(str(len(channels) - 1)), 7.0) + 0.5
    if len(channels) <= 16 and len(channels) * widest < room - 4:
        ax.set_xticks(channels + 0.5, [str(number) for number in across])
        ax.set_yticks(channels + 0.5, [str(number) for number in order])
    else:  # the names of so many would not fit: how many there are
        ends = [0.5, len(channels) - 0.5]
        ax.set_xticks(ends, ["1", f"{len(channels)}"])
        ax.set_yticks(ends, ["1", f"{len(channels)}"])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(True)
    return mesh


@styled
def plot_moved(
    result: Result,
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw how much of the response moved to other channels, against angle or scale.

    Two shares, each beside what it would be for no reason: variance in channels whose stand-in is
    another channel (fit half), beside a permutation fitted to unrelated images; cells at which
    another channel is the strongest after alignment by h⁻¹ (evaluation half), beside the same
    after alignment of the input. A panel per layer, a row of panels per kind. Where too few
    samples determine a permutation the first pair is left out, and the panel says so. `width` is
    millimetres, as in `plot_residuals`.

    Convention: angles in degrees, counter-clockwise on the screen; factors > 1 enlarge.

    Raises ProbeError for an unknown layer or kind, and results measured without channels.
    """
    check_channels(result)
    blocks = choose_blocks(result, kind, layers)
    sizes = [len(block.layers) for block in blocks]
    columns = panel_columns(sizes, width)
    room = panel_room(columns, width)
    panels = [(block, name) for block in blocks for name in block.layers]
    heads = [name for _, name in panels]
    if axes is None:
        heads, taller = titles(heads, room)
        height = (40.0 if room < 45 else 48.0) + taller
        height += max(depth(block, _PANEL / len(block.moves)) for block in blocks)
        figure, chosen = panel_grid(
            sizes, row_height=height, extra=4.0, columns=columns, width=width
        )
        left, low = leftmost(sizes, columns), lowest(sizes, columns)
    else:
        figure, chosen = given_axes(axes, sum(sizes))
        left = low = [True] * len(chosen)
    crowded = axes is None and room < 45
    for place, (block, name) in enumerate(panels):
        ax = chosen[place]
        _shares(ax, block, block.rows(name, "channels"))
        if block.numeric and block.kind == "rotation":
            angle_axis(ax, *ax.get_xlim(), labels=5 if crowded else 7)
        ax.set_title(heads[place])
        ax.set_ylim(0, 1.02)
        ax.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        if low[place]:
            ax.set_xlabel(axis_label(block))
        if left[place]:
            ax.set_ylabel("share")
    if axes is None:
        handles, _ = chosen[0].get_legend_handles_labels()
        if not result.channels["determined"].astype(bool).all():
            said = "n. d.: permutation not determined, too few samples"
            handles.append(Patch(facecolor="none", edgecolor="none", label=said))
        legend_below(figure, handles, most=2)
    return figure


def _shares(ax: Axes, block: Block, rows: pd.DataFrame) -> None:
    values = rows["parameter"].to_numpy(dtype=float)
    determined = bool(rows["determined"].astype(bool).all())
    names = None if block.numeric else move_names(rows)
    if block.numeric and block.kind == "rotation":
        index, x = around(values), unrolled(values)
    else:
        index = np.arange(len(rows))
        x = values if block.numeric else index.astype(float)
    for order, (column, (label, colour, marker, line)) in enumerate(_MOVED.items()):
        y = rows[column].to_numpy(dtype=float)[index]
        if column.startswith("moved") and not determined:
            y = np.full_like(y, np.nan)
        single = len(x) == 1 or names is not None
        ax.plot(
            x, y, color=colour, linestyle="none" if names is not None else line,
            marker=marker or (_ALONE[column] if single else None),
            markersize=4.0 if single else 2.6, markeredgewidth=0, label=label,
            zorder=3 + order / 100, clip_on=False,
        )  # fmt: skip
    if not determined:
        ax.annotate(
            "n. d.", (0.97, 0.04), xycoords="axes fraction", ha="right", va="bottom", fontsize=7
        )
    if names is not None:
        ax.set_xlim(-0.5, len(names) - 0.5)
        ax.set_xticks(x, names, rotation=90 if turned(names, _PANEL / len(names)) else 0)
    elif block.kind == "rotation":
        if len(x) > 1:
            ax.set_xlim(x.min(), x.max())
    else:
        scale_axis(ax, float(x.min()), float(x.max()))
        if len(x) > 1:
            ax.set_xlim(x.min() / 1.03, x.max() * 1.03)
    ax.axhline(1.0, color=FAINT, linewidth=0.5, zorder=0)


def has_channel_tables(result: Result) -> bool:
    """Whether the figures of this file apply to a result."""
    rungs: Sequence[str] = result.axes["rung"]
    return len(result.channels) > 0 and any(rung in rungs for rung in _RUNGS)
