"""Kills spread over the whole life of commands: nothing finished is lost, all that can goes on.

The long run: python -m pytest -m slow tests/campaigns/test_kills.py (about ten minutes alone).
"""

from __future__ import annotations

import itertools
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from killing import SIGNALS, Command, Ended, Moment, command, contents, finished, killed, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the clocks of processes")

PROBE = command(
    "probe --layers conv1,conv2 --transforms rotation:90;rotation:30 --number 16 --batch-size 2 "
    "--resamples 20 --save-every 0 --out out"
)
BEGUN = {
    "probe": PROBE,
    "demo": command("demo --number 12 --out out"),
    "train": command(
        "train CNN --number 100 --width 0.1 --set iterations=60 batch_size=20 --out out"
    ),
}
RESUMED = {
    "probe": command("probe --resume --out out"),
    "demo": command("demo --number 12 --resume --out out"),
    "train": command("train --resume --out out"),
}
# Beside moments spread evenly: when these files appear, a file being written or a folder renamed.
APPEAR = {
    "probe": ("out.unfinished/state.json", ".out.part/new/*.csv", "out/provenance.json",
              ".out.part/new/*.svg", "out/figures/*.svg"),
    "demo": ("out.unfinished/rotations/*.csv", "out.unfinished/oracle/*.csv", "out/oracle/*.csv"),
    "train": ("out/seed_0/*", "out/seed_0/model.safetensors"),
}  # fmt: skip
MEASURED = {"probe": 3, "demo": 1, "train": 4}  # kills at moments spread evenly, of each case
WRITTEN = {
    "report": command("report result --paper --out out --overwrite"),
    "oracle": Command("""
from invariance_probe import build_network, embedded_digits
from invariance_probe.probing import oracle
oracle(build_network("mnist_cnn"), ["conv1", "conv2"], "rotation:30:330:30",
       embedded_digits(100)).save("out", overwrite=True)
"""),
    "plot": command("plot result --out out --overwrite"),
    "compare": command("compare result result --names a,b --out out --overwrite"),
}
KILLS = 9  # of each writing


def moments(seconds: float, number: int, shift: float = 0.5) -> Iterator[Moment]:
    """Moments from the start to a little after the end."""
    for index in range(number):
        yield Moment(1.05 * seconds * (index + shift) / number)


def check_said(ended: Ended, how: signal.Signals) -> None:
    assert "Traceback" not in ended.said, ended.said
    if how != signal.SIGKILL and ended.code != 0:
        assert ended.code in (130, 128 + how, -how), ended


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> object:
    """By command and seed: its folder where nothing kills it, and the seconds that it took."""

    @cache
    def made(name: str, seed: int | None = None) -> tuple[Path, float]:
        place = tmp_path_factory.mktemp(name)
        option = "--seeds" if name == "train" else "--seed"
        done = finished(BEGUN[name].having(*((option, str(seed)) if seed else ())), place)
        return place / "out", done.seconds

    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", BEGUN)
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_a_killed_measurement_goes_on(
    tmp_path: Path, name: str, overwrite: bool, wholes: object
) -> None:
    whole, seconds = wholes(name)  # type: ignore[operator]
    expected = contents(whole)
    words = BEGUN[name].having(*(["--overwrite"] * overwrite))
    spread = moments(seconds, MEASURED[name], 0.75 if overwrite else 0.25)
    all_moments = [*spread, *map(Moment, itertools.repeat(None), APPEAR[name])]
    for number, when in enumerate(all_moments):
        how = SIGNALS[(number + overwrite) % len(SIGNALS)]
        place = tmp_path / f"{number}"
        place.mkdir()
        if overwrite:
            older = wholes(name, 7)[0]  # type: ignore[operator]
            shutil.copytree(older, place / "out")
        ended = killed(words, place, when, how)
        check_said(ended, how)
        assert not overwrite or (place / "out").is_dir()
        if (place / "out").is_dir() and not (
            overwrite and contents(place / "out") == contents(older)
        ):
            _check_whole(place / "out", expected, name)
        done = run(RESUMED[name], place)
        if done.code or contents(place / "out") != expected:
            # Nothing was saved yet: begun again.
            done = run(words, place)
        assert done.code == 0, (when, how, ended, done)
        assert contents(place / "out") == expected, (when, how)
        assert [entry.name for entry in place.iterdir()] == ["out"], (when, how)


def _check_whole(out: Path, expected: dict[str, object], name: str) -> None:
    """What stands in the place is of the new run: whole, or for now without figures."""
    if name == "train":
        return  # a run goes on in its place; whole files are what the resume checks
    held = contents(out)
    lacking = {one for one in expected.keys() - held.keys() if "figures/" not in one}
    assert not lacking
    assert {n: v for n, v in expected.items() if n in held} == held


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_a_killed_writing_leaves_the_older_one(tmp_path: Path, name: str) -> None:
    finished(PROBE.having("--no-figures"), tmp_path)
    (tmp_path / "out").rename(tmp_path / "result")
    words = WRITTEN[name]
    seconds = finished(words, tmp_path).seconds
    expected = contents(tmp_path / "out")
    for when, how in zip(moments(seconds, KILLS), itertools.cycle(SIGNALS), strict=False):
        ended = killed(words, tmp_path, when, how)
        if name != "oracle":
            check_said(ended, how)
        held = contents(tmp_path / "out")
        assert held == {n: v for n, v in expected.items() if n in held}, (when, how)
        assert name == "compare" or held.keys() == expected.keys()
        assert (tmp_path / "out").is_dir(), (when, how)
    finished(words, tmp_path)
    assert contents(tmp_path / "out") == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "result"]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.15, 0.4, 0.8, 1.2, 2.0, 3.0])
@pytest.mark.parametrize("how", SIGNALS)
def test_a_command_killed_while_python_imports(
    tmp_path: Path, seconds: float, how: signal.Signals, wholes: object
) -> None:
    """Later moments are those of a machine on which the imports take as long."""
    check_killed_early(tmp_path, seconds, how)
    done = run(BEGUN["probe"].having("--overwrite"), tmp_path)
    assert done.code == 0, done
    assert contents(tmp_path / "out") == contents(wholes("probe")[0])  # type: ignore[operator]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_while_python_imports_is_one_line(tmp_path: Path) -> None:
    check_killed_early(tmp_path, 0.4, signal.SIGINT)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "out.unfinished"])


def check_killed_early(place: Path, seconds: float, how: signal.Signals) -> None:
    check_said(killed(PROBE, place, Moment(seconds), how, imported=False), how)
