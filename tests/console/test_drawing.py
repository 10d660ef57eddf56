"""Figures that cannot be drawn cost no measurement, whatever the reason."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from invariance_probe import cli, load_result
from invariance_probe.console import writing

ROOT = Path(__file__).resolve().parents[2]
PROBE = "probe --layers conv1 --transforms rotation:90 --number 8 --resamples 20"
NETWORK = """
from torch import nn

def build(width=2):
    class Conv1(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, int(width), 3)
        def forward(self, images):
            return self.conv1(images)
    return Conv1()
"""
REASONS = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
     "cannot write the result to the out/figures: No space left on device; free some space or "
     "name another folder"),
    (RuntimeError("Failed to process\nstring with tex"),
     "RuntimeError: Failed to process string with tex"),
    (KeyError("DejaVu Sans"), "KeyError: 'DejaVu Sans'"),
    (MemoryError(), "MemoryError"),
    (RecursionError("too deep"), "RecursionError: too deep"),
    (SystemExit(3), "SystemExit: 3"),
]  # fmt: skip


def run(line: str) -> Any:
    return CliRunner().invoke(cli.app, shlex.split(line), catch_exceptions=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def raising(error: BaseException) -> Any:
    def draws(*_args: Any, **_options: Any) -> None:
        raise error

    return draws


@pytest.mark.parametrize(("error", "reason"), REASONS, ids=lambda one: type(one).__name__)
def test_what_ends_the_drawing_costs_no_measurement(
    error: BaseException, reason: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(f"{PROBE} --no-figures --out 'no figures'").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write_gallery", raising(error))
        done = run(f"{PROBE} --out 'the out'")
    assert done.exit_code == 2
    line = done.stderr.splitlines()[-1]
    assert line == (
        f"error: the out is complete but for its figures ({reason}); "
        "draw them with: invariance-probe probe --resume --out 'the out'"
    )
    assert load_result("the out").equals(load_result("no figures"))
    assert sorted(os.listdir()) == ["no figures", "the out"]
    again = run(line.partition("draw them with: invariance-probe ")[2])
    assert again.exit_code == 0, again.stderr
    assert {"gallery.svg", "ladder.svg", "files.json"} <= set(os.listdir("the out/figures"))


def test_a_terminal_of_few_letters_ends_no_command(here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "invariance_probe", *PROBE.split(), "--no-figures", "--out", "out"],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"tables: out" in done.stdout and b"?" in done.stdout


def test_the_line_allows_the_network_that_is_run_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
    Path("drawn_again.py").write_text(NETWORK, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write_gallery", raising(KeyError("no font")))
        done = run(f"{PROBE} --network drawn_again:build --network-arg width=3 --out out")
    line = done.stderr.splitlines()[-1].partition("draw them with: invariance-probe ")[2]
    assert line.endswith("--network drawn_again:build --network-arg width=3")
    assert run("probe --resume --out out").exit_code == 2
    assert run(line).exit_code == 0
    assert Path("out/figures/gallery.svg").is_file()
