"""Commands on a full or read-only disk and in forbidden folders: one line, nothing half written.

`python -m pytest -m slow tests/campaigns/test_full_disks.py`, as root on Linux; about ten minutes.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from killing import Moment, command, contents, finished, killed, run
from PIL import Image
from small_disks import NO_DISK, fill, held, mounted, not_one_line, remount

from invariance_probe import build_network
from invariance_probe.probing import load_result

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_DISK), reason=NO_DISK)]

_SMALL = "--layers conv1,conv2 --transforms rotation:90;rotation:30 --number 16 --resamples 20"
_PROBE = f"probe {_SMALL} --batch-size 4 --save-every 0"
_TRAIN = "train CNN --number 40 --width 0.1 --set iterations=60 batch_size=10"
# What is written, by command; what must stand on the disk before is named in STANDS.
LINES = {
    "train": f"{_TRAIN} --out disk/out",
    "train-over": f"{_TRAIN} --overwrite --out disk/out",
    "train-resume": "train --resume --out disk/out",
    "evaluate": "evaluate run --passes 1 --number 40 --out disk/out.csv",
    "plot": "plot result --out disk/out",
    "plot-within": "plot disk/out",
    "compare": "compare result result --names a,b --out disk/out",
    "report": "report result --out disk/out",
    "report-over": "report result --paper --no-viewer --overwrite --out disk/out",
    "animate-gif": "animate result --out disk/out.gif",
    "animate-page": "animate result --html disk/out.html",
    "oracle": "oracle_stn.py --number 12 --layers conv1 --transforms rotation:90 --out disk/out",
    "layers": "layers",
    "verify": "verify result",
    "probe": f"{_PROBE} --out disk/out",
    "probe-plain": f"{_PROBE} --no-figures --out disk/out",
    "probe-over": f"{_PROBE} --overwrite --out disk/out",
    "probe-resume": "probe --resume --out disk/out",
    "demo": "demo --number 12 --out disk/out",
}
PRINTING = ("layers", "verify")  # into a file on the disk
STANDS = {
    "probe-over": "older", "probe-resume": "begun", "train-over": "run", "train-resume": "halted",
    "plot-within": "older", "report-over": "page",
}  # fmt: skip
GOES_ON = {
    "probe": "probe --resume --out disk/out",
    "demo": "demo --number 12 --resume --out disk/out",
    "train": "train --resume --out disk/out",
}
ROOMS = (0, 40_000, 400_000)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read, and what may stand where they write."""
    place = tmp_path_factory.mktemp("furnished")
    for line in (
        f"{_PROBE} --no-figures --out result",
        f"{_PROBE} --seed 7 --no-figures --out older",
        f"{_TRAIN} --seeds 7 --out run",
        "report result --no-viewer --out page",
    ):
        finished(command(line), place)
    # Small enough to stand on the disk, and long enough to be stopped.
    many = (
        "probe --layers conv2 --transforms rotation:90 --number 64 --batch-size 1 --save-every 0 "
        "--no-ledger"
    )
    for line, pattern in (
        (f"{many} --out begun", "begun.unfinished/state.json"),
        (_TRAIN.replace("=60", "=600") + " --out halted", "halted/config.json"),
    ):
        assert killed(command(line), place, Moment(pattern=pattern), signal.SIGINT).code == 130
    (place / "images").mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(place / "images" / "0.png")
    torch.save(build_network("mnist_cnn").module.state_dict(), place / "weights.pt")
    return place


@pytest.fixture
def work(furnished: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with links to all that is read, and a small disk in it."""
    for name in ("result", "run"):
        (tmp_path / name).symlink_to(furnished / name)
    with mounted(tmp_path / "disk"):
        yield tmp_path


def stand(name: str, furnished: Path, disk: Path) -> dict[str, bytes]:
    """Put on the disk what must stand there before a command; all that it holds."""
    what = STANDS.get(name, "")
    for made in (what, f"{what}.unfinished"):
        if what and (furnished / made).exists():
            shutil.copytree(furnished / made, disk / made.replace(what, "out"))
    return held(disk)


@pytest.fixture(scope="module")
def wanted(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What measuring commands write where there is room, by command; filled when first asked."""
    return {}


def expected(name: str, furnished: Path, wanted: dict[str, object], place: Path) -> object:
    if name not in wanted:
        (place / "disk").mkdir(parents=True)
        stand(name, furnished, place / "disk")
        finished(command(LINES[name]), place)
        wanted[name] = contents(place / "disk" / "out")
    return wanted[name]


@pytest.mark.parametrize("how", ["read-only", "no-writing", "no-entering"])
@pytest.mark.parametrize("name", [name for name in LINES if name not in PRINTING])
def test_forbidden(name: str, how: str, furnished: Path, work: Path) -> None:
    disk = work / "disk"
    before = stand(name, furnished, disk)
    if how == "read-only":
        remount(disk, "ro")
    else:
        disk.chmod(0o555 if how == "no-writing" else 0o000)
    ended = run(command(LINES[name]), work, bound=True)
    assert ended.code == 2, ended
    assert not not_one_line(ended.said), not_one_line(ended.said)
    assert held(disk) == before


READING = {
    "result": ("plot RESULT --out out", "report RESULT --no-viewer --out out", "verify RESULT",
               "compare RESULT result --names a,b --out out", "animate RESULT --html out.html",
               "probe --config RESULT --no-figures --out out"),
    "run": ("evaluate RUN --passes 1 --number 40", "train --resume --out RUN",
            "layers --network RUN/seed_7/model.safetensors"),
    "images": (f"probe {_SMALL} --images IMAGES --out out",),
    "weights.pt": ("layers --checkpoint WEIGHTS.PT",),
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "line"), [(what, line) for what, lines in READING.items() for line in lines]
)
@pytest.mark.parametrize("inner", [False, True], ids=["itself", "a-file-in-it"])
def test_not_to_be_read(what: str, line: str, inner: bool, furnished: Path, tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to(furnished / "result")
    mine = tmp_path / f"my-{what}"
    if inner and not (furnished / what).is_dir():
        pytest.skip("no folder")
    (shutil.copytree if (furnished / what).is_dir() else shutil.copy)(furnished / what, mine)
    inside = [path for path in sorted(mine.rglob("*")) if path.is_file()]
    for path in inside if inner else [mine]:
        path.chmod(0)
    ended = run(command(line.replace(what.upper(), mine.name)), tmp_path, bound=True)
    assert ended.code == 2, ended
    assert not not_one_line(ended.said), not_one_line(ended.said)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["result", mine.name])


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("name", LINES)
def test_full(name: str, room: int, furnished: Path, work: Path, wanted: dict[str, object]) -> None:
    disk = work / "disk"
    before = stand(name, furnished, disk)
    filler = fill(disk, room)
    printed = disk / "printed.txt" if name in PRINTING else None
    imported = name not in PRINTING  # how Python ends its own output is part of that
    words = command(LINES[name])
    ended = run(words, work, imported=imported, printed=printed, bound=True)
    code, said = ended.code, ended.said
    after = held(disk)
    after.pop("printed.txt", None)
    assert not [entry for entry in after if entry.startswith(".") or "/." in entry], said
    assert code in (0, 2), said
    assert code == 2 or room, said
    if code == 2:
        assert not not_one_line(said), not_one_line(said)
    family = name.partition("-")[0]
    if family not in GOES_ON:
        assert code == 0 or after == before, said
        return
    if code == 2 and family == "probe" and not _same(before, after, "out/"):
        load_result(disk / "out")  # whole, for now without figures
    if room < ROOMS[-1]:
        return
    # A measurement that did not fit goes on, or begins again, to the same bytes.
    filler.unlink()
    remount(disk, "size=256m")
    on = GOES_ON[family] + " --no-figures" * (name == "probe-plain")
    if code == 2 and (run(command(on), work).code or "-over" in name):
        finished(command(LINES[name]), work)
    assert contents(disk / "out") == expected(name, furnished, wanted, work / "whole"), said
    assert sorted(entry.name for entry in disk.iterdir()) == ["out"]


def _same(one: dict[str, bytes], other: dict[str, bytes], below: str) -> bool:
    return {k: v for k, v in one.items() if k.startswith(below)} == {
        k: v for k, v in other.items() if k.startswith(below)
    }
