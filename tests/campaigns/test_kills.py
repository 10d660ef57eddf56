"""Kills spread over the whole life of commands: nothing finished is lost, all that can goes on.

The long run: python -m pytest -m slow tests/campaigns (about half an hour on two cores).
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import ROOT, SIGNALS, command, contents, duration, finished, killed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")

PROBE = command(
    "probe", "--layers", "conv1,conv2", "--transforms", "rotation:0:90:30", "--number", "60",
    "--batch-size", "4", "--resamples", "20", "--save-every", "0", "--out", "out",
)  # fmt: skip
DEMO = command("demo", "--number", "12", "--out", "out")
TRAIN = command(
    "train", "CNN", "--number", "100", "--width", "0.1", "--set", "iterations=150",
    "batch_size=20", "--out", "out",
)  # fmt: skip
RESUMED = {
    "probe": command("probe", "--resume", "--out", "out"),
    "demo": command("demo", "--number", "12", "--resume", "--out", "out"),
    "train": command("train", "--resume", "--out", "out"),
}
BEGUN = {"probe": PROBE, "demo": DEMO, "train": TRAIN}
ORACLE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from invariance_probe import build_network, embedded_digits
from invariance_probe.probing import oracle
oracle(build_network("mnist_cnn"), ["conv1", "conv2"], "rotation:30:330:30",
       embedded_digits(200)).save("out", overwrite=True)
"""
KILLS = 12  # per command, over all signals


def moments(seconds: float, number: int) -> Iterator[tuple[float, signal.Signals]]:
    """Moments from the start to a little after the end, with the signals in turn."""
    for index, how in zip(range(number), itertools.cycle(SIGNALS), strict=False):
        yield 1.05 * seconds * (index + 0.5) / number, how


def check_said(said: str, code: int, how: signal.Signals) -> None:
    assert "Traceback" not in said, said
    if how != signal.SIGKILL and code != 0:
        assert code in (130, 128 + how, -how), (code, said)


@pytest.mark.slow
@pytest.mark.parametrize("name", BEGUN)
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_a_killed_measurement_goes_on(tmp_path: Path, name: str, overwrite: bool) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    seconds = duration(BEGUN[name], whole)
    expected = contents(whole / "out")
    for number, (after, how) in enumerate(moments(seconds, KILLS)):
        place = tmp_path / f"{number}"
        place.mkdir()
        words = BEGUN[name]
        if overwrite:
            assert finished([*BEGUN[name], *_other(name)], place).returncode == 0
            older = contents(place / "out")
            words = [*words, "--overwrite"]
        code, said = killed(words, place, after, how)
        check_said(said, code, how)
        assert not overwrite or (place / "out").is_dir()
        if (place / "out").is_dir() and not (overwrite and contents(place / "out") == older):
            _check_whole(place / "out", expected, name)
        done = finished(RESUMED[name], place)
        if done.returncode or contents(place / "out") != expected:
            # Nothing was saved yet: begun again.
            done = finished(words if overwrite else BEGUN[name], place)
        assert done.returncode == 0, (after, how, said, done.stderr)
        assert contents(place / "out") == expected, (after, how)
        assert [entry.name for entry in place.iterdir()] == ["out"], (after, how)


def _other(name: str) -> list[str]:
    """Options that make another result of a command."""
    return ["--seeds", "7"] if name == "train" else ["--seed", "7"]


def _check_whole(out: Path, expected: dict[str, object], name: str) -> None:
    """What stands in the place is of the new run: whole, or for now without figures."""
    if name == "train":
        return  # a run goes on in its place; whole files are what the resume checks
    held = contents(out)
    lacking = {one for one in expected.keys() - held.keys() if "figures/" not in one}
    assert not lacking
    assert {n: v for n, v in expected.items() if n in held} == held


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "oracle", "plot", "compare"])
def test_a_killed_writing_leaves_the_older_one(tmp_path: Path, name: str) -> None:
    assert finished([*PROBE, "--no-figures"], tmp_path).returncode == 0
    (tmp_path / "out").rename(tmp_path / "result")
    words = {
        "report": command("report", "result", "--paper", "--out", "out", "--overwrite"),
        "oracle": [sys.executable, "-c", ORACLE],
        "plot": command("plot", "result", "--out", "out", "--overwrite"),
        "compare": command("compare", "result", "result", "--names", "a,b", "--out", "out",
                           "--overwrite"),
    }[name]  # fmt: skip
    seconds = duration(words, tmp_path)
    expected = contents(tmp_path / "out")
    for after, how in moments(seconds, KILLS):
        code, said = killed(words, tmp_path, after, how)
        if name != "oracle":
            check_said(said, code, how)
        held = contents(tmp_path / "out")
        assert held == {n: v for n, v in expected.items() if n in held}, (after, how)
        assert name == "compare" or held.keys() == expected.keys()
        assert (tmp_path / "out").is_dir(), (after, how)
    assert finished(words, tmp_path).returncode == 0
    assert contents(tmp_path / "out") == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "result"]


def test_ctrl_c_while_python_imports_is_one_line(tmp_path: Path) -> None:
    code, said = killed(PROBE, tmp_path, 0.4, signal.SIGINT)
    assert code in (130, -signal.SIGINT), said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "out.unfinished"])
