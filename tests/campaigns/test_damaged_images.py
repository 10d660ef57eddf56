"""Damaged images of every kind of file: one line or a value, soon, in little memory.

The long run: python -m pytest -m slow tests/campaigns/test_damaged_images.py (a few minutes).
"""

from __future__ import annotations

import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from damaged_images import KINDS, damage, read, whole, write
from limits import little_memory, little_time

from invariance_probe.errors import ProbeError

LONGEST = 2000  # characters of a line, of which the command line shows fewer


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    with little_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, on damage
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_ones_are_read(kind: str, tmp_path: Path) -> None:
    write(whole(kind), tmp_path)
    read(kind, tmp_path)


def outcome(kind: str, seed: int, place: Path) -> str:
    """What is wrong with how a damaged set ends: nothing."""
    held, what = damage(kind, random.Random(f"{kind} {seed}"))
    write(held, place)
    try:
        with little_time():
            read(kind, place)
    except ProbeError as error:
        said = str(error)
        if said.isprintable() and len(said) <= LONGEST and "fit into memory" not in said:
            return ""
        return f"{kind} {seed}, {what}: a line of {len(said)} characters: {said[:300]!r}"
    except BaseException as error:
        return f"{kind} {seed}, {what}: {type(error).__name__}: {str(error)[:300]}"
    return ""


def check(kind: str, seeds: range, place: Path) -> None:
    wrong = []
    for seed in seeds:
        if said := outcome(kind, seed, place / "set"):
            wrong.append(said)
        shutil.rmtree(place / "set", ignore_errors=True)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_images_end_in_one_line(kind: str, tmp_path: Path) -> None:
    check(kind, range(6), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_images_end_in_one_line(kind: str, tmp_path: Path) -> None:
    check(kind, range(6, 6 + 112), tmp_path)
