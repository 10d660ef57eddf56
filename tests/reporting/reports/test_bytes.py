"""The same bytes from fresh processes, whatever their hash seed, time zone and language."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from invariance_probe import ProbeError
from invariance_probe.probing import Options, ProbeConfig, Result
from invariance_probe.reporting import report
from invariance_probe.reporting.reports import beside as beside_module
from invariance_probe.reporting.reports.beside import beside, two_can_work

SETTINGS = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LANG": "C", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
)

REPORT = """
import sys
from invariance_probe.reporting import report
report(sys.argv[1], sys.argv[2], paper=True, viewer=True, processes=int(sys.argv[3]))
"""
PROBE = """
import json, sys
from invariance_probe.probing import ProbeConfig, run_config
run_config(ProbeConfig.from_dict(json.loads(sys.argv[1]))).save(sys.argv[2])
"""


def both(script: str, *arguments: tuple[object, ...]) -> None:
    """Run a script in two fresh processes at a time, with arguments of their own."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, *map(str, own)], env=os.environ | setting,
            stderr=subprocess.PIPE, text=True,
        )
        for own, setting in zip(arguments, SETTINGS, strict=True)
    ]  # fmt: skip
    for process in running:
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of one configuration, measured by two fresh processes."""
    config = ProbeConfig(
        layers=("conv2",), transforms="rotation:90", number=24,
        options=Options(resamples=20, batch_size=16),
    )  # fmt: skip
    asked, place = json.dumps(config.to_dict()), tmp_path_factory.mktemp("measured")
    both(PROBE, (asked, place / "a"), (asked, place / "b"))
    return place / "a", place / "b"


def test_fresh_processes_measure_the_same(measured: tuple[Path, Path]) -> None:
    first, second = map(files, measured)
    assert first.keys() == second.keys()
    assert {"residuals.csv", "per_image.npz", "provenance.json", "hash.json"} <= first.keys()
    # No file holds a time or a duration, so none may differ: not even provenance and hashes.
    assert [name for name in first if first[name] != second[name]] == []


def test_fresh_processes_write_the_same_report(measured: tuple[Path, Path], tmp_path: Path) -> None:
    run = measured[0]
    both(REPORT, (run, tmp_path / "a", 1), (run, tmp_path / "b", 2))
    first, second = files(tmp_path / "a"), files(tmp_path / "b")
    assert first.keys() == second.keys()
    assert {Path(name).suffix for name in first} >= {
        ".html", ".md", ".json", ".svg", ".pdf", ".png", ".csv", ".tex", ".bib",
    }  # fmt: skip
    assert [name for name in first if first[name] != second[name]] == []
    assert b'class="ipv-data"' in first["report.html"]


# --- two processes ------------------------------------------------------------------------------

two = pytest.mark.skipif(not two_can_work(), reason="needs Linux and two cores")


def test_tasks_beside_come_back_in_order() -> None:
    with beside([lambda: 1, lambda: "two", os.getpid]) as results:
        found = results()
    if two_can_work():
        assert found[:2] == [1, "two"] and found[2] != os.getpid()
    else:
        assert found == []


def test_one_core_does_all_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "two_can_work", lambda: False)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("there is one core only"))
    with beside([os.getpid]) as results:
        assert results() == []


@two
def test_what_fails_beside_is_left_to_do_here() -> None:
    with beside([lambda: 1, lambda: 1 // 0, lambda: 3]) as results:
        assert results() == [1]
    with beside([lambda: 1, lambda: os._exit(9), lambda: 3]) as results:
        assert results() in ([], [1])


@two
def test_an_interrupted_block_leaves_no_process_behind(tmp_path: Path) -> None:
    began = time.monotonic()

    def long() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt), beside([long]):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@two
def test_errors_of_drawing_are_the_same_in_two_processes(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ProbeError("no picture of this")

    monkeypatch.setattr("invariance_probe.reporting.files.plot_gain", refuse)
    with pytest.raises(ProbeError, match="no picture of this"):
        report(make_result("rotation:90", layers=("conv1",)), tmp_path / "r", processes=2)
    assert not (tmp_path / "r").exists()
