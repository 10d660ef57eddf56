"""Which of several trained classifiers errs less, and whether the seeds decide it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

COLUMNS = ("data", "fewer", "more", "difference", "decided")


def error_orderings(table: pd.DataFrame) -> pd.DataFrame:
    """Return every pair of runs on the same data, the one that errs less first.

    `table` is that of `classifier_table`. Columns: `data`, `fewer` and `more` (networks),
    `difference` (of the mean errors, in [0, 1]) and `decided`: whether the 95 % intervals of the
    two means over seeds do not overlap. A run of a single seed has no interval and decides nothing.

    The intervals treat seeds as a sample; pairs are looked at one by one, without a correction for
    their number.
    """
    rows = []
    runs = table.drop_duplicates("run")
    for data, group in runs.groupby("data", sort=False):
        ordered = group.sort_values("error", kind="stable").to_dict("records")
        for fewer, more in combinations(ordered, 2):
            ends = fewer["error_high"], more["error_low"]
            apart = bool(np.isfinite(ends).all()) and ends[0] < ends[1]
            difference = more["error"] - fewer["error"]
            rows.append((data, fewer["network"], more["network"], difference, apart))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def orderings_text(table: pd.DataFrame) -> Mapping[str, str]:
    """Say for each data set of `classifier_table` in what order its networks err, and what is open.

    One sentence per data set with several runs, such as "by error: STN-C0, STN-C1, CNN; decided
    (95 % intervals of the mean over seeds do not overlap) but for STN-C0 and STN-C1".
    """
    pairs = error_orderings(table)
    said = {}
    for data, group in pairs.groupby("data", sort=False):
        runs = table[table["data"] == data].drop_duplicates("run")
        names = runs.sort_values("error", kind="stable")["network"]
        text = f"by error: {', '.join(map(str, names))}; "
        rule = "95 % intervals of the mean over seeds"
        still = group[~group["decided"]]
        if still.empty:
            text += f"every pair is decided ({rule} do not overlap)"
        elif len(still) == len(group):
            why = "one seed only" if (runs["seeds"] < 2).all() else f"{rule} overlap"
            text += f"no pair is decided ({why})"
        else:
            left = "; ".join(
                f"{a} and {b}" for a, b in zip(still["fewer"], still["more"], strict=True)
            )
            text += f"decided ({rule} do not overlap) but for {left}"
        said[str(data)] = text
    return said
