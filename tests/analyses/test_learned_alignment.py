"""The script on runs of a few steps: residuals, oracle, figure, refusals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.data.catalogue import load_examples
from invariance_probe.training import Recipe, TrainConfig, architecture_for, train_run


def trained(place: Path, name: str, data: str, seeds: tuple[int, ...]) -> Path:
    """A run of two steps."""
    examples = {train: load_examples(data, train=train, number=64) for train in (True, False)}
    config = TrainConfig(
        data, architecture_for(name, data, examples[True], width=0.125),
        Recipe(iterations=2, batch_size=32), seeds=seeds, number=64,
    )  # fmt: skip
    train_run(config, place / name, examples=examples[True], test=examples[False])
    return place / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("runs")
    seeds = {"CNN": (3,), "STN-C1": (3, 4), "STN-SL1": (3,)}
    return {name: trained(place, name, "mnist-r", own) for name, own in seeds.items()}


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("runs/mnist-r/STN-C0 runs/mnist-r/STN-C1 --number 1000")


def test_residuals_and_errors_before_and_after(
    script: ModuleType, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "learned"
    words = [str(runs["STN-C1"]), str(runs["STN-SL1"]), "--number", "40", "--out", str(out)]
    words += ["--transforms", "rotation:-90:90:90", "--formats", "svg"]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert "mnist-r/STN-C1 seed 3: aligned.0" in said
    each = pd.read_csv(out / "residuals.csv")
    assert {"unaligned", "best", "spatial_bound", "inverse_linear", "learned"} <= set(each["rung"])
    assert each.groupby("network")["layer"].first().to_dict() == {
        "STN-C1": "aligned.0",
        "STN-SL1": "blocks.0#2",
    }
    # Both seeds of the one run, the only seed of the other.
    seeds = pd.read_csv(out / "seeds.csv").groupby("network")["seed"].unique()
    assert sorted(seeds["STN-C1"]) == [3, 4] and list(seeds["STN-SL1"]) == [3]
    summary = pd.read_csv(out / "summary.csv")
    row = summary[(summary["network"] == "STN-C1") & (summary["what"] == "best")].iloc[0]
    moved = each[~each["identity"] & (each["rung"] == "best") & (each["network"] == "STN-C1")]
    assert row["value"] == pytest.approx(moved["residual"].mean()) and row["seeds"] == 2
    page = (out / "table_learned.md").read_text(encoding="utf-8")
    assert page in said and "| mnist-r, mean of 2 rotations: residual | STN-C1 | STN-SL1 |" in page
    assert "booktabs" in (out / "table_learned.tex").read_text(encoding="utf-8")
    about = json.loads((out / "provenance.json").read_text())
    assert [one["seed"] for one in about["networks"]] == [3, 4, 3]
    assert about["environment"]["device"] == "cpu" and about["environment"]["cores"] >= 1
    assert about["networks"][0]["images"] == "40 upright MNIST test images as they are"
    text = (out / "figures" / "learned_rotation_mnist-r.svg").read_text()
    assert "STN-SL1, blocks.0#2" in text and "learned alignment" in text


def test_transformations_and_canvas_are_those_of_the_data(
    script: ModuleType, tmp_path: Path
) -> None:
    run = trained(tmp_path / "runs", "STN-C0", "mnist-t", (0,))
    asked = argparse.Namespace(
        runs=[run, run], transforms=None, trained_seeds=None, data_root=None, number=30, seed=0
    )
    (plan,) = script.planned(asked)
    config, seed, network, transforms, images = plan
    assert (config.data, seed, network.canvas, images.canvas) == ("mnist-t", 0, (60, 60), (60, 60))
    assert config.architecture.reduction == 2
    assert transforms.startswith("identity translation:-15,0") and len(images) == 30


def test_bad_input_is_one_line(
    refuses: Callable[[list[str], str], None], runs: dict[str, Path], tmp_path: Path
) -> None:
    quick = ["--number", "40", "--transforms", "rotation:90"]
    refuses([str(runs["CNN"]), *quick], "'CNN' has no transformer")
    refuses([str(tmp_path / "none"), *quick], "none")
    refuses([str(runs["STN-C1"]), *quick, "--trained-seeds", "9"], "seed_9")
    refuses([str(runs["STN-C1"]), "--transforms", "turn:9"], "unknown transformation 'turn:9'")
    refuses([str(runs["STN-C1"]), "--number", "2001"], "2001 images asked for, 2000 there")
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.json").write_bytes((runs["STN-C1"] / "config.json").read_bytes())
    refuses([str(begun), *quick], "is trained yet; train it to the end first")
