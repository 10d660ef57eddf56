"""Devices, pipes, sockets, folders and loops of links in the place of every file that is read.

Run by: python -m pytest -m slow tests/campaigns/test_kinds_of_files.py (a few minutes).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import ended
from killing import Moment, command, killed
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from invariance_probe import build_network, cli

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs its devices"),
]

_SMALL = "--layers conv2 --transforms rotation:90 --number 8 --resamples 20"
_TRAIN = "train CNN --data mnist --number 40 --width 0.1 --set iterations=60 batch_size=10"
_MANY = "--layers conv2 --transforms rotation:90 --number 64 --batch-size 1 --save-every 0"


def _socket(path: Path) -> None:
    # An address has at most 108 letters, and a relative path is one.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _endless(path: Path) -> None:
    with path.open("wb") as made:
        made.truncate(1 << 40)


KINDS: dict[str, Callable[[Path], None]] = {
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "full": lambda path: path.symlink_to("/dev/full"),
    "null": lambda path: path.symlink_to("/dev/null"),
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "loop": _loop,
    "socket": _socket,
    "nowhere": lambda path: path.symlink_to("nowhere"),
    "endless": _endless,
}

# What reads each file; files of which a command has no need may be anything.
READING = {
    "result/provenance.json": ("plot result --out out", "report result --no-viewer --out out",
        "verify result", "compare result other --out out", "animate result --html out.html",
        "probe --config result --no-figures --out out"),
    "result/per_image.npz": ("plot result --out out", "report result --no-viewer --out out",
        "verify result", "compare result other --out out"),
    "result/summary.csv": ("plot result --out out", "report result --no-viewer --out out"),
    "result/ledger.csv": ("report result --no-viewer --out out", "verify result"),
    "begun.unfinished/state.json": ("probe --resume --out begun",),
    "begun.unfinished/N.pt": ("probe --resume --out begun",),
    "run/config.json": ("evaluate run --passes 1 --number 40", "train --resume --out run",
        "report run --no-viewer --out out"),
    "run/seed_7/model.safetensors": ("evaluate run --passes 1 --number 40",
        "train --resume --out run", "layers --network run/seed_7/model.safetensors"),
    "run/seed_7/history.csv": ("evaluate run --passes 1 --number 40 --figures out",),
    "halted/config.json": ("train --resume --out halted",),
    "halted/seed_0/progress.safetensors": ("train --resume --out halted",),
    "weights.pt": ("layers --checkpoint weights.pt",),
    "weights.safetensors": ("layers --checkpoint weights.safetensors",
        "layers --network weights.safetensors"),
    "shards/model.safetensors.index.json": (
        "layers --checkpoint shards/model.safetensors.index.json",),
    "shards/one.safetensors": ("layers --checkpoint shards/model.safetensors.index.json",),
    "images/0.png": (f"probe {_SMALL} --images images --no-figures --out out",),
    "x.npy": (f"probe {_SMALL} --images x.npy --no-figures --out out",),
    "x.npz": (f"probe {_SMALL} --images x.npz --no-figures --out out",),
    "x.h5": (f"probe {_SMALL} --images x.h5 --no-figures --out out",),
    "x.tar": (f"probe {_SMALL} --images x.tar --no-figures --out out",),
    "config.json": ("probe --config config.json --no-figures --out out",),
}  # fmt: skip
PLACES = [(file, kind) for file in READING for kind in KINDS]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("furnished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for line in (
            f"probe {_SMALL} --no-figures --out result",
            f"probe {_SMALL} --seed 7 --no-figures --out other",
            f"{_TRAIN} --seeds 7 --out run",
        ):
            done = CliRunner().invoke(cli.app, line.split())
            assert done.exit_code == 0, done.output
        shards = Path("shards")
        for folder in (shards, Path("images")):
            folder.mkdir()
        for number in range(8):
            Image.fromarray(np.zeros((28, 28), np.uint8)).save(f"images/{number}.png")
        state = build_network("mnist_cnn").module.state_dict()
        torch.save(state, "weights.pt")
        save_file(state, "weights.safetensors")
        save_file(state, shards / "one.safetensors")
        text = ", ".join(f'"{name}": "one.safetensors"' for name in state)
        (shards / "model.safetensors.index.json").write_text('{"weight_map": {' + text + "}}")
    for line, pattern in (
        (f"probe {_MANY} --no-ledger --out begun", "begun.unfinished/state.json"),
        (_TRAIN.replace("=60", "=600") + " --out halted", "halted/config.json"),
    ):
        assert killed(command(line), place, Moment(pattern=pattern), signal.SIGINT).code == 130
    return place


@pytest.fixture
def work(
    furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], Path]]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("command_lines.WAITING", 60.0)

    def made(file: str, kind: str) -> Path:
        place = tmp_path / "work"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(furnished, place, symlinks=True)
        monkeypatch.chdir(place)
        if file.endswith("N.pt"):
            file = str(next(place.glob("begun.unfinished/*.pt")).relative_to(place))
        path = place / file
        path.unlink(missing_ok=True)
        KINDS[kind](path)
        return path

    yield made


def check(file: str, kind: str, work: Callable[[str, str], Path]) -> None:
    for line in READING[file]:
        work(file, kind)
        one = ended(line.split())
        assert not one.wrong, f"{file} as {kind}: {one}"
        # A link to nowhere is a file that is not there: what it held is computed again.
        again = line.startswith("train") and kind in ("loop", "nowhere")
        assert one.code == 2 or (again and one.code == 0), f"{file} as {kind}: {one} {one.said}"
        assert one.seconds < 15, f"{file} as {kind}: {one}"


@pytest.mark.parametrize(("file", "kind"), PLACES)
def test_every_kind_in_every_place(file: str, kind: str, work: Callable[[str, str], Path]) -> None:
    check(file, kind, work)
