"""Errors on distorted digits beside the published ones, as tables: networks by data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from invariance_probe.errors import ProbeError
from invariance_probe.networks.stn.architecture import Architecture
from invariance_probe.reporting.tables.latex import latex_table
from invariance_probe.training.runs.errors import summarise_errors
from papers.published import BUDGET, DATA, FAMILIES, NO_FAMILY, PUBLISHED, SOURCE, published_error

_NETWORKS = tuple(dict.fromkeys(one.network for one in PUBLISHED))
_FAMILIES = (NO_FAMILY, *FAMILIES)
_FAMILY_NAMES = {NO_FAMILY: "–", "tps": "TPS"}
_SPREAD = "errors in %, mean ± standard deviation over seeds"
_HEADS = {"ST-CNN": ("CNN",), "ST-FCN": ("FCN", "auto")}


def published_names(architecture: Architecture) -> tuple[str, str]:
    """Return network and family as in the published tables.

    Two transformers side by side are "2x"; a localisation network that is not the one of that paper
    (three layers of 32 for ST-FCN, two convolutions for ST-CNN) is named in brackets.

    >>> published_names(Architecture("STN-C0", head="CNN", family="tps"))
    ('ST-CNN', 'tps')
    >>> published_names(Architecture("ST-FCN", parallel=2, head="CNNt"))
    ('2xST-FCN (CNNt)', 'affine')
    """
    if architecture.kind is None:
        return architecture.name, NO_FAMILY
    own = architecture.name == "STN-C0" and architecture.backbone == "mnist"
    name = "ST-CNN" if own else architecture.name
    other = architecture.head not in _HEADS.get(name, ("auto",))
    several = f"{architecture.parallel}x" if architecture.parallel > 1 else ""
    return f"{several}{name}" + f" ({architecture.head})" * other, architecture.family


def beside_published(errors: pd.DataFrame) -> pd.DataFrame:
    """Set errors beside the published ones, a row per run.

    `errors` are rows of `evaluate_run` with `network` and `family` of `published_names`, and with
    columns `parameters` and `budget` (how the run was trained, `training_budget`).

    Columns: `budget`, `data`, `network`, `family`, `run`, `parameters`, `seeds`, `passes`,
    `number`, `error` (mean, in [0, 1]), `sd_seeds`, `sd_passes`, `published` (in [0, 1]; NaN where
    there is none, or none that could be confirmed) and `note`. Rows and data sets come in the order
    of the paper. Raises ProbeError for two runs of the same network, data and budget.
    """
    table = summarise_errors(errors)
    known = errors.drop_duplicates("run").set_index("run")
    for name in ("family", "parameters", "budget"):
        table[name] = table["run"].map(known[name])
    cell = ["budget", "data", "network", "family"]
    if (twice := table.duplicated(cell, keep=False)).any():
        first, second = table.loc[twice].sort_values(cell, kind="stable")["run"].iloc[:2]
        raise ProbeError(
            f"'{first}' and '{second}' are the same network, trained alike on the same data; "
            "leave one out"
        )
    found = [
        published_error(row["data"], row["network"].partition(" (")[0], row["family"])
        for row in table.to_dict("records")
    ]
    table["published"] = [
        np.nan if one is None or one.error is None else one.error / 100 for one in found
    ]
    table["note"] = ["" if one is None else one.note for one in found]
    places = {"data": DATA, "network": _NETWORKS, "family": _FAMILIES}
    order = {"budget": list(dict.fromkeys(table["budget"]))}
    order |= {name: [*of, *dict.fromkeys(table[name])] for name, of in places.items()}
    by = pd.DataFrame({name: table[name].map(of.index) for name, of in order.items()})
    columns = [*cell, "run", "parameters", "seeds", "passes", "number", "error"]
    columns += ["sd_seeds", "sd_passes", "published", "note"]
    return table.loc[by.sort_values(cell, kind="stable").index, columns].reset_index(drop=True)


def published_markdown(table: pd.DataFrame) -> str:
    """The table of `beside_published` in Markdown: networks by data sets, ours and the paper's.

    Runs of each budget make a table of their own, with the budget above it, and the numbers of
    parameters below.
    """
    lines: list[str] = []
    for group in _groups(table):
        for title, heads, rows in group.parts:
            align = "|---" * 2 + "|---:" * (len(heads) - 2) + "|"
            lines += [title, "", *map(_line, [heads]), align, *map(_line, rows), ""]
        lines += [*group.notes, ""]
    return "\n".join(lines[:-1]) + "\n"


def published_latex(table: pd.DataFrame) -> str:
    """The table of `beside_published` as LaTeX tables of two columns' width.

    Needs ``\\usepackage{booktabs,tabularx}``; see `published_markdown`.
    """
    parts: list[str] = []
    for group in _groups(table):
        for number, (title, heads, rows) in enumerate(group.parts):
            said = " ".join([title, *(group.notes if number == 0 else [])])
            label = f"published-{len(parts) + 1}"
            parts.append(latex_table([("", rows)], heads, said, label, texts=2, wide=True))
    return "\n".join(parts)


class _Group:
    """What is printed of the runs of one budget: (title, heads, rows), and notes below."""

    def __init__(self, rows: pd.DataFrame, number: int) -> None:
        self._cells = {(r["data"], r["network"], r["family"]): r for r in rows.to_dict("records")}
        self._data = list(dict.fromkeys(rows["data"]))
        self._names = published_rows(rows)
        self._marks = list(dict.fromkeys(note for note in rows["note"] if note))
        passes, images = _range(rows["passes"]), _range(rows["number"])
        title = f"Budget {number}: {rows['budget'].iloc[0]}."
        beside = [h for data in self._data for h in (_short(data), "paper")]
        heads = ["network", "family"]
        self.parts = [
            (title, [*heads, *beside], list(self._rows(self._pair))),
            (
                "Parameters.",
                [*heads, *map(_short, self._data)],
                list(self._rows(lambda row: [f"{int(row['parameters']):,}" if row else "–"])),
            ),
        ]
        self.notes = [
            f"{_SPREAD[0].upper()}{_SPREAD[1:]}; {passes} passes over {images} test images. "
            f"Paper: {SOURCE} ({BUDGET})." + self._marked()
        ]

    def _rows(self, entries: Callable[[Any], list[str]]) -> Iterator[list[str]]:
        for network, family in self._names:
            cells = [self._cells.get((data, network, family)) for data in self._data]
            shown = [shown_network(network), shown_family(family)]
            yield [*shown, *(entry for row in cells for entry in entries(row))]

    def _pair(self, row: Any) -> list[str]:
        if row is None:
            return ["–", "–"]
        ours = f"{100 * row['error']:.2f}"
        if np.isfinite(row["sd_seeds"]):
            ours += f" ± {100 * row['sd_seeds']:.2f}"
        theirs = f"{100 * row['published']:.1f}" if np.isfinite(row["published"]) else "–"
        return [ours, theirs + (f" [{_letter(self._marks, row['note'])}]" if row["note"] else "")]

    def _marked(self) -> str:
        return "".join(f" [{_letter(self._marks, note)}] {note}." for note in self._marks)


def published_rows(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (network, family) of a table of `beside_published`, in the order of the paper."""
    networks = [*_NETWORKS, *dict.fromkeys(table["network"])]
    families = [*_FAMILIES, *dict.fromkeys(table["family"])]
    names = set(zip(table["network"], table["family"], strict=True))
    return sorted(names, key=lambda one: (networks.index(one[0]), families.index(one[1])))


def shown_network(network: str) -> str:
    """Return a network's name as it is printed."""
    return network.replace("2xST", "2×ST")


def shown_family(family: str) -> str:
    """Return a family's name as it is printed."""
    return _FAMILY_NAMES.get(family, family)


def _groups(table: pd.DataFrame) -> Iterator[_Group]:
    for number, (_, rows) in enumerate(table.groupby("budget", sort=False), 1):
        yield _Group(rows, number)


def _short(data: str) -> str:
    name = data.removeprefix("mnist-")
    return name.upper() if len(name) < 4 else name


def _letter(marks: Sequence[str], note: str) -> str:
    return "abcdefgh"[marks.index(note)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
