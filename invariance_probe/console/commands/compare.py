"""The command `compare`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from .. import ending, machine, reading, talk, writing

if TYPE_CHECKING:
    from rich.table import Table

    from ...probing import Comparison

TOLD = ("inverse", "inverse_linear", "gain")
"""Quantities that the terminal shows unless others are asked for."""

_WIDE = 110  # columns of a terminal in which values have room for their intervals


def compare(
    folders: Sequence[Path],
    out: Path,
    *,
    names: str | None,
    baseline: str | None,
    along: str | None,
    match: Sequence[str] | None,
    layers: Sequence[str] | None,
    quantities: Sequence[str] | None,
    figures: bool,
    font: str | None,
    source: bool,
    overwrite: bool,
    **drawing: Any,
) -> None:
    """Compare finished results and write the outcome; `drawing` are options of the bootstrap."""
    called = result_names(folders, names)
    if match and layers:
        raise ProbeError("--match already says which layers are compared; omit --layers")
    steps = reading.numbers("--along", None if along is None else [along])
    # realpath and not resolve, which a loop of links stops
    if inside := [one for one in folders if os.path.realpath(one) == os.path.realpath(out)]:
        raise ProbeError(f"--out {out} is the result {inside[0]} itself; name another folder")
    from ...running.folders import check_free

    check_free(out, overwrite=overwrite)
    from ...probing import compare as compared
    from ...probing import load_result
    from ...probing.comparison.pairing import parse_pairs
    from ...reporting.comparison_files import write_comparison

    pairs = parse_pairs(match) if match else reading.words(layers)
    with (
        writing.place(out),
        writing.figure_look(font, source),
        talk.progress("comparing") as report,
    ):
        results = {name: load_result(place) for name, place in called.items()}
        report(0, 0, "comparing image by image")
        found = compared(
            results, quantities=reading.words(quantities), layers=pairs, baseline=baseline,
            along=steps, **drawing,
        )  # fmt: skip
        write_comparison(
            found, out, ("svg", "png") if figures else (), overwrite=overwrite,
            progress=lambda name: report(0, 0, f"drawing {name}"),
        )  # fmt: skip
    ending.written.append(out)
    show(found, reading.words(quantities))
    machine.dump(
        {"folder": out, "baseline": found.baseline, "notes": found.notes, "table": found.table}
    )
    talk.say(f"tables{' and figures' * figures}: {out}", "bold")


def result_names(folders: Sequence[Path], names: str | None) -> dict[str, Path]:
    """Result folders by name: those of --names, or as the folders are called."""
    if names is not None:
        called = [name.strip() for name in names.split(",")]
        if len(called) != len(folders) or not all(called):
            raise ProbeError(
                f"--names {names}: {len(called)} names for {len(folders)} results; give one each, "
                "joined by commas"
            )
    else:
        called = [os.path.basename(os.path.realpath(folder)) for folder in folders]
        if len(set(called)) < len(called):
            called = [str(folder) for folder in folders]
    if twice := [name for name in called if called.count(name) > 1]:
        raise ProbeError(f"{twice[0]!r} stands for two results; tell them apart with --names a,b")
    return dict(zip(called, folders, strict=True))


def show(found: Comparison, quantities: Sequence[str] | None) -> None:
    """Print means over transformations, what they mean, and the notes."""
    console = talk.out()
    console.width = max(console.width, 80)  # rather wrapped by a tiny terminal than cut
    shown = list(quantities or [one for one in TOLD if one in found.quantities])
    for table in tables(found, shown or list(found.quantities), console.width):
        console.print(table)
        console.print()
    drawn = found.provenance["bootstrap"]
    console.print(
        f"difference: to {found.baseline} on the same {found.table['images'].iloc[0]} images; "
        "residuals are fractions of each network's own variance", markup=False,
    )  # fmt: skip
    console.print(
        f"p: of the largest among all rows of a quantity, from {drawn['resamples']} sign flips "
        "(maxT); an interval speaks for its own row only", markup=False,
    )  # fmt: skip
    for note in found.notes:
        talk.sentence(f"note: {note}", "yellow")


def tables(found: Comparison, quantities: Sequence[str], width: int) -> list[Table]:
    """A table per kind of transformation, rows as in the comparison."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    from ...reporting.tables.comparison import printed_rows

    level = f"[{100 * found.provenance['bootstrap']['level']:g} %]"
    roomy, out = width >= _WIDE, []
    for over, rows in printed_rows(found, None, quantities):
        columns = [Column(name, overflow="fold") for name in ("layer", "quantity", "network")]
        columns += [
            Column(name, justify="right", no_wrap=True)
            for name in (
                f"value {level}" if width >= _WIDE else "value",
                f"difference {level}",
                "p",
            )
        ]
        table = Table(
            *columns, title=Text(over[0].upper() + over[1:]), title_justify="left",
            title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
            padding=(0, 1, 0, 0), header_style="bold",
        )  # fmt: skip
        for layer, quantity, network, value, difference, p in rows:
            short = value if roomy else value.partition(" [")[0]
            cells = (layer, quantity, network, short, difference, p)
            table.add_row(*(Text(cell) for cell in cells))
        out.append(table)
    return out
