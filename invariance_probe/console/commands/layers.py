"""The layers of a network as a table for the terminal: blocks closed, equal siblings in one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from rich import box
from rich.table import Column, Table
from rich.text import Text

from ...networks import (
    LayerInfo,
    Network,
    default_layers,
    find_frames,
    list_layers,
    nearest_aligned_sizes,
    select_layers,
)

if TYPE_CHECKING:
    from ...networks import LayerFrame
    from ..talk import Report

_LONG = 40  # more layers than this are grouped
_WIDE = 100  # terminals narrower than this have no room for every column
_LONG_NAME = 20
_STAR = " *"
_LEGEND = {
    "jump": "pixels between cells", "start": "where the first cell sits",
    "centre\noffset": "of the map from the image (x, y)",
    "centred\nat": "the nearest input size without offset",
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """The layers of a network: a table, sentences to print below it, and its rows as values."""

    table: Table
    notes: list[str]
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class _Row:
    """One line: a layer, or equal siblings from the first to the last, and how much is inside."""

    layers: tuple[LayerInfo, ...]
    inside: int

    @property
    def name(self) -> str:
        first, last = self.layers[0].name, self.layers[-1].name
        if len(self.layers) == 1:
            return first
        return f"{first} ... {last.rpartition('.')[2]}"


def layers(
    network: Network,
    canvas: tuple[int, int],
    patterns: Sequence[str] | None,
    everything: bool,
    report: Report,
    width: int = 120,
) -> Listing:
    """The layers of a network and where their cells sit; `patterns` and `everything` choose."""
    module = network.module
    example = torch.zeros(1, network.channels, *canvas)
    found = list_layers(module, example)
    chosen = set(default_layers(found))
    if patterns:
        wanted = set(select_layers(module, patterns, example))
        rows = [_Row((one,), 0) for one in found if one.name in wanted]
    elif everything or len(found) <= _LONG:
        rows = [_Row((one,), 0) for one in found]
    else:
        rows = _grouped(found, chosen)
    firsts = [row.layers[0] for row in rows]
    report(0, 1, f"frames of {len(firsts)} layers")
    names = [one.name for one in firsts if one.spatial]
    frames, reasons = find_frames(module, names, canvas, network.channels) if names else ({}, {})
    off = [name for name, frame in frames.items() if max(map(abs, frame.centre_offset)) > 1e-6]
    better = {}
    if off:
        better = nearest_aligned_sizes(module, off, canvas, network.channels, frames)
    table = _filled(network, canvas, rows, chosen, frames, better, width)
    heads = {str(column.header) for column in table.columns}
    notes = [
        "; ".join(f"{' '.join(h.split())}: {text}" for h, text in _LEGEND.items() if h in heads)
    ]
    errors = [frame.error for frame in frames.values() if frame.estimated]
    if errors:
        notes.append(f"~: estimated, good to about {max(errors):.2g} px")
    if chosen & {one.name for one in firsts}:
        notes.append("*: what a probe takes when no layers are named")
    dim = {one.name: _unmapped(one) for one in firsts if not one.spatial}
    notes += [f"{name}: {why}" for name, why in dim.items()] + list(reasons.values())
    hidden = len(found) - sum(len(row.layers) for row in rows)
    if hidden and not patterns:
        notes.append(f"{hidden} inner layers are not shown; list them with --all")
    values = [_values(one, frames.get(one.name), one.name in chosen) for one in firsts]
    return Listing(table, notes, values)


def _values(one: LayerInfo, frame: LayerFrame | None, chosen: bool) -> dict[str, Any]:
    """What the table says of a layer, pairs as (x, y) and sizes as (rows, columns)."""
    said = {"layer": one.name, "kind": one.kind, "shape": one.shape, "channels": one.channels,
            "map": one.size, "default": chosen}  # fmt: skip
    if frame is None:
        return said
    return {**said, "jump": frame.jump, "start": frame.start,
            "centre_offset": frame.centre_offset, "method": frame.method,
            "error": frame.error}  # fmt: skip


def about(
    network: Network, canvas: tuple[int, int] | None, channels: int | None = None
) -> list[str]:
    """What the network's weights and its input are, in sentences."""
    loaded = network.fit.notes if network.fit else ()
    warned = [f"warning: {network.warnings[0]}"] if network.drawn else []
    stated = network.preprocessing_with(canvas, channels=channels)
    if channels is None and network.fixed_channels is None:
        stated += " (it takes other numbers of channels too: --image-channels)"
    return [f"network: {network.description}", *warned, f"input: {stated}", *loaded]


def _filled(
    network: Network,
    canvas: tuple[int, int],
    rows: Sequence[_Row],
    chosen: set[str],
    frames: Mapping[str, LayerFrame],
    better: Mapping[str, tuple[int, int] | None],
    width: int,
) -> Table:
    heads = ["layer", "kind", "channels", "map", "jump", "start", "centre\noffset", "centred\nat"]
    grouped = any(row.inside for row in rows)
    mixed = any(row.layers[0].layout and _layout(row.layers[0]) != "NCHW" for row in rows)
    if grouped or mixed:
        heads[2] = "chan-\nnels"
    narrow = width < _WIDE and (grouped or mixed)
    if narrow:
        heads.remove("start")
    if narrow and not better:
        heads.remove("centred\nat")
    if grouped:
        heads.insert(2, "inner\nlayers")
    if mixed:
        heads.insert(heads.index("map"), "output")
    columns = [
        Column(name, overflow="fold", no_wrap=name not in ("layer", "kind"), vertical="bottom")
        for name in heads
    ]
    for column in columns[2:]:
        column.justify = "right"
    table = Table(
        *columns, title=Text(f"{network.name} on {canvas[0]}x{canvas[1]} px"),
        title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False,
        pad_edge=False, padding=(0, 1, 0, 0), header_style="bold",
    )  # fmt: skip
    below = ""
    long = {row.name.rpartition(".")[0] for row in rows if len(row.name + _STAR) > _LONG_NAME}
    for row in rows:
        info = row.layers[0]
        parent = row.layers[0].name.rpartition(".")[0]
        if narrow and parent not in ("", below) and parent in long:
            table.add_row(Text(f"{parent}."), style="dim")
            below = parent
        elif not parent.startswith(below):
            below = ""
        star = any(one.name in chosen for one in row.layers)
        cells = {
            "layer": Text(_short(row, below) + _STAR * star),
            "kind": Text(info.kind),
            "inner\nlayers": Text(str(row.inside or "-")),
        }
        style = "bold" if star else ""
        if info.name in frames:
            cells |= _measured(info, frames[info.name], better)
        else:
            style = "dim"
        table.add_row(
            *(cells.get(head.replace("-\n", ""), Text("-")) for head in heads), style=style
        )
    return table


def _short(row: _Row, parent: str) -> str:
    """The name of a row, without that of the module around it where this stands above."""
    if parent and row.layers[0].name.startswith(f"{parent}."):
        return "  " + row.name[len(parent) + 1 :]
    return row.name


def _grouped(found: Sequence[LayerInfo], chosen: set[str]) -> list[_Row]:
    """Rows in which blocks are closed, but for those around a chosen layer, and siblings folded."""
    names = {one.name for one in found}
    opened = {parent for name in chosen for parent in _around(name)}
    several = {
        one.name for one in found
        if len({other.size for other in found if other.name.startswith(f"{one.name}.")}) > 4
    }  # fmt: skip
    closed = names - opened - several
    rows: list[_Row] = []
    inside: dict[str, int] = {}
    for one in found:
        hiding = [parent for parent in _around(one.name) if parent in closed]
        if hiding:
            inside[hiding[-1]] = inside.get(hiding[-1], 0) + 1
            continue
        row = _Row((one,), inside.pop(one.name, 0))
        if rows and _equal(rows[-1], row) and not {rows[-1].layers[-1].name, one.name} & chosen:
            row = _Row((*rows[-1].layers, one), rows[-1].inside)
            rows.pop()
        rows.append(row)
    return rows


def _equal(row: _Row, other: _Row) -> bool:
    """Whether two rows are of siblings that differ in nothing that is shown."""
    one, two = row.layers[-1], other.layers[0]
    return (
        one.name.rpartition(".")[0] == two.name.rpartition(".")[0]
        and (one.kind, one.channels, one.size, one.layout, row.inside)
        == (two.kind, two.channels, two.size, two.layout, other.inside)
    )  # fmt: skip


def _around(name: str) -> list[str]:
    """The names of the modules around a layer, the inner ones first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def _measured(
    info: LayerInfo, frame: LayerFrame, better: Mapping[str, tuple[int, int] | None]
) -> dict[str, Text]:
    size = better.get(info.name)
    best = f"{size[0]}x{size[1]}" if size else "none near" if info.name in better else "-"
    style = "yellow" if info.name in better else ""
    about = "~" if frame.estimated else ""
    return {
        "channels": Text(str(info.channels)),
        "output": Text(_layout(info)),
        "map": Text(f"{frame.size[0]}x{frame.size[1]}"),
        "jump": Text(_pair(frame.jump)),
        "start": Text(about + _pair(frame.start)),
        "centre\noffset": Text(about + _pair(frame.centre_offset), style),
        "centred\nat": Text(best, style),
    }


def _layout(info: LayerInfo) -> str:
    """'NCHW', 'NHWC', 'tokens', or '5+tokens' with five that have no place before the others."""
    if info.layout is None:
        return "-"
    prefix = info.layout.prefix
    return f"{prefix}+{info.layout.kind}" if prefix else info.layout.kind


def _unmapped(info: LayerInfo) -> str:
    if info.layout is not None:
        return "a single cell: no positions to align"
    return f"gives {info.shape}: no map"


def _pair(values: tuple[float, float]) -> str:
    """(x, y) in short: one number when both agree."""
    x, y = (f"{round(value, 6) + 0.0:.5g}" for value in values)
    return x if x == y else f"{x}, {y}"
