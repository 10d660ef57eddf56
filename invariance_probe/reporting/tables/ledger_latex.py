"""The ledger as LaTeX tables: of a column's width, or with every source of two."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...probing import Result
from ...probing.ladder.shares import UNDETERMINED
from ..select import interval_percent
from .decimals import with_reach
from .latex import Cell, latex_table
from .ledger import ALIGNED, MOVED, ledger_table

# "undetermined" stands in the wide table alone: a column has no room for it.
_HEADS = {"neighbourhood": "neigh- bourhood", UNDETERMINED: "undeter- mined"}


def ledger_latex(
    result: Result,
    transform: str | None = None,
    digits: int = 2,
    *,
    wide: bool = False,
    label: str = "ledger",
) -> str:
    """The ledger as LaTeX tables, layers by parts, below every number how far its interval reaches.

    One `table` of a column's width per kind of transformation, of what the maps moved back predict
    and, for comparison, the space of the input moved back; with `wide` a `table*` of two columns
    with all parts, source by source. Needs ``\\usepackage{booktabs,tabularx}``. Labels begin with
    `label`. Parameters and errors as `ledger_table`.
    """
    out = []
    for over, rows in ledger_table(result, transform).groupby("over", sort=False):
        kind = rows["kind"].iloc[0]
        parts = [one for one in dict.fromkeys(rows["part"]) if wide or one != UNDETERMINED]
        heads = ["layer", *(_HEADS.get(part, part) for part in parts)]
        if wide:
            sources = list(dict.fromkeys(rows["source"]))
            columns = [(source, [(source, part) for part in parts]) for source in sources]
        else:
            heads.append("input moved")
            columns = [("", [*((MOVED, part) for part in parts), (ALIGNED, "space")])]
        blocks = [(title, _cells(rows, cells, digits)) for title, cells in columns]
        caption = _caption(result, str(over), wide)
        out.append(
            latex_table(blocks, heads, caption, f"{label}-{kind}" + "-wide" * wide, wide=wide)
        )
    return "\n".join(out)


def _cells(rows: pd.DataFrame, columns: Sequence[tuple[str, str]], digits: int) -> list[list[Cell]]:
    """A row per layer, of its shares by (source, part)."""
    table = rows.set_index(["layer", "source", "part"])[["share", "low", "high"]]
    return [
        [layer, *(_below(table.loc[(layer, *column)], digits) for column in columns)]
        for layer in dict.fromkeys(rows["layer"])
    ]


def _below(row: pd.Series, digits: int) -> Cell:
    return with_reach(row["share"], row["low"], row["high"], digits)


def _caption(result: Result, over: str, wide: bool) -> str:
    network = str((result.provenance.get("network") or {}).get("name") or "")
    beside = (
        "predicted from each source"
        if wide
        else "predicted from the maps moved back; “input moved”: space, of the input moved back"
    )
    return (
        f"Ledger{f' of {network}' * bool(network)}, {over}: shares of the variance of the "
        f"original's maps on held-out images, {beside}; – is not determined by so few. Below: "
        f"reach of the {interval_percent(result)} interval over {len(result.axes['image'])} images."
    )
