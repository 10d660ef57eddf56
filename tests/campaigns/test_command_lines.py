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


@pytest.mark.slow
@pytest.mark.parametrize("first", LONG[::PART])
def test_two_thousand_command_lines(
    first: int, furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(range(first, first + PART), furnished, tmp_path, monkeypatch)
