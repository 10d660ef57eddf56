"""Trained classifiers side by side: how often they err, and how well they align their input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from invariance_probe.errors import ProbeError
from invariance_probe.reporting.tables.latex import latex_table, stacked
from invariance_probe.training.poses.statistics import UNITS
from invariance_probe.training.runs.errors import summarise_errors
from papers.orderings import orderings_text

_SHOWN = ("rotation", "scaling", "translation")  # x and y of a shift stand together
_HEADS = ("network", "parameters", "error (%)", "pose", "slope", "deviation")
_ENDS = ("", "_low", "_high")


def classifier_table(errors: pd.DataFrame, poses: pd.DataFrame | None = None) -> pd.DataFrame:
    """Error, slope and pose deviation of every run, one row per run and kind of pose.

    `errors` holds a row per run, seed and pass as `evaluate_run` gives them, with a column
    `parameters` (of the network) where that is to be shown. `poses` holds the rows of
    `pose_statistics` with columns `run` and `seed` before them; runs without (a plain CNN) have
    NaN there.

    Columns: `data`, `network`, `run`, `parameters`, `seeds`, `passes`, `number` (images a pass),
    `error` (mean, in [0, 1]) with `error_low` and `error_high` (95 % interval of the mean over
    seeds), `sd_seeds` (of the seeds' means), `sd_passes` (within a seed),
    `kind`, `unit`, and `slope` and `deviation` (means over seeds), each with `..._low` and
    `..._high`: the lowest and highest end of the seeds' own intervals.

    Raises ProbeError for poses of runs that have no errors.
    """
    table = summarise_errors(errors)
    if "parameters" in errors:
        counts = errors.drop_duplicates("run").set_index("run")["parameters"]
        table["parameters"] = table["run"].map(counts)
    else:
        table["parameters"] = np.nan
    aligned = _over_seeds(poses if poses is not None else pd.DataFrame())
    if unknown := sorted(set(aligned["run"]) - set(table["run"])):
        raise ProbeError(f"there are poses but no errors of {', '.join(unknown)}; evaluate it too")
    whole = table.merge(aligned, on="run", how="left")
    first = ["data", "network", "run", "parameters"]
    whole = whole[[*first, *(c for c in whole.columns if c not in first)]]
    order = list(dict.fromkeys(whole["data"]))
    places = whole["data"].map(order.index)
    return whole.iloc[np.argsort(places.to_numpy(), kind="stable")].reset_index(drop=True)


def classifier_markdown(table: pd.DataFrame, budgets: Mapping[str, str] | None = None) -> str:
    """The table of `classifier_table` in Markdown, a row per run, grouped by data.

    Errors are in percent, "mean ± standard deviation over seeds" (over passes where there is one
    seed); slopes and deviations "value [low, high]". Minus one is the slope of perfect alignment.
    Below it: how each data set's runs were trained (`budgets`, by data), tested, and which order
    of their errors the seeds decide (`orderings_text`).
    """
    heads = ["data", *_HEADS]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---:|---:|---|---:|---:|"]
    for data, _, rows in _groups(table):
        lines += ["| " + " | ".join([data, *cells]).replace("\n", " ") + " |" for cells in rows]
    notes = []
    for data, note, _ in _groups(table, budgets):
        order = orderings_text(table).get(data)
        notes.append(f"{data}: {note}." + (f" {order[0].upper()}{order[1:]}." if order else ""))
    return "\n".join([*lines, "", *notes]) + "\n"


def classifier_latex(table: pd.DataFrame, budgets: Mapping[str, str] | None = None) -> str:
    """The table of `classifier_table` as a LaTeX table of two columns' width.

    Needs ``\\usepackage{booktabs,tabularx}``; entries and notes as `classifier_markdown`.
    """
    blocks = [
        (f"{data}: {note}", [[stacked(cell) for cell in cells] for cells in rows])
        for data, note, rows in _groups(table)
    ]
    notes = [
        "Error: mean ± standard deviation over seeds (over passes where there is one seed). Slope "
        "and deviation of poses: value [low, high]; −1 is the slope of perfect alignment."
    ]
    orders = orderings_text(table)
    for data in dict.fromkeys(table["data"].astype(str)):
        said = ". ".join(text for text in ((budgets or {}).get(data), orders.get(data)) if text)
        if said:
            notes.append(f"{data}: {said}.")
    return latex_table(blocks, _HEADS, " ".join(notes), "classifiers", wide=True)


def _over_seeds(poses: pd.DataFrame) -> pd.DataFrame:
    """A row per run and kind: means over seeds, between the outermost ends of their intervals."""
    columns = [f"{what}{end}" for what in ("slope", "deviation") for end in _ENDS]
    rows: list[dict[str, Any]] = []
    if len(poses):
        shown = poses[poses["kind"].isin(_SHOWN)]
        for (run, kind), group in shown.groupby(["run", "kind"], sort=False):
            row: dict[str, Any] = {"run": run, "kind": kind, "unit": UNITS[str(kind)]}
            for what in ("slope", "deviation"):
                row[what] = group[what].mean()
                row[f"{what}_low"] = group[f"{what}_low"].min()
                row[f"{what}_high"] = group[f"{what}_high"].max()
            rows.append(row)
    return pd.DataFrame(rows, columns=["run", "kind", "unit", *columns])


def _groups(
    table: pd.DataFrame, budgets: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str, list[list[str]]]]:
    """(data, what was measured, rows of entries) of every data set."""
    for data, group in table.groupby("data", sort=False):
        seeds, passes, number = (_range(group[name]) for name in ("seeds", "passes", "number"))
        note = f"{seeds} seed{'' if seeds == '1' else 's'}, {passes} "
        note += f"pass{'' if passes == '1' else 'es'} over {number} images"
        if budget := (budgets or {}).get(str(data)):
            note = f"{budget}; {note}"
        rows, last = [], None
        for row in group.to_dict("records"):
            new = row["run"] != last
            rows.append([*(_first(row) if new else ["", "", ""]), *_pose(row)])
            last = row["run"]
        yield str(data), note, rows


def _first(row: dict[str, Any]) -> list[str]:
    spread = row["sd_seeds"] if np.isfinite(row["sd_seeds"]) else row["sd_passes"]
    error = f"{100 * row['error']:.2f}"
    if np.isfinite(spread):
        error += f" ± {100 * spread:.2f}"
    known = np.isfinite(row["parameters"])
    count = f"{int(row['parameters']):,}" if known else "–"
    return [str(row["network"]), count, error]


def _pose(row: dict[str, Any]) -> list[str]:
    if not isinstance(row["kind"], str):
        return ["–", "–", "–"]
    digits = 1 if row["unit"] == "degrees" else 2
    deviation = _entry(row, "deviation", digits) + f" {row['unit']}"
    return [row["kind"], _entry(row, "slope", 2), deviation]


def _entry(row: dict[str, Any], what: str, digits: int) -> str:
    # Adding 0 to what is rounded turns -0 into 0.
    value, low, high = (f"{round(row[f'{what}{end}'], digits) + 0.0:.{digits}f}" for end in _ENDS)
    return f"{value} [{low}, {high}]".replace("-", "−")


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low}–{high}"
