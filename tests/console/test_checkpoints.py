"""Checkpoints on the command line: parts of them, entries, and names that try to style the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from invariance_probe import cli, load_result
from invariance_probe.networks import build_network

SMALL = ("--layers", "conv1", "--transforms", "rotation:90", "--number", "8", "--resamples", "20",
         "--no-figures")  # fmt: skip


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def run(*words: str) -> Any:
    return CliRunner().invoke(cli.app, list(words))


def test_a_part_of_an_entry(tmp_path: Path) -> None:
    state = build_network("mnist_cnn").module.state_dict()
    torch.save({"model": state, "ema": state | {"extra": torch.ones(1)}}, tmp_path / "c.pt")
    given = ("--checkpoint", "c.pt", "--checkpoint-entry", "ema")
    refused = run("probe", *SMALL, *given, "--out", "out")
    assert refused.exit_code == 2 and "1 unexpected (extra)" in refused.stderr
    done = run("probe", *SMALL, *given, "--allow-partial", "--out", "out")
    assert done.exit_code == 0, done.stderr
    told = load_result(tmp_path / "out").provenance
    assert told["config"]["allow_partial"] is True and told["config"]["checkpoint_entry"] == "ema"
    assert any(text.startswith("checkpoint: only ") for text in told["warnings"])
    listed = run("layers", *given, "--allow-partial")
    said = " ".join(listed.stdout.split())
    assert "input: 28x28 px, mean 0.1307, std 0.3081" in said
    assert f"{len(state)} weights of torch.save, entry ema" in said


def test_names_of_weights_are_text(tmp_path: Path) -> None:
    torch.save({"[red]a[/red]": torch.ones(1), "b\n\x1b[2Jc": torch.ones(1)}, tmp_path / "c.pt")
    refused = run("layers", "--checkpoint", "c.pt")
    assert refused.exit_code == 2
    assert "'[red]a[/red]'" in refused.stderr and r"'b\n\x1b[2Jc'" in refused.stderr
    assert "\x1b[2J" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 2  # what it was doing, and the error


def test_an_archive_is_no_network() -> None:
    refused = run("layers", "--network", "model.pt2")
    assert refused.exit_code == 2 and "this file as its checkpoint" in refused.stderr
