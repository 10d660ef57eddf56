"""The oracle as tables: tidy, LaTeX, Markdown; and beside the ladder of the same layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import ProbeError
from ...probing import OracleResult, Result
from ...probing.oracles.result import AT_LAYER, MEASURES, ON_INPUT, with_interval
from ...probing.rungs import rung_of
from ..select import interval_percent
from .decimals import with_reach
from .escaping import markdown_text
from .latex import Cell, latex_table

Array = NDArray[np.float64]

TREATMENTS = {
    "nothing": "nothing done",
    **{name: rung_of(name).treatment for name in (*ON_INPUT, *AT_LAYER) if name != "nothing"},
}
"""What treatments are called in figures and tables."""

Ends = tuple[float, float, float]

_ENDS = ("", "_low", "_high")
_GROUP = ["kind", "over"]


def oracle_table(result: OracleResult, transform: str | None = None) -> pd.DataFrame:
    """Every measure of every treatment, of one transformation or as means over each kind.

    Tidy: columns `layer` ("input" for treatments that no layer has a part in), `kind`, `over`
    (what was averaged), `transforms` (how many), `treatment`, `measure`, `value`, `low`, `high`,
    `images`. Means leave out the identity. Intervals are over evaluation images, with the result's
    own level: Wilson's for shares, Student's t for residuals. NaN where a channel map
    is not determined, and for accuracy without labels.

    Raises ProbeError for an unknown transform, and where there is nothing but the identity.
    """
    rows: list[dict[str, Any]] = []
    for kind, over, which in _groups(result, transform):
        for measure, (sums, weights) in _sums(result, which).items():
            value, low, high = with_interval(sums, weights, result.level).T
            for row, layer in enumerate(result.axes["layer"]):
                rows.append(
                    {
                        "layer": layer, "kind": kind, "over": over, "transforms": len(which),
                        "treatment": result.axes["treatment"][row], "measure": measure,
                        "value": value[row], "low": low[row], "high": high[row],
                        "images": sums.shape[-1],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def oracle_markdown(
    result: OracleResult, transform: str | None = None, measure: str = "accuracy", digits: int = 3
) -> str:
    """A measure as a Markdown table, layers by treatments, entries "value [low, high]".

    Without `transform` there is a row per layer and kind, and a column that says what was
    averaged. Parameters and errors as `oracle_table`; unknown measures are refused.
    """
    heads = ["layer", *TREATMENTS.values()]
    if transform is None:
        heads = ["transformations", *heads]
    lines = [_line(heads), _rule(len(heads) - len(TREATMENTS), len(TREATMENTS))]
    for _, over, rows in _estimates(result, transform, measure):
        for layer, values in rows:
            first = ([over] if transform is None else []) + [markdown_text(layer)]
            lines.append(_line(first + [_entry(ends, digits) for ends in values]))
    return "\n".join(lines) + "\n"


def oracle_latex(
    result: OracleResult,
    transform: str | None = None,
    measure: str = "accuracy",
    digits: int = 3,
    *,
    label: str = "oracle",
) -> str:
    """A measure as LaTeX tables of a column's width, one per kind, layers by treatments.

    Needs ``\\usepackage{booktabs,tabularx}``. Below every number stands how far its interval
    reaches; labels begin with `label`. Parameters and errors as `oracle_markdown`.
    """
    network = str((result.provenance.get("network") or {}).get("name") or "the classifier")
    out = []
    for kind, over, rows in _estimates(result, transform, measure):
        cells: list[list[Cell]] = [
            [layer, *(with_reach(*ends, digits) for ends in values)] for layer, values in rows
        ]
        said = (
            f"{measure.replace('_', ' ').capitalize()} of {network}, {over}, when an oracle aligns "
            f"the maps of one layer. Below: reach of the {interval_percent(result)} interval over "
            f"{len(result.labels)} images."
        )
        heads = ["layer", *TREATMENTS.values()]
        out.append(latex_table([("", cells)], heads, said, f"{label}-{measure}-{kind}"))
    return "\n".join(out)


def rungs_and_accuracies(result: Result, oracle: OracleResult) -> pd.DataFrame:
    """The ladder and the oracle's accuracies, one row per transformation and layer.

    Columns: `transform`, `layer`; every rung of the ladder; where there is one, `fit_bound`, the
    in-sample bound over all linear operators on positions; and `accuracy_TREATMENT` (without
    labels: `agreement_TREATMENT`). Each with its interval, `..._low`, `..._high`, but `fit_bound`.
    Accuracies are NaN for layers that the oracle does not admit.

    Raises ProbeError unless both were measured on the same evaluation images and transformations.
    """
    for name, what in (("image", "evaluation images"), ("transform", "transformations")):
        if result.axes[name] != oracle.axes[name]:
            raise ProbeError(
                f"probe and oracle were measured on different {what}; run both with the same "
                "images, number, seed and transforms"
            )
    measure = main_measure(oracle)
    columns = [f"{measure}{end}" for end in _ENDS]
    worth = oracle.accuracy.set_index(["transform", "layer", "treatment"])[columns]
    missing = dict.fromkeys(columns, np.nan)
    residuals = result.residuals.set_index(["transform", "layer", "rung"])
    residuals = residuals[["residual", "low", "high"]]
    bounds = result.bounds
    if len(bounds):
        bounds = bounds.set_index(["transform", "layer"])["bound"]
    rows = []
    for transform in result.axes["transform"]:
        for layer in result.axes["layer"]:
            row: dict[str, Any] = {"transform": transform, "layer": layer}
            for rung in result.axes["rung"]:
                values = residuals.loc[transform, layer, rung]
                row |= {f"{rung}{e}": v for e, v in zip(_ENDS, values, strict=True)}
            if len(bounds):
                row["fit_bound"] = bounds.loc[transform, layer]
            for treatment in TREATMENTS:
                key = (transform, "input" if treatment in ON_INPUT else layer, treatment)
                found = worth.loc[key] if key in worth.index else missing
                row |= {f"{measure}_{treatment}{e}": found[f"{measure}{e}"] for e in _ENDS}
            rows.append(row)
    return pd.DataFrame(rows)


def rungs_markdown(result: Result, oracle: OracleResult, transform: str) -> str:
    """One transformation's ladder and accuracies as Markdown, a row per layer.

    Residuals with two decimals, accuracies in percent. Below stands how far the intervals reach at
    most from the numbers. Errors as `rungs_and_accuracies`, and for an unknown transform.
    """
    oracle.table(transform)  # refuses unknown ones
    table = rungs_and_accuracies(result, oracle)
    table = table[table["transform"] == transform]
    measure = main_measure(oracle)
    worth = [f"{measure}_{treatment}" for treatment in TREATMENTS]
    rungs = list(result.axes["rung"])
    heads = ["layer", *(rung.replace("_", " ") for rung in rungs)]
    heads += [f"{measure}: {treatment.replace('_', ' ')}" for treatment in TREATMENTS]
    lines = [_line(heads), _rule(1, len(heads) - 1)]
    for _, row in table.iterrows():
        cells = [_number(row[rung], 2) for rung in rungs]
        cells += [_percent(row[name]) for name in worth]
        lines.append(_line([markdown_text(row["layer"]), *cells]))
    text = (
        f"{len(oracle.axes['image'])} evaluation images; "
        f"{interval_percent(oracle)} intervals "
        f"reach at most ±{_reach(table, rungs):.2f} (residuals) and "
        f"±{100 * _reach(table, worth):.1f} % ({measure})."
    )
    return "\n".join([*lines, "", text]) + "\n"


def main_measure(oracle: OracleResult) -> str:
    """Accuracy, or agreement with the untransformed images where there are no labels."""
    return "agreement" if oracle.accuracy["accuracy"].isna().all() else "accuracy"


def _groups(result: OracleResult, transform: str | None) -> Iterator[tuple[str, str, list[int]]]:
    """(kind, description, indices of transforms) of what is averaged."""
    moves = result.accuracy.drop_duplicates("transform").reset_index(drop=True)
    if transform is not None:
        result.table(transform)  # refuses unknown ones
        which = result.axes["transform"].index(transform)
        yield str(moves["kind"][which]), transform, [which]
        return
    moves = moves[~moves["identity"].astype(bool)]
    if moves.empty:
        raise ProbeError(
            "this result holds nothing but the identity, under which nothing is to be aligned; "
            "run the oracle on other transformations, or name this one"
        )
    for kind, own in moves.groupby("kind", sort=False):
        single = len(own) == 1
        over = str(own["transform"].iloc[0]) if single else f"mean of {len(own)} {kind}s"
        yield str(kind), over, [int(index) for index in own.index]


def _sums(result: OracleResult, which: list[int]) -> dict[str, tuple[Array, Array | None]]:
    """Numerators (rows, images), means over transforms, and denominators (images), by measure.

    Proportions have no denominator.
    """
    predictions, errors = result.predictions[which], result.errors[which]
    known = ~np.isnan(errors)
    labels = np.where(result.labels >= 0, result.labels, np.nan)
    unlabelled = np.isnan(labels).any()
    right = np.where(known & ~unlabelled, predictions == labels, np.nan)
    same = np.where(known, predictions == result.originals, np.nan)
    return {
        "accuracy": (right.mean(axis=0), None),
        "agreement": (same.mean(axis=0), None),
        "logit_residual": (errors.mean(axis=0), result.variance),
    }


def _estimates(
    result: OracleResult, transform: str | None, measure: str
) -> Iterator[tuple[str, str, list[tuple[str, list[Ends]]]]]:
    """(kind, what was averaged, [(layer, values with the ends of their intervals)])."""
    if measure not in MEASURES:
        raise ProbeError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
    table = oracle_table(result, transform)
    table = table[table["measure"] == measure]
    layers = [name for name in dict.fromkeys(result.axes["layer"]) if name != "input"]
    for (kind, over), group in table.groupby(_GROUP, sort=False):
        own = group.set_index(["layer", "treatment"])[["value", "low", "high"]]
        rows = []
        for layer in layers:
            keys = [("input" if t in ON_INPUT else layer, t) for t in (*ON_INPUT, *AT_LAYER)]
            rows.append((layer, [_ends(own.loc[key]) for key in keys]))
        yield str(kind), str(over), rows


def _ends(row: pd.Series) -> Ends:
    value, low, high = map(float, row)
    return value, low, high


def _entry(ends: Ends, digits: int) -> str:
    value, low, high = (f"{end:.{digits}f}" for end in ends)
    return "–" if np.isnan(ends[0]) else f"{value} [{low}, {high}]"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(texts: int, numbers: int) -> str:
    return "|" + "---|" * texts + "---:|" * numbers


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if np.isfinite(value) else "–"


def _reach(table: pd.DataFrame, names: list[str]) -> float:
    """The largest distance of an end of an interval from its number."""
    reach = [
        (table[f"{name}{end}"] - table[name]).abs().max() for name in names for end in _ENDS[1:]
    ]
    return float(np.nanmax(reach))
