"""Run folders: what is in them, going on with them, and refusing what is no such run."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from invariance_probe import ProbeError
from invariance_probe.networks import Architecture, build_classifier
from invariance_probe.training import (
    Progress,
    Recipe,
    TrainConfig,
    TrainedRun,
    architecture_for,
    evaluate_passes,
    load_run,
    train_run,
)
from invariance_probe.training.runs.errors import evaluate_run, summarise_errors

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("made_up.py"))))

BARS, TEST = made.Bars(40, classes=10, size=28), made.Bars(11, classes=10, size=28)
CONFIG = TrainConfig(
    "mnist-r",
    Architecture("STN-C0", width=0.1),
    Recipe(iterations=4, batch_size=16, learning_rate=0.01, report_every=2, fast=True),
    seeds=(3, 0),
    preset="quick",
)


def go(out: Path, config: TrainConfig = CONFIG, **given: Any) -> TrainedRun:
    return train_run(config, out, examples=BARS, test=TEST, **given)


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return bool(made.same(a, b))


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    go(folder)
    return folder


def test_a_run_leaves_weights_history_and_configuration(trained: Path) -> None:
    assert files(trained) == [
        "config.json",
        *(f"seed_{s}/{name}" for s in (0, 3) for name in ("history.csv", "model.safetensors")),
    ]
    content = json.loads((trained / "config.json").read_text())
    assert TrainConfig.from_dict(content["config"]) == CONFIG
    assert content["examples"] == {"description": "40 bars", "number": 40, "sha256": BARS.sha256}
    run = load_run(trained)
    assert run.config == CONFIG
    assert sorted(run.networks) == [0, 3]
    assert not equal(run.networks[0], run.networks[3])
    assert not run.networks[0].training
    history = run.history(3)
    assert history["step"].tolist() == [2, 4]
    last = float(history["test_error"].iloc[-1])
    assert evaluate_passes(run.networks[3], TEST, 1, seed=3).errors == (last,)


def test_checkpoints_describe_themselves(trained: Path) -> None:
    path = trained / "seed_3" / "model.safetensors"
    with safe_open(path, framework="pt") as stream:
        about = stream.metadata()
    assert about["kind"] == "invariance_probe classifier"
    architecture = Architecture.from_dict(json.loads(about["architecture"]))
    assert architecture == CONFIG.architecture
    assert (json.loads(about["mean"]), json.loads(about["std"])) == ([0.25], [0.5])
    assert (about["data"], about["data_name"], about["seed"]) == ("40 bars", "mnist-r", "3")
    assert Recipe.from_dict(json.loads(about["recipe"])) == replace(CONFIG.recipe, seed=3)
    build_classifier(architecture).load_state_dict(load_file(path))


def test_seeds_do_not_depend_on_each_other(trained: Path, tmp_path: Path) -> None:
    alone = go(tmp_path / "one", replace(CONFIG, seeds=(0,)))
    assert equal(alone.networks[0], load_run(trained).networks[0])
    first, second = (p / "seed_0" / "model.safetensors" for p in (trained, tmp_path / "one"))
    assert first.read_bytes() == second.read_bytes()


def test_stopped_and_resumed_with_another_seed(trained: Path, tmp_path: Path) -> None:
    folder, seen = tmp_path / "run", []
    few = replace(CONFIG, seeds=(3,))

    def stop(seed: int, at: Progress) -> None:
        if at.step >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(folder, few, on_step=stop, save_every_steps=1)
    assert files(folder) == ["config.json", "seed_3/progress.safetensors"]
    with pytest.raises(ProbeError, match=r"no seed of the run in '.*' is finished; go on with it"):
        load_run(folder)
    with pytest.raises(ProbeError, match="already holds a run, which is kept; go on with it"):
        go(folder, few)
    run = go(folder, resume=True, on_seed=lambda seed, row: seen.append((seed, row is None)))
    assert seen == [(3, True), (3, False), (0, True), (0, False)]
    assert run.config == CONFIG == load_run(folder).config
    whole = load_run(trained)
    assert all(equal(run.networks[seed], whole.networks[seed]) for seed in (0, 3))
    again: list[int] = []
    go(folder, resume=True, on_seed=lambda seed, row: again.append(seed))
    assert again == []


def test_resuming_with_other_options_shows_them(trained: Path) -> None:
    other = replace(CONFIG, recipe=replace(CONFIG.recipe, learning_rate=0.5), seeds=(3,), number=7)
    with pytest.raises(ProbeError) as e:
        go(trained, other, resume=True)
    message = str(e.value)
    assert (
        "was configured differently (number: null -> 7, recipe.learning_rate: 0.01 -> 0.5, "
        "seeds: [3, 0] -> [3])"
    ) in message
    assert "\n" not in message


def test_overwriting_replaces_runs_only(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(folder, replace(CONFIG, seeds=(1, 2)))
    run = go(folder, replace(CONFIG, seeds=(0,)), overwrite=True)
    assert equal(run.networks[0], load_run(trained).networks[0])
    assert {p.name for p in folder.iterdir()} == {"config.json", "seed_0"}
    (folder / "seed_0" / "notes.txt").write_text("mine")
    with pytest.raises(ProbeError, match=r"holds more than a run \(notes.txt, ...\)"):
        go(folder, overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(
        ProbeError, match=r"that are no training run \(thesis.tex, ...\) and is left"
    ):
        go(tmp_path / "other", overwrite=True)
    with pytest.raises(ProbeError, match="is a file; name a folder for the run"):
        go(tmp_path / "other" / "thesis.tex")


def test_nothing_is_replaced_before_the_data_fit(trained: Path, tmp_path: Path) -> None:
    before = files(trained)
    wrong = replace(CONFIG, architecture=replace(CONFIG.architecture, classes=7))
    with pytest.raises(ProbeError, match="has 7 classes but 40 bars has 10 classes"):
        go(trained, wrong, overwrite=True)
    assert files(trained) == before
    with pytest.raises(ProbeError, match="7 classes"):
        go(tmp_path / "new", wrong)
    assert not (tmp_path / "new").exists()


def test_the_checkpoint_of_another_network(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(folder, replace(CONFIG, seeds=(0,), architecture=replace(CONFIG.architecture, name="CNN")))
    path = folder / "seed_0" / "model.safetensors"
    path.write_bytes((trained / "seed_0" / "model.safetensors").read_bytes())
    with pytest.raises(ProbeError, match=r"checkpoint of another network \(name: CNN -> STN-C0\)"):
        load_run(folder)
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ProbeError, match="is no classifier of a training run; train that seed"):
        load_run(folder)
    with pytest.raises(ProbeError, match=r"no training run in '.*' \(no config.json\)"):
        load_run(tmp_path)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ProbeError, match="describes no training run"):
        load_run(folder)


def test_a_checkpoint_from_before_a_field_existed(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(folder, replace(CONFIG, seeds=(0,)))
    path = folder / "seed_0" / "model.safetensors"
    with safe_open(path, "pt") as file:
        about = file.metadata()
    stated = json.loads(about["architecture"])
    del stated["parallel"]
    save_file(load_file(path), path, about | {"architecture": json.dumps(stated)})
    assert equal(load_run(folder).networks[0], load_run(trained).networks[0])
    stated["width"] = 0.2
    save_file(load_file(path), path, about | {"architecture": json.dumps(stated)})
    with pytest.raises(ProbeError, match=r"another network \(width: 0.1 -> 0.2\)"):
        load_run(folder)


@pytest.mark.parametrize("value", ["", "5", '["a"]', "[NaN]", "[1e999]", "[true]", "[" * 100_000])
def test_stated_normalisation_is_numbers(trained: Path, value: str) -> None:
    run = load_run(trained)
    for name in ("mean", "std"):
        said = {seed: {**about, name: value} for seed, about in run.metadata.items()}
        with pytest.raises(ProbeError, match=rf"{name}=.* is no list of finite numbers"):
            _ = replace(run, metadata=said).normalisation


def test_damaged_parts_of_a_run(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    run, history = load_run(folder), folder / "seed_0" / "history.csv"
    whole = history.read_text()
    history.unlink()
    os.mkfifo(history)
    with pytest.raises(ProbeError, match=r"cannot read .*history.csv' \(is no file\)"):
        run.history(0)
    history.unlink()
    step, _, rest = whole.partition(",epoch")
    texts = ("", step + rest, whole.replace("\n2,", "\ntwo,"), "\n".join(whole.split("\n")[1:]))
    for text in texts:  # empty, a column less, text for a number, without the names
        history.write_text(text)
        with pytest.raises(ProbeError, match=r"is no history of training .* train that seed again"):
            run.history(0)
    path = folder / "seed_0" / "model.safetensors"
    save_file(load_file(path), path, {**run.metadata[0], "architecture": "[" * 100_000})
    with pytest.raises(ProbeError, match=r"is no classifier of a training run"):
        load_run(folder)


def test_configurations_are_checked() -> None:
    with pytest.raises(ProbeError, match="seeds 1, 1; give different ones"):
        replace(CONFIG, seeds=(1, 1))
    for number in (0, "5", 1.5, True):
        with pytest.raises(ProbeError, match=r"number of training examples=.* give a whole number"):
            replace(CONFIG, number=number)
    for seeds in ("12", None, 3):
        with pytest.raises(ProbeError, match=r"seeds=.*: give a list of whole numbers"):
            TrainConfig.from_dict({**CONFIG.as_dict(), "seeds": seeds})
    for seeds in (["../../x"], [None], [[0]], [-1]):
        with pytest.raises(ProbeError, match=r"seed=.* give a whole number of at least 0"):
            TrainConfig.from_dict({**CONFIG.as_dict(), "seeds": seeds})
    with pytest.raises(ProbeError, match="has no field 'dat'; did you mean 'data'"):
        TrainConfig.from_dict({"dat": 1})
    for wrong in ("", "evil:build", [], 5, None):
        for name in ("architecture", "recipe"):
            with pytest.raises(ProbeError, match=f"{name}=.*: give its fields by name"):
                TrainConfig.from_dict({**CONFIG.as_dict(), name: wrong})


@pytest.mark.parametrize(
    ("data", "name", "wanted"),
    [
        ("mnist-r", "STN-C0", ("mnist", 1, "nearest")),
        ("mnist-tc", "STN-SL1", ("mnist", 2, "nearest")),
        ("fashion-t", "CNN", ("mnist", 1, "nearest")),
        ("street", "STN-C0", ("svhn", 1, "fill")),
        ("plankton", "STN-SL2", ("plankton", 1, "nearest")),
    ],
)
def test_architectures_fit_their_data(data: str, name: str, wanted: tuple[object, ...]) -> None:
    size = 64 if data in ("street", "mnist-tc", "plankton") else 28
    some = made.Bars(4, classes=5, size=size)
    built = architecture_for(name, data, some)
    assert (built.backbone, built.reduction, built.beyond) == wanted
    assert (built.canvas, built.classes, built.fill) == ((size, size), 5, (-0.5,))
    assert architecture_for(name, data, some, backbone="mnist", width=None).backbone == "mnist"


def test_tables_of_errors(trained: Path) -> None:
    run, done = load_run(trained), []
    table = evaluate_run(run, TEST, passes=3, on_seed=done.append)
    assert done == [3, 0]
    assert list(table.columns) == [
        "run", "network", "data", "seed", "pass", "error", "loss", "number",
    ]  # fmt: skip
    assert len(table) == 6
    for seed, network in run.networks.items():
        errors = evaluate_passes(network, TEST, 3).errors
        assert tuple(table[table["seed"] == seed]["error"]) == errors
    numbers = pd.DataFrame(
        {
            "run": "a", "network": "CNN", "data": "d", "seed": [0, 0, 1, 1], "pass": [1, 2, 1, 2],
            "error": [0.1, 0.3, 0.4, 0.4], "loss": 1.0, "number": 9,
        }
    )  # fmt: skip
    row = summarise_errors(numbers).iloc[0]
    assert (row["seeds"], row["passes"], row["number"]) == (2, 2, 9)
    assert row["error"] == pytest.approx(0.3)
    assert row["sd_seeds"] == pytest.approx(0.2 / 2**0.5)  # of 0.2 and 0.4
    assert row["sd_passes"] == pytest.approx(0.1)  # root of the mean of 0.02 and 0
