"""The script on runs of a few steps: residuals, oracle, figure, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.data.catalogue import load_examples
from invariance_probe.training import Recipe, TrainConfig, architecture_for, train_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("runs")
    examples = {train: load_examples("mnist-r", train=train, number=64) for train in (True, False)}
    for name in ("CNN", "STN-C1", "STN-SL1"):
        config = TrainConfig(
            "mnist-r", architecture_for(name, "mnist-r", examples[True], width=0.25),
            Recipe(iterations=2, batch_size=32), seeds=(3,), number=64,
        )  # fmt: skip
        train_run(config, place / name, examples=examples[True], test=examples[False])
    return {path.name: path for path in place.iterdir()}


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("runs/STN-C0 runs/STN-C1 --number 1000")


def test_residuals_before_and_after(
    script: ModuleType, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "learned"
    words = [str(runs["STN-C1"]), str(runs["STN-SL1"]), "--number", "40", "--out", str(out)]
    words += ["--transforms", "rotation:-90:90:45", "--formats", "svg"]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert "STN-C1 trained on MNIST-R" in said and ": aligned.0" in said
    table = pd.read_csv(out / "learned.csv")
    assert set(table["rung"]) == {
        "unaligned", "inverse", "best", "input_aligned", "other_image", "learned",
    }  # fmt: skip
    assert table.groupby("network")["layer"].first().to_dict() == {
        "STN-C1": "aligned.0",
        "STN-SL1": "blocks.0#2",
    }
    oracle = pd.read_csv(out / "oracle.csv")
    assert set(oracle["network"]) == {"STN-C1", "STN-SL1"}
    about = json.loads((out / "provenance.json").read_text())
    assert about["networks"]["STN-C1"]["seed"] == 3
    text = (out / "figures" / "learned_rotation.svg").read_text()
    assert "STN-SL1, blocks.0#2" in text and "learned alignment" in text


def test_bad_input_is_one_line(
    refuses: Callable[[list[str], str], None], runs: dict[str, Path], tmp_path: Path
) -> None:
    quick = ["--number", "40", "--transforms", "rotation:90"]
    refuses([str(runs["CNN"]), *quick], "'CNN' has no transformer")
    refuses([str(tmp_path / "none"), *quick], "none")
    refuses([str(runs["STN-C1"]), *quick, "--trained-seed", "9"], "seed_9")
