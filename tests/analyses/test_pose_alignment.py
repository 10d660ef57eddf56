"""The alignment script on runs of a few steps: statistics, figures, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.data.catalogue import load_examples
from invariance_probe.training import Recipe, TrainConfig, architecture_for, load_run, train_run
from invariance_probe.training.poses.runs import run_pose_statistics, run_poses

QUICK = ["--number", "60", "--passes", "2", "--formats", "svg"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two steps on 64 digits, by network."""
    place = tmp_path_factory.mktemp("runs")
    examples = {train: load_examples("mnist-r", train=train, number=64) for train in (True, False)}
    made = {}
    for name in ("CNN", "STN-C0", "STN-SL1x2"):
        config = TrainConfig(
            "mnist-r", architecture_for(name, "mnist-r", examples[True], width=0.25),
            Recipe(iterations=2, batch_size=32), seeds=(0, 1), number=64,
        )  # fmt: skip
        train_run(config, place / name, examples=examples[True], test=examples[False])
        made[name] = place / name
    return made


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("runs/mnist-r/STN-C0")


def test_statistics_and_figures_of_runs(
    script: ModuleType,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "poses"
    words = [str(runs["STN-C0"]), str(runs["STN-SL1x2"]), *QUICK, "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert "STN-C0 seed 1, rotation: slope " in said and "degrees, 120 samples" in said
    table = pd.read_csv(out / "poses.csv")
    assert table["run"].tolist() == ["STN-C0"] * 2 + ["STN-SL1x2"] * 2
    assert (table["data"] == "mnist-r").all()
    test = load_examples("mnist-r", train=False, number=60)
    expected = run_pose_statistics(run_poses(load_run(runs["STN-C0"]), test, passes=2), "")
    for column in ("slope", "deviation", "deviation_high"):
        assert table[column][:2].tolist() == pytest.approx(expected[column].tolist())
    assert {path.name for path in (out / "figures").iterdir()} == {
        "poses_rotation.svg", "aligned.svg", "class_means.svg",
    }  # fmt: skip
    about = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert about["test"]["number"] == 60 and about["test"]["passes"] == 2
    assert set(about["runs"]) == {"STN-C0", "STN-SL1x2"}

    assert script.main(words) == 2
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*words, "--step", "0", "--overwrite"]) == 0


def test_networks_of_one_name_are_told_apart(script: ModuleType, runs: dict[str, Path]) -> None:
    loaded = [load_run(runs["STN-C0"]), load_run(runs["STN-SL1x2"])]
    assert script.labels(loaded) == ["STN-C0", "STN-SL1x2"]
    place = runs["STN-C0"].parent.name
    assert script.labels([loaded[0], *loaded])[0] == f"STN-C0 {place}/STN-C0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["CNN"], "'CNN' has no transformer to align with"),
        (["STN-C0", "--step", "1"], "step=1: this network aligns 1 times"),
        (["STN-C0", "--data", "mnist-s"], "was trained on images normalised by"),
        (["STN-C0", "--data", "mnist"], "transformed alike"),
        (["STN-C0", "--passes", "0"], "0 passes in batches of 100; give at least 1 of each"),
        (["STN-C0", "--formats", "gif"], "unknown figure format 'gif'"),
        (["nowhere"], "no training run in"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None],
    runs: dict[str, Path],
    words: list[str],
    message: str,
) -> None:
    refuses([str(runs.get(words[0], "nowhere")), *QUICK, *words[1:]], message)
