"""The ladder as tables: tidy for computing, LaTeX and Markdown for papers and pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...alignment import interval, ratio
from ...errors import ProbeError
from ...probing import Result
from ...probing.ladder.shares import OF_INVERSE, quotient, read_off, readable
from ...probing.rungs import CEILING, FLOOR
from ..select import choose_rungs, choose_transform, interval_percent, kinds_of, moves_of
from .decimals import with_interval, with_reach
from .escaping import markdown_text
from .latex import Cell, latex_table

Array = NDArray[np.float64]

WIDE_READ = ("gain", "excess")
"""What stands beside all rungs where a table has the width of a page: more would not fit."""

SHORT = ("unaligned", "inverse", "best", "inverse_linear", FLOOR, CEILING)
"""The rungs of a table that has one column of a page."""


def ladder_table(result: Result, transform: str | None = None) -> pd.DataFrame:
    """Residuals of every layer and rung, of one transformation or as means over each kind.

    Tidy: columns `layer`, `kind`, `over` (what was averaged), `transforms` (how many), `rung`,
    `residual`, `low`, `high`, `images`. "gain", "excess", "attribution" and "recovered", which are
    read off the rungs, have rows too. Means leave out the identity, where there is nothing to undo.
    Intervals are over evaluation images, paired across transformations, with the result's level.

    Raises ProbeError for an unknown transform, and where there is nothing but the identity.
    """
    rows: list[dict[str, Any]] = []
    for kind, over, which in groups_of(result, transform):
        for number, layer in enumerate(result.axes["layer"]):
            # The variance is the same under all: a mean of ratios is the ratio of mean errors.
            errors = result.errors[number][which].mean(axis=0)
            for rung, (value, low, high) in _rungs(result, errors, result.variance[number]).items():
                rows.append(
                    {
                        "layer": layer, "kind": kind, "over": over, "transforms": len(which),
                        "rung": rung, "residual": value, "low": low, "high": high,
                        "images": errors.shape[-1],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def to_latex(
    result: Result,
    transform: str | None = None,
    rungs: Sequence[str] | None = None,
    digits: int = 2,
    *,
    wide: bool = False,
    label: str = "ladder",
) -> str:
    """The ladder as LaTeX tables, layers by rungs, below every number how far its interval reaches.

    One `table` of a column's width per kind of transformation, with `rungs` (by default those that
    tell whether moving the maps helps), or with `wide` a `table*` of two columns with all, and with
    gain and excess. Needs
    ``\\usepackage{booktabs,tabularx}``. Numbers have `digits` decimals, small ones as many as it
    takes to read them; labels begin with `label`. Parameters and errors as `ladder_table`; unknown
    `rungs` are refused.
    """
    there = result.axes["rung"]
    shown = rungs or ([*there, *WIDE_READ] if wide else [rung for rung in SHORT if rung in there])
    columns = _columns(result, shown)
    heads = ["layer", *(name.replace("_", " ") for name in columns)]
    out = []
    for over, group in ladder_table(result, transform).groupby("over", sort=False):
        rows: list[list[Cell]] = [
            [layer, *(_below(own.loc[name], digits) for name in columns)]
            for layer, own in _by_layer(result, group)
        ]
        kind = group["kind"].iloc[0]
        out.append(latex_table([("", rows)], heads, _caption(result, str(over), columns),
                               f"{label}-{kind}" + "-wide" * wide, wide=wide))  # fmt: skip
    return "\n".join(out)


def to_markdown(
    result: Result,
    transform: str | None = None,
    rungs: Sequence[str] | None = None,
    digits: int = 2,
) -> str:
    """The ladder as a Markdown table, entries "residual [low, high]"; see `to_latex`."""
    table, columns = _wide(result, transform, rungs, digits)
    lines = [
        "| transformations | layer | " + " | ".join(c.replace("_", " ") for c in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for over, rows in table:
        for layer, entries in rows:
            lines.append(" | ".join([f"| {over}", markdown_text(layer), *entries]) + " |")
    return "\n".join(lines) + "\n"


def groups_of(result: Result, transform: str | None) -> Iterable[tuple[str, str, list[int]]]:
    """(kind, description, indices of transforms) of what is averaged."""
    place = {text: number for number, text in enumerate(result.axes["transform"])}
    if transform is not None:
        text = choose_transform(result, transform)
        moves = moves_of(result)
        kind = str(moves.loc[moves["transform"] == text, "kind"].iloc[0])
        return [(kind, text, [place[text]])]
    groups = []
    for kind in kinds_of(result):
        moves = moves_of(result, kind)
        texts = moves.loc[~moves["identity"].astype(bool), "transform"].tolist()
        if len(texts) == 1:
            groups.append((kind, texts[0], [place[texts[0]]]))
        elif texts:
            groups.append((kind, f"mean of {len(texts)} {kind}s", [place[text] for text in texts]))
    if not groups:
        raise ProbeError(
            "this result holds nothing but the identity, under which every residual is 0; "
            "probe other transformations, or name this one"
        )
    return groups


def _rungs(result: Result, errors: Array, variance: Array) -> dict[str, tuple[float, float, float]]:
    """Value and interval of every rung and of what is read off, from errors (rungs, images)."""
    rungs = result.axes["rung"]
    value = ratio(errors, variance)
    low, high = interval(quotient, errors, variance, level=result.level)
    low = np.maximum(low, 0)
    out = {rung: (float(value[i]), float(low[i]), float(high[i])) for i, rung in enumerate(rungs)}
    for name in [name for name in readable(rungs) if name in OF_INVERSE]:

        def of(sums: Array, energy: Array, name: str = name) -> Array:
            return read_off(np.moveaxis(quotient(sums, energy), -2, -1), rungs, name)

        ends = interval(of, errors, variance, level=result.level)
        out[name] = (float(read_off(value, rungs, name)), float(ends[0]), float(ends[1]))
    return out


def _wide(
    result: Result, transform: str | None, rungs: Sequence[str] | None, digits: int
) -> tuple[list[tuple[str, list[tuple[str, list[str]]]]], list[str]]:
    """[(over, [(layer, entries)])] and the columns' names."""
    columns = _columns(result, rungs)
    out = []
    for over, group in ladder_table(result, transform).groupby("over", sort=False):
        rows = [
            (layer, [_entry(own.loc[name], digits) for name in columns])
            for layer, own in _by_layer(result, group)
        ]
        out.append((str(over), rows))
    return out, columns


def _columns(result: Result, rungs: Sequence[str] | None) -> list[str]:
    asked = None if rungs is None else [rung for rung in rungs if rung not in OF_INVERSE]
    columns = [*choose_rungs(result, asked)] if asked != [] else []
    there = readable(result.axes["rung"])
    return columns + [n for n in OF_INVERSE if n in there and (rungs is None or n in rungs)]


def _by_layer(result: Result, group: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    for layer in result.axes["layer"]:
        yield layer, group[group["layer"] == layer].set_index("rung")


def _caption(result: Result, over: str, columns: Sequence[str]) -> str:
    """What the table shows, of which network, on how many images."""
    provenance = result.provenance
    network = str((provenance.get("network") or {}).get("name") or "")
    ends = [f"{name} is the {what}" for name, what in ((FLOOR, "floor"), (CEILING, "ceiling"))
            if name in columns]  # fmt: skip
    said = f"Residuals (fraction of variance unexplained){f' of {network}' * bool(network)}, {over}"
    if ends:
        said += f"; {' and '.join(ends)}".replace("_", " ")
    images = len(result.axes["image"])
    return f"{said}. Below: reach of the {interval_percent(result)} interval over {images} images."


def _entry(row: pd.Series, digits: int) -> str:
    return with_interval(row["residual"], row["low"], row["high"], digits)


def _below(row: pd.Series, digits: int) -> Cell:
    return with_reach(row["residual"], row["low"], row["high"], digits)
