"""Tables for the terminal: the ladder of a result, the layers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ..errors import ProbeError
from ..networks import (
    LayerInfo,
    Network,
    list_layers,
    measure_frames,
    nearest_aligned_sizes,
    select_layers,
)
from ..probing.options import CHANNEL_RUNGS

if TYPE_CHECKING:
    from ..networks import LayerFrame
    from ..probing import OracleResult, Result
    from .talk import Report

RECOVERED = (
    "recovered: the share of the gap between the map of another image and the aligned input that "
    "moving the maps back closes (1 all of it, 0 none)"
)
WON = (
    "won by: the share of the gap between the inverse and the aligned input that a map of the "
    "channels, fitted on other images, closes beyond the inverse"
)
_HEADS = {  # narrow enough for a terminal of 80 columns
    "unaligned": "un-\naligned",
    "resampling_floor": "resam-\npling\nfloor",
    "inverse_permuted": "permuted",
    "inverse_orthogonal": "orthogonal",
    "inverse_linear": "linear",
}
_LONG = 40  # more layers than this are listed by their outer names only


def show_results(results: Sequence[Result], console: Console) -> None:
    """Print the ladders of telling transforms, what `recovered` means, and the warnings."""
    console.width = max(console.width, 80)  # rather wrapped by a tiny terminal than cut
    warnings: dict[str, None] = {}
    for result in results:
        console.print(Text(_measured(result)))
        console.print()
        for transform in telling(result) or list(result.axes["transform"])[:1]:
            for shown in (ladder, channel_ladder):
                if table := shown(result, transform, console.width):
                    console.print(table)
                    console.print()
        warnings |= dict.fromkeys(result.warnings)
    console.print(Text(RECOVERED))
    if any(set(CHANNEL_RUNGS) & set(result.axes["rung"]) for result in results):
        console.print(Text(WON))
    for warning in _gathered(warnings):
        console.print(Text(f"warning: {warning}", "yellow"))


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


def _gathered(warnings: Iterable[str]) -> list[str]:
    """Warnings, the ones "grid of LAYER: ..." about several layers told once."""
    groups: dict[str, list[str]] = {}
    for warning in warnings:
        about = warning.partition(":")[0]
        groups.setdefault(about.split(" of ")[0], []).append(warning)
    lines = []
    for first, *others in groups.values():
        names = [other.partition(":")[0].partition(" of ")[2] for other in others]
        if len(names) < 2 or not all(names):
            lines += [first, *others]
        else:
            lines += [first, f"likewise {', '.join(names)}; their numbers are in provenance.json"]
    return lines


def ladder(result: Result, transform: str, width: int = 80) -> Table:
    """Residuals under one transform: a row per layer, a column per rung, and `recovered`.

    Where `width` is short of room the intervals stand below their values. Channel maps have a
    table of their own.
    """
    rungs = [rung for rung in result.axes["rung"] if rung not in CHANNEL_RUNGS]
    title = f"Residuals under {transform}"
    return _residuals(result, transform, title, rungs, {"recovered": ""}, width)


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
    heads = [_HEADS.get(rung, rung.replace("_", "\n")) for rung in rungs]
    needed = max(len(row["layer"]) for row in rows) + 21 * len(shares)
    needed += sum(1 + max(map(len, head.split("\n"))) for head in heads)
    between = " " if needed <= width else "\n"
    level = result.provenance.get("options", {}).get("level", 0.95)
    columns = [Column("layer", overflow="fold")]
    columns += [Column(head, justify="right", no_wrap=True) for head in heads]
    for share in shares:
        name = share.replace("_by_", " by\n").replace("linear", "linear map")
        columns.append(Column(f"{name}{between}[{level:.0%}]", justify="right", no_wrap=True))
    shown = _table(title, *columns)
    shown.padding = (0, 1 if needed + len(columns) <= width else 0, 0, 0)
    for row in rows:
        values = [Text(f"{row[rung]:.3f}") for rung in rungs]
        for share, ends in shares.items():
            low, high = row[f"low{ends}"], row[f"high{ends}"]
            values.append(Text(f"{row[share]:.2f}{between}[{low:.2f}, {high:.2f}]", "bold"))
        shown.add_row(Text(row["layer"]), *values)
    return shown


def _measured(result: Result) -> str:
    """What was measured on what, in one sentence."""
    network, images = (result.provenance.get(part, {}) for part in ("network", "images"))
    about = f": {network['description']}" if network.get("description") else ""
    return (
        f"{network.get('name', 'network')}{about}\n"
        f"{images.get('description', 'images')}: alignment fitted on {images.get('fit', '?')}, "
        f"residuals taken on {images.get('evaluation', '?')} others\n"
        f"{len(result.axes['transform'])} transformations"
    )


def telling(result: Result) -> list[str]:
    """One transform of each kind to show: the rotation nearest 90°, the scaling nearest 2."""
    rows = result.summary[~result.summary["identity"]].drop_duplicates("transform")
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


def layers(
    network: Network,
    canvas: tuple[int, int],
    patterns: Sequence[str] | None,
    everything: bool,
    report: Report,
) -> tuple[Table, list[str]]:
    """The layers of a network as a table, and sentences to print below it."""
    module = network.module
    example = torch.zeros(1, network.channels, *canvas)
    found = list_layers(module, example)
    if patterns:
        wanted = set(select_layers(module, patterns, example))
        shown = [one for one in found if one.name in wanted]
    elif everything or len(found) <= _LONG:
        shown = found
    else:
        shown = [one for one in found if one.name.count(".") < 2]
    frames, reasons = _frames(network, [one.name for one in shown if one.spatial], canvas, report)
    off = [name for name, frame in frames.items() if max(map(abs, frame.centre_offset)) > 1e-6]
    better = {}
    if off:
        better = nearest_aligned_sizes(module, off, canvas, network.channels, frames)
    names = ("layer", "kind", "channels", "map", "jump", "start", "centre\noffset", "centred\nat")
    columns = [Column(name, overflow="fold", no_wrap=name != "layer") for name in names]
    for column in columns[2:]:
        column.justify = "right"
    table = _table(f"{network.name} on {canvas[0]}x{canvas[1]} px", *columns)
    for one in shown:
        if one.name in frames:
            table.add_row(*_row(one, frames[one.name], better))
        else:
            reasons.setdefault(one.name, _unmapped(one))
            table.add_row(Text(one.name), Text(one.kind), *["-"] * 6, style="dim")
    notes = [
        "jump: pixels between cells; start: where the first cell sits; centre offset: of the map "
        "from the image (x, y); centred at: the nearest input size without offset",
    ]
    notes += [f"{name}: {why}" for name, why in reasons.items()]
    if len(shown) < len(found) and not patterns:
        notes.append(f"{len(found) - len(shown)} inner layers are not shown; list them with --all")
    return table, notes


def _frames(
    network: Network, names: list[str], canvas: tuple[int, int], report: Report
) -> tuple[dict[str, LayerFrame], dict[str, str]]:
    """Frames by layer, and why some have none."""
    try:
        return measure_frames(network.module, names, canvas, network.channels), {}
    except ProbeError:
        frames: dict[str, LayerFrame] = {}
        reasons: dict[str, str] = {}
        for done, name in enumerate(names):
            report(done, len(names), name)
            try:
                frames |= measure_frames(network.module, [name], canvas, network.channels)
            except ProbeError as error:
                reasons[name] = str(error)
        return frames, reasons


def _row(
    info: LayerInfo, frame: LayerFrame, better: Mapping[str, tuple[int, int] | None]
) -> list[Text]:
    size = better.get(info.name)
    best = f"{size[0]}x{size[1]}" if size else "none near" if info.name in better else "-"
    style = "yellow" if info.name in better else ""
    return [
        Text(info.name), Text(info.kind), Text(str(info.channels)),
        Text(f"{frame.size[0]}x{frame.size[1]}"), Text(_pair(frame.jump)), Text(_pair(frame.start)),
        Text(_pair(frame.centre_offset), style), Text(best, style),
    ]  # fmt: skip


def _unmapped(info: LayerInfo) -> str:
    if len(info.shape) == 4:
        return "a single cell: no positions to align"
    return f"gives {info.shape}: no map"


def _pair(values: tuple[float, float]) -> str:
    """(x, y) in short: one number when both agree."""
    x, y = (f"{round(value, 6) + 0.0:.5g}" for value in values)
    return x if x == y else f"{x}, {y}"


def _table(title: str, *columns: Column) -> Table:
    return Table(
        *columns, title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold",
    )  # fmt: skip
