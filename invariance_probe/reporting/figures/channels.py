"""Channel shift: which channels the response moved to, and how much of it moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...alignment.channels import strongest_other
from ...errors import ProbeError
from ...probing import Result
from ...probing.rungs import BLUE, ORANGE, SKY, VERMILLION
from ..drawing.fitting import legend_below, wrapped
from ..drawing.panels import (
    angle_axis,
    given_axes,
    label_shared,
    leftmost,
    letter_panels,
    lowest,
    panel_columns,
    panel_grid,
    panel_room,
    scale_axis,
    titles,
)
from ..drawing.style import FAINT, SHADE, styled
from ..select import (
    Block,
    around,
    choose_blocks,
    choose_layers,
    choose_transform,
    moves_of,
    spoken,
    unrolled,
)
from .residuals import axis_label, depth, move_names, turned

_SIDES = {True: (VERMILLION, "o", VERMILLION), False: (BLUE, "s", "none")}
_PANEL = 31.0  # millimetres, the narrowest of a figure of two columns
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
    """Draw how well each channel fits itself after alignment by h⁻¹, and how well another one fits.

    A point per channel: across, the correlation of the original channel with the same channel of
    the maps moved back; up, its greatest correlation with any other channel of those. Above the
    diagonal another channel fits better. The dashed line is what the best other channel reaches in
    the maps of unrelated images (median over channels), the band holds 90 % of the channels; absent
    in results of versions that did not keep it. `transform` is by default the rotation nearest to
    90° (else the scaling nearest to 2). A panel per layer, all by default that have correlations
    (up to 256 channels). All numbers are of the fit half. `width` is millimetres, as in
    `plot_residuals`.

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
    tables = {name: stand_ins(result, name, move) for name in names}
    low = _round_end(tables.values(), ["own", "other"])
    up = _round_end(tables.values(), ["other"])
    sizes = [len(names)]
    columns = panel_columns(sizes, width, margin=15.0)
    room = panel_room(columns, width, 15.0)
    heads = [_head(name, tables[name]) for name in names]
    if axes is None:
        heads, taller = titles(heads, room)
        figure, chosen = panel_grid(
            sizes, row_height=min(0.8 * room, 60.0) + 14.0 + taller, extra=4.0, columns=columns,
            width=width, share_x=True,
        )  # fmt: skip
    else:
        figure, chosen = given_axes(axes, len(names))
    said = spoken(move)
    labels = (f"correlation with itself ({said})", "with the best other channel")
    for place, (name, ax) in enumerate(zip(names, chosen, strict=True)):
        _scatter(ax, tables[name], low, up, _row(result, name, move))
        ax.set_title(heads[place])
        if axes is not None:
            ax.set(xlabel=labels[0], ylabel=labels[1])
    if axes is None:
        across = 25.4 * figure.get_figwidth() - 18
        label_shared(chosen, columns, wrapped(labels[0], across), wrapped(labels[1], 1.6 * room))
        letter_panels(chosen)
        legend_below(figure, _stand_in_handles(tables.values()), most=2)
    return figure


def stand_ins(result: Result, layer: str, transform: str) -> pd.DataFrame:
    """How well every channel is told by itself and by the best other one, after alignment by h⁻¹.

    Columns `channel`, `own` and `other` (correlations), `best_other` (which channel), `by_chance`
    (`other` for unrelated images; NaN where the result does not hold it). Channels that never vary
    are left out.
    """
    which = result.axes["transform"].index(transform)
    correlation = np.asarray(result.extra[f"correlation/{layer}"][which], dtype=float)
    channels = np.arange(len(correlation))
    chance = result.extra.get(f"by_chance/{layer}")
    others = np.where(np.eye(len(channels), dtype=bool), -np.inf, correlation)
    table = pd.DataFrame(
        {
            "channel": channels,
            "own": np.diag(correlation),
            "other": strongest_other(correlation),
            "best_other": others.argmax(axis=1),
            "by_chance": np.nan if chance is None else np.asarray(chance[which], dtype=float),
        }
    )
    return table[np.abs(correlation).max(axis=1) > 0].reset_index(drop=True)


def _round_end(tables: Iterable[pd.DataFrame], columns: list[str]) -> float:
    """Where an axis of correlations begins that holds all of some columns."""
    least = min((float(table[columns].min().min()) for table in tables), default=0.0)
    return -1.02 if least < -0.52 else -0.52 if least < -0.02 else -0.02


def _row(result: Result, layer: str, move: str) -> pd.Series:
    rows = result.channels
    return rows[(rows["layer"] == layer) & (rows["transform"] == move)].iloc[0]


def _head(layer: str, table: pd.DataFrame) -> str:
    better = int((table["other"] > table["own"]).sum())
    return f"{layer}\n{better} of {len(table)} above"


def _scatter(ax: Axes, table: pd.DataFrame, low: float, up: float, row: pd.Series) -> None:
    if not bool(row["determined"]):
        ax.text(
            0.5, 0.5, f"not determined:\n{int(row['samples'])} samples\nare too few",
            transform=ax.transAxes, ha="center", va="center",
        )  # fmt: skip
    else:
        chance = table["by_chance"].to_numpy(dtype=float)
        if np.isfinite(chance).any():
            ends = np.nanquantile(chance, [0.05, 0.5, 0.95])
            ax.axhspan(ends[0], ends[2], color=SHADE, linewidth=0, zorder=0)
            ax.axhline(ends[1], color="0.4", linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
        own, other = (table[name].to_numpy(dtype=float) for name in ("own", "other"))
        for above, (colour, marker, face) in _SIDES.items():
            part = (other > own) == above
            if not part.any():  # an empty line would take part in the layout all the same
                continue
            ax.plot(
                own[part], other[part], linestyle="none", marker=marker, markersize=3.2,
                markerfacecolor=face, markeredgecolor=colour, markeredgewidth=0.6,
                clip_on=False, zorder=3, alpha=0.85,
            )  # fmt: skip
    ax.plot([low, 1], [low, 1], color="black", linewidth=0.6, zorder=2, scalex=False, scaley=False)
    ax.set(xlim=(low, 1.02), ylim=(up, 1.02))
    for axis in (ax.xaxis, ax.yaxis):
        ticks = (-1, 0, 1) if low < -1 and axis is ax.xaxis else (-1, -0.5, 0, 0.5, 1)
        axis.set_ticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    ax.set(xlim=(low, 1.02), ylim=(up, 1.02))


def _stand_in_handles(tables: Iterable[pd.DataFrame]) -> list[Artist]:
    handles: list[Artist] = []
    for above, label in ((True, "another channel fits better"), (False, "fits itself best")):
        colour, marker, face = _SIDES[above]
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, markersize=3.6, markerfacecolor=face,
                markeredgecolor=colour, label=label,
            )
        )  # fmt: skip
    if any(table["by_chance"].notna().any() for table in tables):
        label = "best other by chance, other images"
        handles.append(Line2D([], [], color="0.4", linewidth=0.9, linestyle="--", label=label))
        handles.append(Patch(facecolor=SHADE, label="the same, 90 % of channels"))
    return handles


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
        letter_panels(chosen)
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
