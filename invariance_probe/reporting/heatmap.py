"""What alignment recovers, as a heat map of layers by transformations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..probing import Result
from ._panels import factor_text, given_axes
from ._select import Block, choose_blocks
from .curves import axis_label, depth, move_names, turned
from .style import MASKED, NARROW, WIDE, new_figure, styled

LIMIT = 1.0
_COLOURS = "RdBu"  # red to blue through white: told apart with every common colour vision
_NUMBER_WIDTH = 7.0  # millimetres that "−0.25" takes at 7 points


@styled
def plot_recovered(
    result: Result | Sequence[Result],
    kind: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
) -> Figure:
    """Draw `recovered` = (ceiling − inverse)/(ceiling − floor) for layers × transformations.

    Colours run from −1 over 0 (no better than another image's map) to 1 (as good as aligning the
    input); the colour bar's arrows say that values lie beyond. Every kind of transformation has a
    panel of its own. Hatched cells have no value: the identity, which leaves nothing to recover,
    and layers whose floor and ceiling enclose no range. Numbers are written where they fit.

    Raises ProbeError for an unknown layer and for a kind that the result has not.
    """
    blocks = choose_blocks(result, kind, layers)
    widths = [len(block.moves) for block in blocks]
    figure, chosen, cell = _canvas(blocks, widths, axes)
    meshes, values = [], []
    for place, (block, ax) in enumerate(zip(blocks, chosen, strict=True)):
        table = _table(block)
        meshes.append(_mesh(ax, table))
        values.append(table.to_numpy())
        if cell >= _NUMBER_WIDTH:
            _write(ax, meshes[-1], table.to_numpy())
        _label(ax, block, cell, names=axes is not None or place == 0 or not _same_layers(blocks))
    found = np.concatenate([value[np.isfinite(value)] for value in values])
    beyond = (bool((found < -LIMIT).any()), bool((found > LIMIT).any()))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    bar = figure.colorbar(
        meshes[-1], ax=chosen, extend=extend.get(beyond, "both"), fraction=0.05, pad=0.02, aspect=15
    )
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    bar.set_label("recovered (share of\nfloor–ceiling range)")
    bar.outline.set_linewidth(0.5)
    if axes is None:
        figure.align_xlabels(chosen)
        if not all(np.isfinite(value).all() for value in values):
            _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    patch = Patch(
        facecolor=MASKED, edgecolor="0.55", hatch="/////", linewidth=0,
        label="no value (identity: nothing to recover)",
    )  # fmt: skip
    figure.legend(handles=[patch], loc="outside lower center", borderaxespad=0.2)


def _canvas(
    blocks: Sequence[Block], widths: Sequence[int], axes: Axes | Iterable[Axes] | None
) -> tuple[Figure, list[Axes], float]:
    """Figure, axes and the width of a cell in millimetres."""
    tallest = max(len(block.layers) for block in blocks)
    if axes is not None:
        figure, chosen = given_axes(axes, len(blocks))
        inches = min(ax.get_position().width for ax in chosen) * figure.get_figwidth()
        return figure, chosen, inches * 25.4 / max(widths)
    width = NARROW if sum(widths) <= 8 else WIDE
    cell = (width - 35.0) / sum(max(3, number) for number in widths)
    labels = max(depth(block, cell) for block in blocks)
    figure = new_figure(width, 26.0 + max(24.0, 6.5 * tallest) + labels)
    # A kind with a single transformation still needs room for its name.
    grid = figure.add_gridspec(1, len(blocks), width_ratios=[max(3, number) for number in widths])
    chosen = [figure.add_subplot(grid[0, place]) for place in range(len(blocks))]
    return figure, chosen, cell


def _table(block: Block) -> pd.DataFrame:
    """Layers × transformations, NaN where there is nothing to recover."""
    rows = {}
    for layer in block.layers:
        own = block.rows(layer)
        rows[layer] = own["recovered"].astype(float).mask(own["identity"].astype(bool)).to_numpy()
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


def _label(ax: Axes, block: Block, cell: float, names: bool) -> None:
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
    ax.set_yticks(np.arange(len(block.layers)), block.layers if names else [""] * len(block.layers))
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _same_layers(blocks: Sequence[Block]) -> bool:
    return len({block.layers for block in blocks}) == 1
