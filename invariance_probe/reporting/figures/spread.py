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
from ...probing.rungs import rung_of
from ..drawing.fitting import text_width, wrapped
from ..drawing.panels import given_axes, leftmost, panel_columns, panel_grid, panel_room, titles
from ..drawing.style import styled
from ..select import choose_layers, choose_transform
from .channels import telling_transform

_SHOWN = ("unaligned", "inverse", "best", "inverse_linear", "input_aligned", "other_image")


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
    middle 90 %, the line is the median. `transform` is a name in the result; by default 90° or
    the rotation nearest to it, else the scale nearest to 2. `width` is millimetres, as in
    `plot_residuals`.

    Raises ProbeError for unknown layers and transforms.
    """
    import seaborn as sns  # imports pyplot, which nothing else here needs

    chosen = choose_transform(result, transform or telling_transform(result))
    names = choose_layers(result, layers)
    there = [rung for rung in _SHOWN if rung in result.axes["rung"]]
    beside = 5.0 + max(text_width(rung_of(r, result.axes["rung"]).label, 7.0) for r in there)
    columns = panel_columns([len(names)], width, least=22.0, margin=beside)
    heads = [f"{chosen}\n{names[0]}", *names[1:]]
    if axes is None:
        heads, taller = titles(heads, panel_room(columns, width, beside))
        figure, panels = panel_grid(
            [len(names)], row_height=48.0 + taller, extra=8.0, columns=columns, width=width
        )
        left = leftmost([len(names)], columns)
    else:
        figure, panels = given_axes(axes, len(names))
        left = [True] * len(panels)
    for first, (layer, ax) in enumerate(zip(names, panels, strict=True)):
        table = image_residuals(result, layer, chosen)
        styles = [rung_of(rung, result.axes["rung"]) for rung in table.columns]
        with warnings.catch_warnings():  # seaborn 0.13 still calls an argument by its old name
            warnings.filterwarnings("ignore", message="vert: bool was deprecated")
            sns.boxplot(
                data=table.rename(columns={r: s.label for r, s in zip(table, styles, strict=True)}),
                orient="h", ax=ax, whis=(5, 95), fliersize=0, linewidth=1.0, width=0.6,
                palette=[style.colour for style in styles], fill=False,
            )  # fmt: skip
        ax.set_xlim(left=0)
        ax.set_title(heads[first])
        ax.set_ylabel("")
        ax.tick_params(labelleft=left[first])
    said = "residual of single images (fraction of the mean variance)"
    figure.supxlabel(
        wrapped(said, 25.4 * figure.get_figwidth() - 4), size=rcParams["axes.labelsize"]
    )
    return figure


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
