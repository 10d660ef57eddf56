"""The commands `train` and `evaluate`: what they write and say, and how bad input ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.training import evaluate_passes, load_run
from invariance_probe.training.poses.runs import run_poses
from invariance_probe.training.runs.trained_run import run_examples

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--number", "60", "--width", "0.1", "--set", "iterations=3", "batch_size=20"]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def run(*args: str) -> Any:
    return CliRunner().invoke(cli.app, list(args), catch_exceptions=False)


def refused(*args: str) -> str:
    """The line of a command that must end with code 2 and leave no trace."""
    before = sorted(Path.cwd().rglob("*"))
    done = run(*args)
    lines = done.stderr.strip().splitlines()
    assert done.exit_code == 2, done.output
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in done.output
    assert sorted(Path.cwd().rglob("*")) == before
    return str(lines[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of two seeds, made once."""
    folder = tmp_path_factory.mktemp("trained") / "sl1"
    done = run(
        "train", "STN-SL1", "--data", "mnist-r", "--seeds", "0,2", *SMALL, "--out", str(folder)
    )
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_help_fits_a_terminal(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout


def test_train_writes_a_run_as_asked(trained: Path) -> None:
    one = load_run(trained)
    assert sorted(one.networks) == [0, 2]
    assert (one.config.data, one.config.number, one.config.preset) == ("mnist-r", 60, "quick")
    assert (one.config.recipe.iterations, one.config.recipe.batch_size) == (3, 20)
    assert one.config.recipe.momentum == 0.9, "the rest comes from the preset"
    assert (one.config.architecture.name, one.config.architecture.width) == ("STN-SL1", 0.1)
    assert not list(trained.rglob("progress*"))


def test_train_says_what_it_did(in_tmp: Path) -> None:
    done = run("train", "CNN", *SMALL, "momentum=0", "--out", "cnn")
    assert done.exit_code == 0, done.stderr
    assert "training CNN on mnist-r" in done.stderr
    lines = done.stdout.splitlines()
    error = json.loads((load_run("cnn").metadata[0])["test_error"])
    assert lines[-2:] == [
        f"seed 0: test error {100 * error:.2f} % (one pass)",
        "networks and history: cnn",
    ]
    said = " ".join(lines[:-2])
    assert said.startswith("MNIST-R, training: 60 of the first 8,000") and "2,000 for" in said
    assert said.endswith("canvas 28x28, 1 channel, 10 classes; backbone mnist")
    assert load_run("cnn").config.recipe.momentum == 0


def test_architecture_options(in_tmp: Path) -> None:
    done = run(
        "train", "STN-C0", "--family", "rotation", "--network-arg", "head=CNN", "beyond=fill",
        *SMALL, "--out", "a",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    built = load_run("a").config.architecture
    assert (built.family, built.head, built.beyond) == ("rotation", "CNN", "fill")


def test_evaluate_prints_and_writes_a_table(trained: Path, in_tmp: Path) -> None:
    done = run("evaluate", str(trained), "--passes", "2", "--number", "50", "--out", "errors.csv")
    assert done.exit_code == 0, done.stderr
    table = pd.read_csv("errors.csv")
    assert table[["seed", "pass"]].to_numpy().tolist() == [[0, 1], [0, 2], [2, 1], [2, 2]]
    assert set(table["number"]) == {50}
    by_seed = table.groupby("seed")["error"].mean()
    assert f"{100 * by_seed.mean():.2f}" in done.stdout
    assert f"{100 * by_seed.std():.2f}" in done.stdout
    assert "STN-SL1" in done.stdout
    assert done.stdout.splitlines()[-1] == "table: errors.csv"
    again = refused("evaluate", str(trained), "--out", "errors.csv")
    assert again == "error: errors.csv is there already; name another file, or use --overwrite"


def test_evaluate_on_other_data_and_of_several_runs(trained: Path, in_tmp: Path) -> None:
    assert run("train", "CNN", *SMALL, "--out", "cnn").exit_code == 0
    done = run(
        "evaluate", str(trained), "cnn", "--data", "mnist", "--number", "40", "--out", "t.csv"
    )
    assert done.exit_code == 0, done.stderr
    table = pd.read_csv("t.csv")
    assert set(table["data"]) == {"mnist"}
    assert table["network"].tolist() == ["STN-SL1", "STN-SL1", "CNN"], "upright digits: one pass"


def test_evaluate_says_where_all_passes_would_be_the_same(trained: Path, in_tmp: Path) -> None:
    line = ["evaluate", str(trained), "--data", "mnist", "--number", "40", "--passes"]
    told = run(*line, "3").stderr
    assert "mnist: images are the same in every pass, so that one is measured" in told.splitlines()
    assert "same in every pass" not in run(*line, "1").stderr
    assert "same in every pass" not in run(*line[:2], "--number", "40", "--passes", "2").stderr


def test_evaluate_agrees_with_the_library(trained: Path, in_tmp: Path) -> None:
    assert run("evaluate", str(trained), "--passes", "1", "--out", "t.csv").exit_code == 0
    loaded = load_run(trained)
    test = run_examples(loaded.config, train=False)
    assert len(test) == 2000
    wanted = [evaluate_passes(net, test, 1).errors[0] for net in loaded.networks.values()]
    assert pd.read_csv("t.csv")["error"].tolist() == pytest.approx(wanted)


def test_resume_needs_no_options_and_shows_differences(trained: Path, in_tmp: Path) -> None:
    done = run("train", "--resume", "--out", str(trained))
    assert done.exit_code == 0, done.stderr
    assert "seed 2: test error" in done.stdout
    line = refused(
        "train", "STN-SL1", "--resume", "--out", str(trained), "--seeds", "0,2", *SMALL, "seed=4"
    )
    assert "was configured differently (recipe.seed: 0 -> 4); resume it with its own" in line
    line = refused("train", "--resume", "--out", str(trained), "--seeds", "5")
    assert "--seeds without a network: a run that is resumed has its own options" in line
    assert "already holds a run, which is kept" in refused(
        "train", "CNN", *SMALL, "--out", str(trained)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no network is named; give one, such as CNN, STN-C0"),
        (["STN-C9"], "the mnist backbone has 2 blocks, not 9"),
        (["SNT-C0"], "no classifier named 'SNT-C0'; did you mean 'STN-C0'?"),
        (["CNN", "--data", "mnist-q"], "unknown data set 'mnist-q'; did you mean"),
        (["CNN", "--data", "svhn"], "svhn does not come with the package"),
        (["CNN", "--preset", "quik"], "unknown preset 'quik'; did you mean 'quick'?"),
        (["CNN", "--set", "lr=1"], "a recipe has no field 'lr'"),
        (["CNN", "--set", "learning_rate"], "--set learning_rate: write key=value, such as lea"),
        (["CNN", "--set", "optimizer=lion"], "unknown optimizer 'lion'"),
        (["CNN", "--seeds", "0,x"], "--seeds 0,x: give whole numbers, such as 0,1,2"),
        (["CNN", "--seeds", "1,1"], "seeds 1, 1; give different ones"),
        (["CNN", "--device", "cuda:77"], "there is no device 'cuda:77' here; use cpu"),
        (["CNN", "--resume", "--overwrite"], "--resume keeps the run and --overwrite replaces"),
        (["CNN", "--number", "9000"], "ask for 1 to 8000"),
        (["CNN", "--network-arg", "classes=3", "--number", "20"], "has 3 classes but MNIST-R"),
        (["CNN", "--network-arg", "colour=3", "--number", "20"], "has no field 'colour'"),
        (["--resume"], "no training run in 'out' (no config.json); train one first"),
    ],
)
def test_bad_input_of_train(arguments: list[str], message: str) -> None:
    assert message in refused("train", *arguments, "--out", "out")


def test_bad_input_of_evaluate(trained: Path) -> None:
    assert "no training run in 'nowhere'" in refused("evaluate", "nowhere")
    assert "0 passes in batches" in refused("evaluate", str(trained), "--passes", "0")
    line = refused("evaluate", str(trained), "--data", "mnist-s")
    assert "takes images of (1, 28, 28) (channels, rows, columns), not (1, 112, 112)" in line


def test_ctrl_c_leaves_a_state_and_says_how_to_go_on(in_tmp: Path) -> None:
    options = ["--number", "100", "--width", "0.1", "--set", "iterations=400", "batch_size=20"]
    command = [sys.executable, "-m", "invariance_probe", "train", "CNN", *options]
    threads = str(torch.get_num_threads())  # the same bits want the same number of them
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
    process = subprocess.Popen(
        [*command, "--out", "run"], stderr=subprocess.PIPE, text=True, env=environment
    )
    until = time.monotonic() + 60
    while not (in_tmp / "run" / "config.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == (
        "stopped; go on with: invariance-probe train --resume --out run"
    )
    assert "Traceback" not in said
    assert (in_tmp / "run" / "seed_0" / "progress.safetensors").exists()
    assert run("train", "--resume", "--out", "run").exit_code == 0
    assert run("train", "CNN", *options, "--out", "whole").exit_code == 0
    resumed, whole = (
        load_file(in_tmp / name / "seed_0" / "model.safetensors") for name in ("run", "whole")
    )
    assert all(resumed[name].equal(whole[name]) for name in whole)


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A transformer trained on a folder of pictures that are turned, and what was said."""
    place = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (place / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (30, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "photos" / name / f"{number}.png")
    words = ["train", "STN-C0", "--data", str(place / "photos"), "--transform", "rotation:90"]
    words += ["--canvas", "24", "--width", "0.1", "--set", "iterations=2", "batch_size=8"]
    return place, run(*words, "--out", str(place / "run"))


def test_a_folder_is_trained_on_with_known_transformations(folder_run: tuple[Path, Any]) -> None:
    place, done = folder_run
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.output.split())
    assert "16 images, turned by U(-90, 90) degrees; 4 for testing" in said
    assert "canvas 24x24, 3 channels, 2 classes; backbone mnist" in said
    assert "16 images to train on and 4 to test on are few" in said
    assert "poses cannot be measured" not in said
    config = load_run(place / "run").config
    assert config.transform == "rotation:90" and config.canvas == (24, 24)
    words = ["evaluate", str(place / "run"), "--trust", "--passes", "2"]
    seen = run(*words, "--figures", str(place / "figures"))
    assert seen.exit_code == 0, seen.stderr
    names = sorted(path.name for path in (place / "figures").glob("*.png"))
    assert names == ["run_history.png", "run_poses_rotation.png"]
    table = run_poses(load_run(place / "run"))[0]
    assert table["applied_angle"].std() > 20


def test_upright_images_are_said_to_have_no_poses_before_training(
    folder_run: tuple[Path, Any], tmp_path: Path
) -> None:
    words = ["train", "STN-C0", "--data", str(folder_run[0] / "photos"), "--width", "0.1"]
    done = run(*words, "--set", "iterations=1", "batch_size=8", "--out", str(tmp_path / "run"))
    said = " ".join(done.output.split())
    assert done.exit_code == 0 and "poses cannot be measured" in said
    assert said.index("poses cannot be measured") < said.index("test error")
    line = refused(
        "train", "STN-C0", "--data", "mnist-r", "--transform", "rotation:9", "--out", "x"
    )
    assert "are transformed already" in line
    assert "no movement" in refused(
        "train", "CNN", "--data", "mnist", "--transform", "turn:9", "--out", "x"
    )
