"""The ledger: what predicts a layer's maps, part by part, as stacked bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...alignment import PARTS
from ...probing import Result
from ...probing.ladder.shares import LOST, UNDETERMINED
from ...probing.rungs import BLUE, ORANGE, SKY
from ..drawing.fitting import legend_below, text_width, wrapped
from ..drawing.panels import (
    given_axes,
    leftmost,
    letter_panels,
    lowest,
    panel_columns,
    panel_grid,
    panel_room,
    titles,
)
from ..drawing.style import MASKED, WIDE, checked_width, styled
from ..select import as_results, choose_layers
from ..tables.ledger import ALIGNED, CHANCE, MOVED, ledger_table

LABELS = {
    "position": "position: the mean map alone",
    "space": "space: the map moved back",
    "channels": "channels: any map of the channels",
    "neighbourhood": "neighbourhood: any filter of 3×3 cells",
    LOST: "lost",
    UNDETERMINED: "undetermined: too few images to tell",
}
_COLOURS = {"position": "0.62", "space": BLUE, "channels": ORANGE, "neighbourhood": SKY}
_BARS = {MOVED: (0.0, 0.5), ALIGNED: (0.39, 0.2), CHANCE: (0.6, 0.14)}  # place and height
_PITCH = 1.0  # from layer to layer, in units of those
_NOTES = [
    "thick bars: from the maps moved back",
    "thin: from the input moved back; from another image",
]
XLABEL = "share of the original map's variance"


@styled
def plot_ledger(
    result: Result | Sequence[Result],
    transform: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw as stacked bars what predicts each layer's maps, a panel per kind of transformation.

    The thick bar of a layer is predicted from the transformed image's map moved back; the thin bars
    below it from the map of the image moved back (what is lost there is measurement error) and from
    another image's map (what comes by chance). White is lost. `transform` names one transformation
    ("rotation:90"); by default means over all of a kind but the identity are shown. `width` is
    millimetres, as in `plot_residuals`.

    Raises ProbeError for results without a ledger, an unknown transform or layer.
    """
    panels: list[tuple[str, tuple[str, ...], pd.DataFrame]] = []
    for one in as_results(result):
        table = ledger_table(one, transform)
        names = choose_layers(one, layers)
        panels += [(str(over), names, group) for over, group in table.groupby("over", sort=False)]
    figure, chosen, left, low = _canvas([len(names) for _, names, _ in panels], panels, axes, width)
    parts = False
    for place, (ax, (_, names, table)) in enumerate(zip(chosen, panels, strict=True)):
        parts |= _panel(ax, table, names, labelled=left[place])
        if low[place]:
            ax.set_xlabel(XLABEL)
    if axes is None:
        letter_panels(chosen)
        notes = _NOTES if 25.4 * figure.get_figwidth() < 150 else ["; ".join(_NOTES)]
        legend_below(figure, _handles(unknown=parts), most=3, notes=notes)
    return figure


def _canvas(
    sizes: Sequence[int],
    panels: Sequence[tuple[str, tuple[str, ...], pd.DataFrame]],
    axes: Axes | Iterable[Axes] | None,
    width: float | None,
) -> tuple[Figure, list[Axes], list[bool], list[bool]]:
    """Figure, axes, and which of them stand at the left and lowest."""
    if axes is not None:
        figure, chosen = given_axes(axes, len(panels))
        return figure, chosen, [True] * len(chosen), [True] * len(chosen)
    names = max((name for _, own, _ in panels for name in own), key=text_width)
    margin = 6.0 + min(text_width(wrapped(names, 34.0, 7.0), 7.0), 34.0)
    blocks = [len(panels)]
    columns = panel_columns(blocks, checked_width(width), least=45.0, most=2, margin=margin)
    heads, taller = titles([over for over, *_ in panels], panel_room(columns, width, margin))
    figure, chosen = panel_grid(
        blocks, row_height=14.0 + taller + 8.5 * max(sizes), extra=2.0, columns=columns,
        width=width or (WIDE if columns > 1 else None), share_x=True, share_y=False,
    )  # fmt: skip
    for ax, head in zip(chosen, heads, strict=True):
        ax.set_title(head)
    return figure, chosen, leftmost(blocks, columns), lowest(blocks, columns)


def _panel(ax: Axes, table: pd.DataFrame, names: Sequence[str], *, labelled: bool) -> bool:
    """Draw one kind of transformation; whether parts were not determined."""
    values = table.set_index(["layer", "source", "part"])["share"]
    for place, name in enumerate(names):
        for source, (below, height) in _BARS.items():
            start = 0.0
            for part in PARTS:
                share = float(values[name, source, part])
                # What held-out images lose by a part is lost: a bar has no negative length.
                length = share if share > 0 else 0.0
                ax.barh(
                    place * _PITCH + below, length, left=start, height=height,
                    color=_COLOURS[part], linewidth=0,
                )  # fmt: skip
                if source == MOVED and length >= 0.08:
                    ax.text(
                        start + length / 2, place * _PITCH, f"{length:.2f}".lstrip("0"),
                        ha="center", va="center", fontsize=6.5,
                        color="white" if part == "space" else "black",
                    )  # fmt: skip
                start += length
            if any(np.isnan(float(values[name, source, part])) for part in PARTS):
                ax.barh(
                    place * _PITCH + below, 1 - start, left=start, height=height,
                    facecolor=MASKED, edgecolor="0.55", hatch="/////", linewidth=0,
                )  # fmt: skip
            ax.barh(
                place * _PITCH + below, 1.0, height=height, fill=False, edgecolor="0.45",
                linewidth=0.5,
            )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim((len(names) - 0.2) * _PITCH, -0.4)
    shown = [wrapped(name, 34.0, 7.0) for name in names] if labelled else [""] * len(names)
    ax.set_yticks([0.12 + place * _PITCH for place in range(len(names))], shown)
    ax.tick_params(axis="y", length=0, labelleft=labelled)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "¼", "½", "¾", "1"])
    ax.spines["left"].set_visible(False)
    own = [float(values[n, MOVED, part]) for n in names for part in PARTS]
    return bool(np.isnan(own).any())


def _handles(*, unknown: bool) -> list[Patch]:
    handles = [Patch(facecolor=_COLOURS[part], label=LABELS[part]) for part in PARTS]
    handles.append(Patch(facecolor="white", edgecolor="0.45", linewidth=0.5, label=LABELS[LOST]))
    if unknown:
        handles.append(
            Patch(
                facecolor=MASKED, edgecolor="0.55", hatch="/////", linewidth=0,
                label=LABELS[UNDETERMINED],
            )
        )  # fmt: skip
    return handles
