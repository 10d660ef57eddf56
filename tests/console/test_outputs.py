"""Where a command would write is looked at first: before what it reads, and before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariance_probe import cli

# Nothing that these name is there: a command that looked at its input first would name that.
_WITHOUT_INPUT = {
    "probe": "probe --network nothing --images nothing --out {}",
    "report": "report nothing --out {} --overwrite",
    "compare": "compare nothing nowhere --out {} --overwrite",
    "train": "train CNN --data nothing --out {} --overwrite",
    "train on": "train --resume --out {}",
    "demo": "demo --out {} --overwrite",
    "plot": "plot nothing --out {} --overwrite",
    "evaluate": "evaluate nothing --figures {} --overwrite",
    "evaluate table": "evaluate nothing --out {} --overwrite",
    "animate": "animate nothing --html {} --overwrite",
}
_BESIDE = ("plot", "evaluate")  # figures join what a folder of files holds


def refused(command: str, place: Path) -> str:
    done = CliRunner().invoke(cli.app, _WITHOUT_INPUT[command].format(place).split())
    assert done.exit_code == 2, done.output
    return str(done.stderr.strip().splitlines()[-1])


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", _WITHOUT_INPUT)
def test_a_folder_of_the_user_is_refused_before_any_work(command: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    inner = mine / "letters" if command in _BESIDE else mine
    inner.mkdir(parents=True)
    (inner / "letter.txt").write_text("dear reader")
    said = refused(command, mine)
    assert said.startswith("error: ") and str(mine) in said, said
    assert [path.name for path in mine.rglob("*.*")] == ["letter.txt"]


@pytest.mark.parametrize("command", _WITHOUT_INPUT)
def test_a_place_below_a_file_is_refused_before_any_work(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    said = refused(command, tmp_path / "file" / "out")
    assert said.startswith("error: ") and str(tmp_path / "file") in said, said
