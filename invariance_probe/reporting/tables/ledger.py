"""The ledger as a table: what predicts a layer's maps, part by part."""

from __future__ import annotations

import pandas as pd

from ...errors import ProbeError
from ...probing import Result
from ...probing.ladder.ledger_state import ledger_rows
from ...probing.options import SOURCES
from .ladder import groups_of

MOVED, ALIGNED, CHANCE = SOURCES


def ledger_table(result: Result, transform: str | None = None) -> pd.DataFrame:
    """The ledger of every layer, of one transformation or as means over each kind.

    Tidy: columns `layer`, `kind`, `over` (what was averaged), `transforms` (how many), `source`,
    `part`, `share`, `low`, `high`, `images`. Shares of one layer and source add up to 1. Means
    leave out the identity. Intervals are over evaluation images, with the result's level.

    Raises ProbeError for results without a ledger, for an unknown transform, and where there is
    nothing but the identity.
    """
    check_ledger(result)
    tables = []
    for kind, over, which in groups_of(result, transform):
        about = [{"kind": kind, "over": over, "transforms": len(which)}]
        for number, layer in enumerate(result.axes["layer"]):
            errors = result.extra[f"ledger/{layer}"][which].mean(axis=0, keepdims=True)
            whole = result.variance[number]
            rows = ledger_rows(errors, whole, layer, about, result.level)
            tables.append(rows.assign(images=len(whole)))
    return pd.concat(tables, ignore_index=True)


def check_ledger(result: Result) -> None:
    """Refuse a result without a ledger."""
    if not has_ledger(result):
        raise ProbeError(
            "this result holds no ledger: it was switched off, or measured by a version before it; "
            "probe again with ledger=True"
        )


def has_ledger(result: Result) -> bool:
    """Whether the ledger of every layer is there."""
    return all(f"ledger/{layer}" in result.extra for layer in result.axes["layer"])
