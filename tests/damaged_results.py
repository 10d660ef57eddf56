"""Result folders with one thing in them damaged, by chance but from a seed."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 1e300, "", "text", "a\nb", "[red]x", "x" * 20_000, [], ["a", 3],
    [[1]], {}, {"a": {"b": []}}, "=1+1", "</script>", "rotation:90", [None], float("nan"),
)  # fmt: skip
STRANGE: tuple[Any, ...] = (
    *VALUES, float("inf"), -1e300, 2**70, -5, 1.5, False, "os:system", "/etc/passwd", "../..",
)  # fmt: skip
CELLS = ("", "text", "nan", "inf", "-1e400", "1e300", "9" * 400, "True", "[1, 2]", "-1", "a;b", '"')

Damage = Callable[[random.Random, Path], None]


def damage(folder: Path, seed: int) -> str:
    """Damage a result folder; the name of what was done."""
    chance = random.Random(seed)
    how = DAMAGES[seed % len(DAMAGES)]
    how(chance, folder)
    return how.__name__


def _table(chance: random.Random, folder: Path) -> Path:
    return chance.choice(sorted(folder.glob("*.csv")))


def _rewritten(path: Path, change: Callable[[list[list[str]]], None]) -> None:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    change(rows)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def column_dropped(chance: random.Random, folder: Path) -> None:
    def change(rows: list[list[str]]) -> None:
        at = chance.randrange(len(rows[0]))
        for row in rows:
            del row[at]

    _rewritten(_table(chance, folder), change)


def column_renamed(chance: random.Random, folder: Path) -> None:
    def change(rows: list[list[str]]) -> None:
        rows[0][chance.randrange(len(rows[0]))] = chance.choice([*rows[0], "other", ""])

    _rewritten(_table(chance, folder), change)


def cell_replaced(chance: random.Random, folder: Path) -> None:
    def change(rows: list[list[str]]) -> None:
        if rows[1:]:
            row = chance.choice(rows[1:])
            row[chance.randrange(len(row))] = chance.choice(CELLS)

    _rewritten(_table(chance, folder), change)


def column_filled(chance: random.Random, folder: Path) -> None:
    def change(rows: list[list[str]]) -> None:
        at, value = chance.randrange(len(rows[0])), chance.choice(CELLS)
        for row in rows[1:]:
            row[at] = value

    _rewritten(_table(chance, folder), change)


def row_repeated(chance: random.Random, folder: Path) -> None:
    def change(rows: list[list[str]]) -> None:
        rows[-1] = rows[chance.randrange(len(rows))]

    _rewritten(_table(chance, folder), change)


def bytes_damaged(chance: random.Random, folder: Path) -> None:
    path = chance.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    if chance.random() < 0.3:
        del content[at:]
    else:
        content[at : at + 4] = chance.randbytes(4)
    path.write_bytes(bytes(content))


def value_replaced(chance: random.Random, folder: Path) -> None:
    path = folder / "provenance.json"
    held = json.loads(path.read_text(encoding="utf-8"))
    place: Any = held
    while True:
        key = chance.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and chance.random() < 0.8:
            place = place[key]
            continue
        if chance.random() < 0.2:
            del place[key]
        else:
            place[key] = chance.choice(VALUES)
        break
    path.write_text(json.dumps(held), encoding="utf-8")


def leaves(held: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON object lie, at every depth."""
    items = held.items() if isinstance(held, dict) else enumerate(held)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def replaced(held: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A JSON object with another value in one place."""
    whole = copy.deepcopy(held)
    place = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return whole


def file_missing(chance: random.Random, folder: Path) -> None:
    chance.choice(sorted(path for path in folder.iterdir() if path.is_file())).unlink()


def array_replaced(chance: random.Random, folder: Path) -> None:
    path = folder / "per_image.npz"
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = chance.choice(sorted(arrays))
    changes: tuple[Callable[[Any], Any], ...] = (
        lambda a: a[None], lambda a: a.ravel()[:1], lambda a: a.astype(str), lambda a: a.T,
        lambda a: a.astype(complex) if a.dtype.kind in "fi" else a[:0], lambda a: np.zeros(0),
        lambda a: a * np.nan if a.dtype.kind == "f" else a.astype("U1"), lambda a: np.array(7),
        lambda a: -a if a.dtype.kind in "fi" else a[::-1],
    )  # fmt: skip
    change = chance.choice(changes)
    if chance.random() < 0.2:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    np.savez_compressed(path, **arrays)


def arrays_declared_large(chance: random.Random, folder: Path) -> None:
    path = folder / "per_image.npz"
    header = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": (chance.choice([1, 4]), 1 << 26)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("errors.npy", header.getvalue() + bytes(300 << 20))


DAMAGES: tuple[Damage, ...] = (
    column_dropped, cell_replaced, value_replaced, array_replaced, column_filled, value_replaced,
    row_repeated, bytes_damaged, column_renamed, value_replaced, file_missing, cell_replaced,
    arrays_declared_large,
)  # fmt: skip
