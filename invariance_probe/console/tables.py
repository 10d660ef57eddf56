"""Tables for the terminal: the ladders of a result, the oracle's table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..probing.rungs import CHANNEL_RUNGS, rung_of

if TYPE_CHECKING:
    import pandas as pd

    from ..probing import OracleResult, Result
    from ..running.schema import Remark

LEDGER = (
    "ledger: what predicts the original's map on held-out images: position (the mean map alone), "
    "space (the map given, with one factor per channel), channels (any map among the channels of "
    "a cell), neighbourhood (any filter of 3x3 cells); – is what so few images do not determine: "
    "it is undetermined, or lost. From the maps moved back; from the input moved back (what is "
    "lost there is measurement error); from another image (what comes by chance)"
)
_SHOWN = {
    "rotation": "the rotation nearest 90°, where nothing is interpolated",
    "scaling": "the scaling nearest 2",
}
GAIN = (
    "gain: what moving the maps back wins over nothing done, as a share of what aligning the "
    "input wins (1 as much, 0 nothing, negative: it does harm)"
)
WON = (
    "won by: the share of the gap between the inverse and the aligned input that a map of the "
    "channels, fitted on other images, closes beyond the inverse"
)


def show_results(results: Sequence[Result], console: Console, *, wide: bool = False) -> None:
    """Print the ledger of telling transforms and the warnings; `wide` also all ladders."""
    console.width = max(console.width, 80)  # rather wrapped by a tiny terminal than cut
    warnings: dict[Remark, None] = {}
    for result in results:
        console.print(Text(_measured(result)))
        console.print()
        for line in verdicts(result):
            console.print(Text(line, "bold"))
        console.print()
        shown = telling(result) or list(result.axes["transform"])[:1]
        if chosen := _chosen(result, shown):
            console.print(Text(chosen))
            console.print()
        for transform in shown:
            known = len(result.ledger) > 0
            for made in (*(ledger,) * known, *(ladder, channel_ladder) * (wide or not known)):
                if table := made(result, transform, console.width):
                    console.print(table)
                    console.print()
        warnings |= dict.fromkeys(result.warnings)
    if any(len(result.ledger) for result in results):
        console.print(Text(LEDGER))
    if wide or not all(len(result.ledger) for result in results):
        console.print(Text(GAIN))
        if any(set(CHANNEL_RUNGS) & set(result.axes["rung"]) for result in results):
            console.print(Text(WON))
    for warning in _gathered(warnings):
        console.print(Text(f"warning: {warning}", "yellow"))


def verdicts(result: Result) -> list[str]:
    """What moving maps predicts of each layer's maps, a line a layer; nothing without a ledger."""
    from ..reporting.tables.ledger import ALIGNED, MOVED, has_ledger, ledger_table

    if not has_ledger(result) or result.summary["identity"].all():
        return []
    lines = []
    for over, rows in ledger_table(result).groupby("over", sort=False):
        lines.append(f"{over}, predicted of the variance of the original's map:")
        values = rows.set_index(["layer", "source", "part"])["share"]
        for layer in result.axes["layer"]:
            moved, aligned, channels = (
                _percent(float(values[layer, source, part]))
                for source, part in ((MOVED, "space"), (ALIGNED, "space"), (MOVED, "channels"))
            )
            mapped = ": not determined" if channels == "–" else f" {channels} points more"
            lines.append(
                f"  {layer}: moved maps {moved} %, moved input {aligned} %, channel maps{mapped}"
            )
    return lines


def show_oracle(result: OracleResult, console: Console) -> None:
    """Print what aligning one layer's maps is worth to the classifier, per transform."""
    heads = {
        "nothing": "nothing\ndone",
        "input_aligned": "input\naligned",
        "inverse": "maps\naligned",
        "inverse_permuted": "... and\npermuted",
        "inverse_linear": "... and\nmapped linearly",
    }
    console.print()
    for transform in result.axes["transform"]:
        title = (
            f"Accuracy under {transform}, an oracle aligning one layer "
            f"({100 * result.untransformed_accuracy:.1f} % untransformed)"
        )
        table = Table(
            Column("layer", no_wrap=True, vertical="bottom"),
            *(Column(head, justify="right", vertical="bottom") for head in heads.values()),
            title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        )  # fmt: skip
        for layer, row in result.table(transform).iterrows():
            table.add_row(
                Text(str(layer)),
                *("–" if np.isnan(row[n]) else f"{100 * row[n]:.1f} %" for n in heads),
            )
        console.print(table)
        console.print()


def _gathered(warnings: Iterable[Remark]) -> list[str]:
    """Warnings, the ones "grid of LAYER: ..." about several layers told once."""
    groups: dict[str, list[Remark]] = {}
    for warning in warnings:
        groups.setdefault(warning.kind, []).append(warning)
    lines: list[str] = []
    for first, *others in groups.values():
        names = [other.layer for other in others]
        if len(names) < 2 or not all(names):
            lines += [first, *others]
        else:
            lines += [first, f"likewise {', '.join(names)}; their numbers are in provenance.json"]
    return lines


def ledger(result: Result, transform: str, width: int = 80) -> Table | None:
    """What predicts each layer's maps under one transform, part by part, in percent."""
    from ..probing.ladder.shares import UNDETERMINED

    rows = result.ledger
    rows = rows[rows["transform"] == transform] if len(rows) else rows
    if not len(rows):
        return None
    open_ = rows["part"].eq(UNDETERMINED) & rows["share"].ne(0)
    parts = [part for part in dict.fromkeys(rows["part"]) if part != UNDETERMINED or open_.any()]
    heads = {"neighbourhood": "neigh-\nbourhood", UNDETERMINED: "undeter-\nmined"}
    columns = [Column("layer", overflow="fold"), Column("predicted from", no_wrap=True)]
    columns += [Column(heads.get(part, part), justify="right", no_wrap=True) for part in parts]
    shown = _table(f"Ledger under {transform} (% of the original's variance)", *columns)
    values = rows.set_index(["layer", "source", "part"])["share"]
    for layer in dict.fromkeys(rows["layer"]):
        for number, source in enumerate(dict.fromkeys(rows["source"])):
            cells = [Text(_percent(values[layer, source, part])) for part in parts]
            if number == 0:
                cells = [Text(str(cell), "bold") for cell in cells]
            shown.add_row(Text(layer if number == 0 else ""), Text(source), *cells)
    return shown


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}".replace("-0.0", "0.0")


def ladder(result: Result, transform: str, width: int = 80) -> Table:
    """Residuals under one transform: a row per layer, a column per rung, and `gain`.

    Where `width` is short of room the intervals stand below their values. Channel maps have a
    table of their own.
    """
    rungs = [rung for rung in result.axes["rung"] if rung not in CHANNEL_RUNGS]
    title = f"Residuals under {transform}"
    # Results of versions before the gain have only the share of the gap to another image.
    shown = {"gain": "_gain"} if "gain" in result.summary else {"recovered": ""}
    return _residuals(result, transform, title, rungs, shown, width)


def channel_ladder(result: Result, transform: str, width: int = 80) -> Table | None:
    """Residuals after the inverse and a channel map, and what that wins back of the inverse's."""
    rungs = [rung for rung in result.axes["rung"] if rung in CHANNEL_RUNGS]
    if not rungs:
        return None
    title = f"After the inverse under {transform}, with channels mapped"
    won = {name: f"_{name}" for name in ("won_by_permutation", "won_by_linear")}
    return _residuals(result, transform, title, rungs, won, width)


def _residuals(
    result: Result,
    transform: str,
    title: str,
    rungs: Sequence[str],
    shares: Mapping[str, str],
    width: int,
) -> Table:
    """A table of rungs and of shares with their intervals (columns low…, high…)."""
    rows = result.summary[result.summary["transform"] == transform].to_dict("records")
    heads = [rung_of(rung).head or rung.replace("_", "\n") for rung in rungs]
    needed = max(len(row["layer"]) for row in rows) + 21 * len(shares)
    needed += sum(1 + max(map(len, head.split("\n"))) for head in heads)
    between = " " if needed <= width else "\n"
    columns = [Column("layer", overflow="fold")]
    columns += [Column(head, justify="right", no_wrap=True) for head in heads]
    for share in shares:
        name = share.replace("_by_", " by\n").replace("linear", "linear map")
        columns.append(
            Column(f"{name}{between}[{result.level:.0%}]", justify="right", no_wrap=True)
        )
    shown = _table(title, *columns)
    shown.padding = (0, 1 if needed + len(columns) <= width else 0, 0, 0)
    for row in rows:
        values = [Text(_residual(row[rung])) for rung in rungs]
        for share, ends in shares.items():
            low, high = row[f"low{ends}"], row[f"high{ends}"]
            ends = f"{between}[{_hundredths(low)}, {_hundredths(high)}]"
            value = _hundredths(row[share])
            values.append(Text(value + ends * (value != "–"), "bold"))
        shown.add_row(Text(row["layer"]), *values)
    return shown


def _residual(value: float) -> str:
    """A residual in five letters, also one that three decimals would call 0.

    >>> _residual(1.37), _residual(0.0024), _residual(0.0002), _residual(1e-9), _residual(np.nan)
    ('1.370', '0.002', '2e-04', '0.000', '–')
    """
    if np.isnan(value):
        return "–"
    return f"{value:.0e}" if 1e-6 <= abs(value) < 5e-4 else f"{value:.3f}"


def _hundredths(value: float) -> str:
    """A share with two decimals, 0 without a sign.

    >>> _hundredths(0.288), _hundredths(-0.001), _hundredths(np.nan)
    ('0.29', '0.00', '–')
    """
    return "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def _distinct(result: Result) -> pd.DataFrame:
    """A row of the summary for every transformation."""
    return result.summary.drop_duplicates("transform")


def _measured(result: Result) -> str:
    """What was measured on what, in one sentence."""
    network, images = (result.provenance.get(part, {}) for part in ("network", "images"))
    about = f": {network['description']}" if network.get("description") else ""
    moves = _distinct(result)
    kinds = moves.loc[~moves["identity"].astype(bool), "kind"].value_counts(sort=False)
    said = [f"{number} {kind}{'s' * (number != 1)}" for kind, number in kinds.items()]
    said += ["the identity"] * bool(moves["identity"].any())
    return (
        f"{network.get('name', 'network')}{about}\n"
        f"{images.get('description', 'images')}: alignment fitted on {images.get('fit', '?')}, "
        f"residuals taken on {images.get('evaluation', '?')} others\n" + " and ".join(said)
    )


def telling(result: Result) -> list[str]:
    """One transform of each kind to show: the rotation nearest 90°, the scaling nearest 2."""
    rows = _distinct(result)
    rows = rows[~rows["identity"]]
    chosen = []
    for kind, group in rows.groupby("kind", sort=False):
        value = group["parameter"].to_numpy(dtype=float)
        if kind == "rotation":
            away = np.abs(np.abs(value) - 90) + 1e-6 * (value < 0)  # 90 rather than -90
        elif kind == "scaling":
            away = np.abs(np.log2(np.abs(value)) - 1)
        else:
            away = -np.abs(value)
        chosen.append(str(group["transform"].iloc[int(np.argmin(away))]))
    return chosen[:3]


def _chosen(result: Result, shown: Sequence[str]) -> str:
    """Why these transformations are shown; "" where they are all."""
    moves = _distinct(result).set_index("transform")
    if len(shown) >= (~moves["identity"].astype(bool)).sum():
        return ""
    said = [_SHOWN.get(kind, f"the largest {kind}") for kind in moves["kind"].loc[list(shown)]]
    return f"in detail only {' and '.join(said)}; summary.csv holds all"


def _table(title: str, *columns: Column) -> Table:
    return Table(
        *columns, title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold",
    )  # fmt: skip
