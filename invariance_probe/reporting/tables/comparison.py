"""Comparisons as printed tables: every network's value, its paired difference, and p."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...probing.comparison.compared import Comparison
from ..select import known
from .decimals import with_interval
from .escaping import markdown_text
from .latex import latex_table

HEADS = ("layer", "quantity", "network", "value", "difference", "p adjusted")
_WHERE = "this comparison"


def comparison_markdown(
    comparison: Comparison,
    transform: str | None = None,
    quantities: str | Iterable[str] | None = None,
    digits: int = 2,
) -> str:
    """A comparison as a Markdown table, one row per layer, quantity and network.

    Values and differences are "value [low, high]" with `digits` decimals, of one transformation or
    as means over each kind. `p adjusted` is `Comparison.table`'s `p_adjusted`.

    Raises ProbeError for an unknown transform or quantity.
    """
    lines = [
        f"| transformations | {' | '.join(HEADS)} |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    for over, rows in printed_rows(comparison, transform, quantities, digits, sparse=False):
        for row in rows:
            names = map(markdown_text, (over, *row[:3]))
            lines.append(f"| {' | '.join((*names, *row[3:]))} |")
    notes = [f"{markdown_text(note)}." for note in _notes(comparison)]
    return "\n".join([*lines, "", *notes]) + "\n"


def comparison_latex(
    comparison: Comparison,
    transform: str | None = None,
    quantities: str | Iterable[str] | None = None,
    digits: int = 2,
) -> str:
    """A comparison as a LaTeX table of two columns' width; see `comparison_markdown`.

    Needs ``\\usepackage{booktabs,tabularx}``.
    """
    blocks = printed_rows(comparison, transform, quantities, digits)
    caption = f"Comparison of networks. {'. '.join(_notes(comparison))}."
    return latex_table(blocks, HEADS, caption, "comparison", texts=3, wide=True)


def printed_rows(
    comparison: Comparison,
    transform: str | None = None,
    quantities: str | Iterable[str] | None = None,
    digits: int = 2,
    *,
    sparse: bool = True,
) -> list[tuple[str, list[list[str]]]]:
    """[(transformations, rows of cells as `HEADS`)]; if `sparse`, what repeats is left blank."""
    table = comparison.means()
    if transform is not None:
        text = known("transform", transform, list(comparison.table["transform"].unique()), _WHERE)
        table = comparison.table[comparison.table["transform"] == text]
    wanted: Sequence[str] = comparison.quantities
    if quantities is not None:
        asked = [quantities] if isinstance(quantities, str) else quantities
        wanted = [known("quantity", one, comparison.quantities, _WHERE) for one in asked]
    # A p-value is a count of resamples: with 1,000 there is none below 1/1001.
    least = 1 / (1 + int(comparison.provenance["bootstrap"]["resamples"]))
    out = []
    for over, group in table[table["quantity"].isin(wanted)].groupby("transform", sort=False):
        rows: list[list[str]] = []
        last: tuple[str, str] = ("", "")
        for row in group.to_dict("records"):
            head = (row["layer"], row["quantity"])
            new_layer, new = head[0] != last[0] or not sparse, head != last or not sparse
            rows.append(
                [
                    head[0] if new_layer else "",
                    head[1].replace("_", " ") if new else "",
                    row["network"],
                    _entry(row, ("value", "low", "high"), digits),
                    _entry(row, ("difference", "difference_low", "difference_high"), digits),
                    _p(row["p_adjusted"], least),
                ]
            )
            last = head
        out.append((str(over), rows))
    return out


def _notes(comparison: Comparison) -> list[str]:
    drawn = comparison.provenance["bootstrap"]
    images = int(comparison.table["images"].iloc[0])
    return [
        f"{100 * drawn['level']:g} % intervals over {images} images; differences are to "
        f"{comparison.baseline}, on the same images",
        "p adjusted: for the largest of all rows of a quantity, over layers, transformations and "
        "networks (maxT)",
        *comparison.notes,
    ]


def _entry(row: dict[str, Any], columns: tuple[str, str, str], digits: int) -> str:
    value, low, high = (row[name] for name in columns)
    return with_interval(value, low, high, digits)


def _p(value: float, least: float) -> str:
    if not np.isfinite(value):
        return "–"
    digits = max(3, int(np.ceil(-np.log10(least))))
    return f"≤ {least:.{digits}f}" if value <= 1.001 * least else f"{value:.{digits}f}"
