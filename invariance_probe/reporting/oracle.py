"""What perfect alignment at one layer is worth to the classifier, against depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import ProbeError
from ..probing import OracleResult
from ..probing.oracle_result import AT_LAYER, MEASURES, ON_INPUT
from ._panels import given_axes, panel_grid
from .style import BLACK, GREEN, ORANGE, VERMILLION, styled

_LABELS = {
    "accuracy": "accuracy",
    "agreement": "agreement with the\nuntransformed prediction",
    "logit_residual": "residual of the logits\n(fraction of variance)",
}


@dataclass(frozen=True)
class _Look:
    label: str
    colour: str
    marker: str
    line: Any


_LOOKS = {
    "nothing": _Look("nothing done", BLACK, "", ":"),
    "input_aligned": _Look("input aligned", GREEN, "", "-"),
    "inverse": _Look("maps aligned by h⁻¹", VERMILLION, "s", "-"),
    "inverse_permuted": _Look("… and channels permuted", ORANGE, "D", (0, (1, 1))),
    "inverse_linear": _Look("… and channels mapped", ORANGE, "X", "-"),
}


@styled
def plot_oracle(
    result: OracleResult,
    measure: str = "accuracy",
    transforms: str | Sequence[str] | None = None,
    *,
    axes: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw a measure of the oracle against depth, a panel per transformation.

    `measure` is "accuracy", "agreement" or "logit_residual". Treatments of one layer's maps are
    points with intervals over the evaluation images, in the order of the layers; what is done to
    the input, or not at all, is a horizontal line with its interval as a band. By default the
    first four transformations that move anything are drawn.

    Raises ProbeError for unknown measures and transformations, and for accuracies without labels.
    """
    if measure not in MEASURES:
        raise ProbeError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
    table = result.accuracy
    if table[measure].isna().all():
        raise ProbeError("these images have no labels; draw 'agreement' or 'logit_residual'")
    moving = table[~table["identity"].astype(bool)]["transform"].unique().tolist()
    asked = moving[:4] if transforms is None else transforms
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        result.table(name)  # refuses unknown ones
    layers = [n for n in dict.fromkeys(result.axes["layer"]) if n != "input"]
    if axes is None:
        figure, panels = panel_grid([len(names)], row_height=48.0, extra=16.0)
    else:
        figure, panels = given_axes(axes, len(names))
    for place, (name, ax) in enumerate(zip(names, panels, strict=True)):
        _panel(ax, table[table["transform"] == name], layers, measure)
        ax.set_title(name)
        ax.set_xticks(range(len(layers)), layers, rotation=90 if len(layers) > 4 else 0)
        ax.set_xlim(-0.4, len(layers) - 0.6)
        if measure != "logit_residual":
            ax.set_ylim(-0.03, 1.03)
        else:
            ax.set_ylim(bottom=0)
        if place == 0:
            ax.set_ylabel(_LABELS[measure])
    if axes is None:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(names) + 1))
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, layers: Sequence[str], measure: str) -> None:
    for treatment in ON_INPUT:
        look = _LOOKS[treatment]
        (row,) = rows[rows["treatment"] == treatment].to_dict("records")
        ax.axhline(row[measure], color=look.colour, linestyle=look.line, label=look.label)
        ax.axhspan(
            row[f"{measure}_low"], row[f"{measure}_high"], color=look.colour, alpha=0.12, lw=0
        )
    for shift, treatment in enumerate(AT_LAYER):
        look = _LOOKS[treatment]
        own = rows[rows["treatment"] == treatment].set_index("layer").reindex(layers)
        value = own[measure].to_numpy(float)
        ends = np.abs(np.stack([value - own[f"{measure}_low"], own[f"{measure}_high"] - value]))
        ax.errorbar(
            np.arange(len(layers)) + 0.08 * (shift - 1), value, ends, color=look.colour,
            marker=look.marker, linestyle=look.line, label=look.label, capsize=1.5,
        )  # fmt: skip


def oracle_markdown(result: OracleResult, transform: str, measure: str = "accuracy") -> str:
    """One transformation's measure as a Markdown table, layers by treatments, with intervals."""
    result.table(transform, measure)  # refuses unknown ones
    rows = result.accuracy[result.accuracy["transform"] == transform]
    rows = rows.set_index(["layer", "treatment"])
    layers = [n for n in dict.fromkeys(result.axes["layer"]) if n != "input"]
    treatments = (*ON_INPUT, *AT_LAYER)
    lines = [
        "| layer | " + " | ".join(_LOOKS[t].label for t in treatments) + " |",
        "|---|" + "---:|" * len(treatments),
    ]
    for layer in layers:
        cells = []
        for treatment in treatments:
            row = rows.loc["input" if treatment in ON_INPUT else layer, treatment]
            cells.append(_cell(*(float(row[f"{measure}{end}"]) for end in ("", "_low", "_high"))))
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float, low: float, high: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
