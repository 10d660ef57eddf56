"""The ledger as a table: what predicts a layer's maps, part by part."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...alignment import PARTS, interval
from ...errors import ProbeError
from ...probing import Result
from ...probing.ladder.shares import LOST, ledger_shares
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
    rows: list[dict[str, Any]] = []
    for kind, over, which in groups_of(result, transform):
        for number, layer in enumerate(result.axes["layer"]):
            errors = result.extra[f"ledger/{layer}"][which].mean(axis=0)
            whole = result.variance[number]
            sums = errors.sum(-1, keepdims=True), whole.sum(keepdims=True)
            value = ledger_shares(*sums)[..., 0]
            low, high = interval(ledger_shares, errors, whole, level=result.level)
            rows += [
                {
                    "layer": layer, "kind": kind, "over": over, "transforms": len(which),
                    "source": source, "part": part, "share": value[place], "low": low[place],
                    "high": high[place], "images": len(whole),
                }
                for s, source in enumerate(SOURCES)
                for p, part in enumerate((*PARTS, LOST))
                for place in [(s, p)]
            ]  # fmt: skip
    return pd.DataFrame(rows)


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
