"""What remains misaligned after the transformation a network learned, beside what was possible."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ..errors import ProbeError
from ..probing.learned import LEARNED
from ._panels import angle_axis, panel_grid, scale_axis
from .style import GREEN, RESIDUAL, SHADE, RungStyle, rung_style, styled

_LEARNED = RungStyle("learned alignment", GREEN, "D", "-")
_CURVES = ("unaligned", "inverse", LEARNED)


@styled
def plot_learned(table: pd.DataFrame, kind: str = "rotation") -> Figure:
    """Draw the learned residual against the transformation, a panel per network.

    `table` is what `learned_residuals` returns, of one network or several concatenated; `kind` is
    "rotation" or "scaling". Beside the learned alignment stand what is there without one and what
    undoing the transformation on the maps would leave, both of the same network with its
    transformers at the identity; grey is the band between floor (input aligned) and ceiling (maps
    of another image). Coloured bands are the bootstrap intervals of the table.

    Raises ProbeError where the table has no transformation of that kind.
    """
    shown = table[table["kind"].isin((kind, "identity")) & table["parameter"].notna()]
    if not (shown["kind"] == kind).any():
        kinds = ", ".join(sorted(set(table["kind"])))
        raise ProbeError(f"no transformations of kind '{kind}' in the table; it has {kinds}")
    names = list(dict.fromkeys(shown["network"]))
    figure, axes = panel_grid([len(names)], row_height=46.0, extra=10.0)
    for place, (ax, name) in enumerate(zip(axes, names, strict=True)):
        own = shown[shown["network"] == name]
        curve = {rung: part.sort_values("parameter") for rung, part in own.groupby("rung")}
        floor, ceiling = curve["input_aligned"], curve["other_image"]
        ax.fill_between(
            floor["parameter"], floor["residual"], ceiling["residual"],
            color=SHADE, linewidth=0, zorder=0, label="floor to ceiling",
        )  # fmt: skip
        for rung in _CURVES:
            style = _LEARNED if rung == LEARNED else rung_style(rung, _CURVES[:2])
            part = curve[rung]
            ax.plot(
                part["parameter"], part["residual"], color=style.colour, marker=style.marker,
                linestyle=style.line, label=style.label,
            )  # fmt: skip
            ax.fill_between(
                part["parameter"], part["low"], part["high"],
                color=style.colour, alpha=0.2, linewidth=0,
            )  # fmt: skip
        ax.set_title(f"{name}, {own['layer'].iloc[0]}")
        if kind == "rotation":
            angle_axis(ax, *ax.get_xlim(), labels=5)
            ax.set_xlabel("angle (degrees)")
        else:
            scale_axis(ax, own["parameter"].min(), own["parameter"].max())
            ax.set_xlabel("scale factor")
        if place == 0:
            ax.set_ylabel(RESIDUAL)
    top = 1.04 * float(shown["high"].max())
    for ax in axes:
        ax.set_ylim(0, top)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if len(names) < 2 else 4)
    return figure
