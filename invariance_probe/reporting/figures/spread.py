"""How residuals spread over the evaluation images: what a mean hides."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...probing import Result
from ...probing.rungs import CEILING, rung_of
from ..drawing.fitting import text_width, wrapped
from ..drawing.panels import (
    given_axes,
    leftmost,
    letter_panels,
    panel_columns,
    panel_grid,
    panel_room,
    titles,
)
from ..drawing.style import styled
from ..select import choose_layers, choose_transform, spoken
from .channels import telling_transform

_SHOWN = ("unaligned", "inverse", "best", "inverse_linear", "input_aligned", CEILING)
_WHISKERS = (5, 95)  # per cent of images below the ends


@styled
def plot_spread(
    result: Result,
    transform: str | None = None,
    layers: str | Iterable[str] | None = None,
    *,
    axes: Axes | Iterable[Axes] | None = None,
    width: float | None = None,
) -> Figure:
    """Draw the residuals of single evaluation images as boxes, one per rung, a panel per layer.

    An image's residual is its squared error over the mean variance of all images, so that the
    mean over images is the residual of the table. Boxes hold the middle half, whiskers the
    middle 90 %, the line is the median; all panels share the axis. `transform` is a name in the
    result; by default 90° or the rotation nearest to it, else the scale nearest to 2. `width` is
    millimetres, as in `plot_residuals`.

    Raises ProbeError for unknown layers and transforms.
    """
    chosen = choose_transform(result, transform or telling_transform(result))
    names = choose_layers(result, layers)
    there = [rung for rung in _SHOWN if rung in result.axes["rung"]]
    labels = [rung_of(rung, result.axes["rung"]).label for rung in there]
    beside = 5.0 + max(text_width(label, 7.0) for label in labels)
    columns = panel_columns([len(names)], width, least=22.0, margin=beside)
    heads = [f"{spoken(chosen)}\n{names[0]}", *names[1:]]
    if axes is None:
        heads, taller = titles(heads, panel_room(columns, width, beside))
        figure, panels = panel_grid(
            [len(names)], row_height=18.0 + 5.0 * len(there) + taller, extra=8.0, columns=columns,
            width=width, share_x=True,
        )  # fmt: skip
        left = leftmost([len(names)], columns)
    else:
        figure, panels = given_axes(axes, len(names))
        left = [True] * len(panels)
    top = 0.0
    for place, (layer, ax) in enumerate(zip(names, panels, strict=True)):
        top = max(top, _boxes(ax, image_residuals(result, layer, chosen), there))
        ax.set_title(heads[place])
        ax.set_yticks(range(len(there)), labels)
        ax.tick_params(axis="y", length=0, labelleft=left[place])
    for ax in panels:  # 0 stands apart from the axis, so that a box of no width is seen there
        ax.set_xlim(-0.03 * (top or 1.0), 1.04 * (top or 1.0))
        ax.set_ylim(len(there) - 0.4, -0.6)
    said = "residual of single images (fraction of the mean variance)"
    figure.supxlabel(
        wrapped(said, 25.4 * figure.get_figwidth() - 4), size=rcParams["axes.labelsize"]
    )
    if axes is None:
        letter_panels(panels)
    return figure


def _boxes(ax: Axes, table: pd.DataFrame, rungs: list[str]) -> float:
    """A box per rung from the top down; returns where the last whisker ends."""
    import seaborn as sns  # imports pyplot, which nothing else here needs

    with warnings.catch_warnings():  # seaborn 0.13 still calls an argument by its old name
        warnings.filterwarnings("ignore", message="vert: bool was deprecated")
        sns.boxplot(
            data=table.reindex(columns=rungs), order=rungs, orient="h", ax=ax, whis=_WHISKERS,
            palette=[rung_of(rung, tuple(rungs)).colour for rung in rungs], fill=False,
            fliersize=0, linewidth=1.0, width=0.6,
        )  # fmt: skip
    said = "not determined" if CEILING in table else "no variance"
    for place in (n for n, rung in enumerate(rungs) if rung not in table):
        ax.annotate(
            said, (0.05, place), xycoords=("axes fraction", "data"), va="center", fontsize=7
        )
    ax.set(xlabel="", ylabel="")
    ends = np.percentile(table.to_numpy(dtype=float), _WHISKERS[1], axis=0) if len(table) else []
    return float(max(ends, default=0.0))


def image_residuals(result: Result, layer: str, transform: str) -> pd.DataFrame:
    """Residuals of single images (rows) by rung (columns); undetermined rungs are left out."""
    place = result.axes["layer"].index(layer)
    which = result.axes["transform"].index(transform)
    mean = float(np.mean(result.variance[place]))
    values = pd.DataFrame(
        (result.errors[place, which] / mean).T,
        index=list(result.axes["image"]),
        columns=list(result.axes["rung"]),
    )
    return values[[rung for rung in _SHOWN if rung in values]].dropna(axis="columns", how="all")
