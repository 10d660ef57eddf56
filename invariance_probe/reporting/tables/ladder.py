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
from ...probing.ladder.assemble import quotient
from ...probing.ladder.shares import read_off, readable
from ..select import choose_rungs, choose_transform, kinds_of, moves_of
from .decimals import with_interval
from .escaping import markdown_text, one_row

Array = NDArray[np.float64]

READ = ("gain", "excess", "attribution", "recovered")
"""What is read off the rungs, and stands beside them in tables."""

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def ladder_table(result: Result, transform: str | None = None) -> pd.DataFrame:
    """Residuals of every layer and rung, of one transformation or as means over each kind.

    Tidy: columns `layer`, `kind`, `over` (what was averaged), `transforms` (how many), `rung`,
    `residual`, `low`, `high`, `images`. "gain", "excess", "attribution" and "recovered", which are
    read off the rungs, have rows too. Means leave out the identity, where there is nothing to undo.
    Intervals are over evaluation images, paired across transformations, with the result's level.

    Raises ProbeError for an unknown transform, and where there is nothing but the identity.
    """
    rows: list[dict[str, Any]] = []
    for kind, over, which in _groups(result, transform):
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
) -> str:
    """The ladder as a LaTeX tabular, entries "residual [low, high]", layers by rungs.

    Needs ``\\usepackage{booktabs}``. Numbers have `digits` decimals, small ones as many as it
    takes to read them. Parameters and errors as `ladder_table`; unknown `rungs` are refused.
    """
    lines = ["% needs \\usepackage{booktabs}; intervals over images, see the result's provenance"]
    table, columns = _wide(result, transform, rungs, digits)
    lines += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule"]
    lines.append(" & ".join(["layer", *(escape(c.replace("_", " ")) for c in columns)]) + r" \\")
    for over, rows in table:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{{escape(over)}}}}} \\",
        ]
        for layer, entries in rows:
            shown = [entry.replace("−", "$-$").replace("–", "--") for entry in entries]
            lines.append(" & ".join([escape(layer), *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


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


def _groups(result: Result, transform: str | None) -> Iterable[tuple[str, str, list[int]]]:
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
    level = float(result.provenance.get("options", {}).get("level", 0.95))
    rungs = result.axes["rung"]
    value = ratio(errors, variance)
    low, high = interval(quotient, errors, variance, level=level)
    low = np.maximum(low, 0)
    out = {rung: (float(value[i]), float(low[i]), float(high[i])) for i, rung in enumerate(rungs)}
    for name in [name for name in readable(rungs) if name in READ]:

        def of(sums: Array, energy: Array, name: str = name) -> Array:
            return read_off(np.moveaxis(quotient(sums, energy), -2, -1), rungs, name)

        ends = interval(of, errors, variance, level=level)
        out[name] = (float(read_off(value, rungs, name)), float(ends[0]), float(ends[1]))
    return out


def _wide(
    result: Result, transform: str | None, rungs: Sequence[str] | None, digits: int
) -> tuple[list[tuple[str, list[tuple[str, list[str]]]]], list[str]]:
    """[(over, [(layer, entries)])] and the columns' names."""
    asked = None if rungs is None else [rung for rung in rungs if rung not in READ]
    columns = [*choose_rungs(result, asked)] if asked != [] else []
    there = readable(result.axes["rung"])
    columns += [name for name in READ if name in there and (rungs is None or name in rungs)]
    table = ladder_table(result, transform)
    out = []
    for over, group in table.groupby("over", sort=False):
        rows = []
        for layer in result.axes["layer"]:
            own = group[group["layer"] == layer].set_index("rung")
            rows.append((layer, [_entry(own.loc[name], digits) for name in columns]))
        out.append((str(over), rows))
    return out, columns


def _entry(row: pd.Series, digits: int) -> str:
    return with_interval(row["residual"], row["low"], row["high"], digits)


def escape(text: str) -> str:
    """Text as LaTeX in one row: special characters as commands."""
    return "".join(_LATEX.get(letter, letter) for letter in one_row(text))
