"""Command lines with something wrong in them: one short line of error each, and no traceback.

The long run: python -m pytest -m slow tests/campaigns/test_command_lines.py (about half an hour).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import OWN, ended, mutated
from PIL import Image
from typer.testing import CliRunner

from invariance_probe import build_network, cli

pytestmark = pytest.mark.skipif(os.name == "nt", reason="watches memory and time as POSIX tells")

SHORT = 100
LONG = range(SHORT, 2100)
PART = 100  # command lines of one test of the long run
MADE = {
    "RESULT": "probe --transforms rotation:90;rotation:30 --number 8 --resamples 20 "
    "--layers conv1 conv2 --no-figures --out RESULT",
    "RUN": "train CNN --data mnist --number 40 --width 0.25 --set iterations=1 batch_size=8 "
    "--out RUN",
}
PLACES = (
    "/",
    ".",
    "..",
    "loop",
    "loop/x",
    256 * "a",
    "a/" + 90 * "ü" + 90 * "字",
    3000 * "a/",
    "own.py/x",
)
_SMALL = "--transforms rotation:90 --number 8 --resamples 20 --layers conv2"
WRITING = (
    f"probe {_SMALL} --no-figures --out",
    f"probe {_SMALL} --no-figures --resume --out",
    "demo --number 8 --out",
    "plot RESULT --format svg --out",
    "compare RESULT RESULT --names a,b --no-figures --out",
    "animate RESULT --html",
    "report RESULT --no-viewer --out",
    "train CNN --data mnist --number 40 --width 0.25 --set iterations=1 --out",
    "train --resume --out",
    "evaluate RUN --passes 1 --number 40 --out",
)


def furnish(folder: Path) -> None:
    """Make what the command lines name: a result, a run, images, weights, code, a loop of links."""
    for line in MADE.values():
        done = CliRunner().invoke(cli.app, line.split())
        assert done.exit_code == 0, done.output
    (folder / "IMAGES").mkdir()
    draw = np.random.default_rng(0)
    for number in range(6):
        grey = draw.integers(0, 255, (28, 28), np.uint8)
        Image.fromarray(grey).save(folder / "IMAGES" / f"{number}.png")
    torch.save({"model": build_network("mnist_cnn").module.state_dict()}, folder / "weights.pt")
    (folder / "own.py").write_text(OWN)
    (folder / "loop").symlink_to("loop")


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("furnished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        furnish(folder)
    return folder


def check(
    numbers: Iterable[int], furnished: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run command lines by number, each in a folder as if it were the first, and say what broke."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.syspath_prepend(str(furnished))
    found = []
    for number in numbers:
        work = place / str(number)
        shutil.copytree(furnished, work, symlinks=True)
        monkeypatch.chdir(work)
        one = ended(mutated(number))
        found += [f"{number} {one}"] * bool(one.wrong)
        monkeypatch.chdir(place)
        shutil.rmtree(work)
    assert not found, "\n".join(found)


def test_a_hundred_command_lines(
    furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(range(SHORT), furnished, tmp_path, monkeypatch)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:20])
def test_places_that_no_command_can_write(
    place: str, furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    shutil.copytree(furnished, work, symlinks=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "80")
    before = set(work.rglob("*"))
    for line in WRITING:
        one = ended([*line.split(), place])
        assert not one.wrong, one
        assert one.code == 2, one
        assert set(work.rglob("*")) == before, one


TOO_MUCH = {
    "layers --canvas 18446744073709551616": "canvas rows=18446744073709551616",
    "layers --canvas 99999x99999": "at most 16384",
    "probe --transforms rotation:0:360:1e-9 --out OUT": "at most 10000",
    "probe --transforms rotation:0:1e300:1e-300 --out OUT": "at most 10000",
    "probe --transforms scaling:1:2:1000000000 --out OUT": "at most 10000",
    "probe --resamples 100000000 --out OUT": "resamples=100000000",
    "probe --workers 100000 --images IMAGES --out OUT": "workers=100000",
    "probe --batch-size 10000000000 --out OUT": "batch_size=10000000000",
    "probe --number 10000000000 --out OUT": "number=10000000000",
    "compare RESULT RESULT --names a,b --resamples 100000000 --out OUT": "resamples=100000000",
    "train CNN --set iterations=10000000000 --out OUT": "iterations=10000000000",
    "train CNN --set batch_size=10000000000 --out OUT": "batch_size=10000000000",
    "evaluate RUN --passes 10000000000": "passes=10000000000",
    "evaluate RUN --batch-size 10000000000": "batch_size=10000000000",
    "animate RESULT --width 1000000000 --out a.gif": "width",
}


@pytest.mark.parametrize("line", TOO_MUCH)
def test_numbers_beyond_their_bounds_are_refused_by_name_before_memory_is_taken(
    line: str, furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(furnished, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "80")
    one = ended(line.split())
    assert (one.wrong, one.code) == ("", 2), one
    assert TOO_MUCH[line] in one.said
    assert one.bytes < 2e8
    assert one.seconds < 5


def test_the_fastest_device_is_found_for_evaluation(
    furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(furnished, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    assert (
        ended(["evaluate", "RUN", "--passes", "1", "--number", "40", "--device", "auto"]).code == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("first", LONG[::PART])
def test_two_thousand_command_lines(
    first: int, furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(range(first, first + PART), furnished, tmp_path, monkeypatch)
