"""What moving the maps back wins, as a heat map of layers by transformations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ...errors import ProbeError
from ...probing import Result
from ...probing.ladder.shares import READINGS
from ...probing.ladder.shares import share as share_of
from ..drawing.fitting import legend_below, text_width, wrapped
from ..drawing.panels import factor_text, given_axes
from ..drawing.style import MASKED, NARROW, WIDE, checked_width, new_figure, styled
from ..select import Block, choose_blocks
from .residuals import axis_label, depth, move_names, turned

LIMIT = 1.0
_COLOURS = "RdBu"  # red to blue through white: told apart with every common colour vision
_NAMES = 0.3  # share of a figure's width that the names of layers may take
_LEAST = 3.5  # millimetres, the narrowest cells of several kinds side by side
_BESIDE = 120.0  # millimetres, the narrowest figure of small cells with its colour bar beside them
_SAID = {
    "gain": "gain (share of what\nthe aligned input wins)",
    "recovered": "recovered (share of\nfloor–ceiling range)",
}
_NUMBER_WIDTH = 7.0  # millimetres that "−0.25" takes at 7 points


@styled
def plot_gain(
    result: Result | Sequence[Result],
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    share: str = "gain",
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the gain (unaligned − inverse)/(unaligned − floor) for layers × transformations.

    Colours run from −1 (moving the maps back does as much harm as aligning the input does good)
    over 0 (no better than nothing done) to 1 (as good as aligning the input); the colour bar's
    arrows say that values lie beyond. Another `share` of a gap can be drawn in its place, such as
    "recovered", of the gap between another image's maps and the floor. Every kind of
    transformation has a panel of its own. Hatched cells have no value: the identity, under which
    there is nothing to win, and layers where the gap is closed already. Numbers are written where
    they fit. `width` is millimetres, as in `plot_residuals`; kinds that do not fit side by side
    stand one below the other.

    Raises ProbeError for an unknown layer or share, and for a kind that the result has not.
    """
    if share not in _SAID:
        raise ProbeError(f"no share {share!r} to draw; there are {', '.join(_SAID)}")
    blocks = choose_blocks(result, kind, layers)
    widths = [len(block.moves) for block in blocks]
    figure, chosen, cell, stacked = _canvas(blocks, widths, axes, checked_width(width))
    below = axes is None and width is not None and width < _BESIDE and (stacked or cell < 6)
    meshes, values = [], []
    for place, (block, ax) in enumerate(zip(blocks, chosen, strict=True)):
        table = _table(block, share)
        meshes.append(_mesh(ax, table))
        values.append(table.to_numpy())
        if cell >= _NUMBER_WIDTH:
            _write(ax, meshes[-1], table.to_numpy())
        first = axes is not None or stacked or place == 0 or not _same_layers(blocks)
        _label(ax, block, cell, names=first, room=25.4 * figure.get_figwidth() * _NAMES)
    found = np.concatenate([value[np.isfinite(value)] for value in values])
    beyond = (bool((found < -LIMIT).any()), bool((found > LIMIT).any()))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    bar = figure.colorbar(
        meshes[-1], ax=chosen, extend=extend.get(beyond, "both"), fraction=0.05, pad=0.02,
        aspect=30 if below else 15, location="bottom" if below else "right",
    )  # fmt: skip
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    bar.set_label(_SAID[share].replace("\n", " " if below else "\n"))
    bar.outline.set_linewidth(0.5)
    if axes is None:
        figure.align_xlabels(chosen)
        if not all(np.isfinite(value).all() for value in values):
            _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    patch = Patch(
        facecolor=MASKED, edgecolor="0.55", hatch="/////", linewidth=0,
        label="no value (identity: nothing to win)",
    )  # fmt: skip
    legend_below(figure, [patch], most=1)


def _canvas(
    blocks: Sequence[Block],
    widths: Sequence[int],
    axes: Axes | Iterable[Axes] | None,
    asked: float | None,
) -> tuple[Figure, list[Axes], float, bool]:
    """Figure, axes, the width of a cell in millimetres, and whether panels stand in a column."""
    if axes is not None:
        figure, chosen = given_axes(axes, len(blocks))
        inches = min(ax.get_position().width for ax in chosen) * figure.get_figwidth()
        return figure, chosen, inches * 25.4 / max(widths), False
    width = asked or (NARROW if sum(widths) <= 8 else WIDE)
    names = {name: wrapped(name, _NAMES * width, 7.0) for one in blocks for name in one.layers}
    beside = max(35.0, 20.0 + max(text_width(name, 7.0) for name in names.values()))
    # A kind with a single transformation still needs room for its name.
    ratios = [max(3, number) for number in widths]
    cell = (width - beside) / sum(ratios)
    tight = any(
        cell * ratio < max(_LEAST * ratio, text_width(axis_label(block)) + 1)
        for block, ratio in zip(blocks, ratios, strict=True)
    )
    stacked = asked is not None and len(blocks) > 1 and tight
    if stacked:
        cell = (width - beside + 16.0) / max(ratios)
    line = max(6.5, 1.0 + 3.0 * max(1 + name.count("\n") for name in names.values()))
    tall = [max(12.0 if stacked else 24.0, line * len(block.layers)) for block in blocks]
    labels = [depth(block, cell) for block in blocks]
    if not stacked:
        figure = new_figure(width, 22.0 + max(tall) + max(labels))
        grid = figure.add_gridspec(1, len(blocks), width_ratios=ratios)
        chosen = [figure.add_subplot(grid[0, place]) for place in range(len(blocks))]
        return figure, chosen, cell, stacked
    figure = new_figure(width, 20.0 + sum(tall) + sum(labels) + 10.0 * len(blocks))
    grid = figure.add_gridspec(len(blocks), 1, height_ratios=tall)
    chosen = [figure.add_subplot(grid[place, 0]) for place in range(len(blocks))]
    return figure, chosen, cell, stacked


def _table(block: Block, name: str) -> pd.DataFrame:
    """Layers × transformations, NaN where there is nothing to win."""
    rows = {}
    for layer in block.layers:
        own = block.rows(layer)
        ends = READINGS[name].needs
        values = own[list(ends)].to_numpy(dtype=float)
        found = share_of(values, ends, name)
        rows[layer] = np.where(own["identity"].astype(bool), np.nan, found)
    return pd.DataFrame.from_dict(rows, orient="index", columns=block.moves["transform"])


def _mesh(ax: Axes, table: pd.DataFrame) -> QuadMesh:
    values = table.to_numpy()
    mesh = ax.pcolormesh(
        np.arange(values.shape[1] + 1) - 0.5, np.arange(values.shape[0] + 1) - 0.5,
        np.ma.masked_invalid(values), cmap=_COLOURS, norm=Normalize(-LIMIT, LIMIT),
        edgecolors="white", linewidth=0.4,
    )  # fmt: skip
    for row, column in np.argwhere(~np.isfinite(values)):
        ax.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5), 1, 1, facecolor=MASKED, edgecolor="0.55",
                hatch="/////", linewidth=0,
            )
        )  # fmt: skip
    ax.invert_yaxis()
    return mesh


def _write(ax: Axes, mesh: QuadMesh, values: np.ndarray) -> None:
    """Numbers in black or white, whichever stands out more."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = np.asarray(mesh.to_rgba(value)) ** 2.2
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18
            ax.text(
                column, row, f"{value:.2f}".replace("-", "−"), ha="center", va="center",
                fontsize=7, color="white" if dark else "black",
            )  # fmt: skip


def _label(ax: Axes, block: Block, cell: float, names: bool, room: float) -> None:
    moves = block.moves
    place = np.arange(len(moves))
    values = moves["parameter"].to_numpy(dtype=float)
    if block.numeric and block.kind == "rotation":
        texts = [f"{value:g}".replace("-", "−") for value in values]
        step = max(1, round(8.0 / max(cell, 0.1)))
        named = [step * round(value / step) == value for value in place]
        rounds = [value % 45 == 0 for value in values]
        if cell < 8.0 and sum(rounds) > 2:
            named = rounds if 3 * cell >= 7.5 or len(values) < 13 else [v % 90 == 0 for v in values]
        shown = [number for number, name in enumerate(named) if name]
        if len(shown) > 1 and cell * min(np.diff(shown)) < 7.5:  # wider than "−180" apart
            shown = list(place[:: step + (step * cell < 7.5)])
        ax.set_xticks(place[shown], [texts[number] for number in shown])
    elif block.numeric:
        ax.set_xticks(place, [factor_text(value) for value in values])
        if cell < 8.0:
            ends = place[:: 2 if len(place) % 2 else 1]
            ax.set_xticks(ends, [factor_text(values[number]) for number in ends])
    else:
        texts = move_names(moves)
        ax.set_xticks(place, texts, rotation=90 if turned(texts, cell) else 0)
    ax.set_xlabel(axis_label(block))
    shown_names = [wrapped(name, room, 7.0) if names else "" for name in block.layers]
    ax.set_yticks(np.arange(len(block.layers)), shown_names)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _same_layers(blocks: Sequence[Block]) -> bool:
    return len({block.layers for block in blocks}) == 1
