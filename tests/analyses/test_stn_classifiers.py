"""The classifiers' script on a few digits: what it trains, measures, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.training import load_run

QUICK = [
    "--number", "64", "--test-number", "60", "--passes", "2", "--formats", "svg",
    "--set", "iterations=3", "batch_size=32",
]  # fmt: skip


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--networks CNN STN-C0 STN-C1 STN-SL1")


def test_networks_are_trained_once_and_measured(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "stn"
    words = [*QUICK, "--networks", "CNN", "stn-c0", "--seeds", "0", "2", "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/: runs, overview" in said
    assert "| mnist-r | CNN | 208,586 |" in said
    run = load_run(out / "runs" / "mnist-r" / "STN-C0")
    assert list(run.networks) == [0, 2] and run.config.recipe.iterations == 3

    own = out / "overview"
    summary = pd.read_csv(own / "summary.csv")
    assert summary["network"].tolist() == ["CNN", "STN-C0"]
    assert (summary["seeds"] == 2).all() and (summary["passes"] == 2).all()
    errors, poses = pd.read_csv(own / "errors.csv"), pd.read_csv(own / "poses.csv")
    by_network = errors.groupby("network")["error"].mean()
    assert summary["error"].tolist() == pytest.approx(by_network.tolist())
    assert len(errors) == 8 and poses["seed"].tolist() == [0, 2]
    assert poses["n"].tolist() == [120, 120] and (poses["kind"] == "rotation").all()
    assert summary["deviation"][1] == pytest.approx(poses["deviation"].mean())
    assert {path.name for path in (own / "figures").iterdir()} == {
        "poses_rotation_mnist-r.svg", "aligned_mnist-r.svg", "class_means_mnist-r.svg",
    }  # fmt: skip
    page = (own / "table_classifiers.md").read_text(encoding="utf-8")
    assert page in said and "2 seeds, 2 passes over 60 images" in page
    latex = (own / "table_classifiers.tex").read_text(encoding="utf-8")
    assert "mnist-r: preset quick with " in latex and r"\caption{" in latex
    assert "2 seeds, 2 passes over 60 images. By error: " in page
    about = json.loads((own / "provenance.json").read_text(encoding="utf-8"))
    assert about["command"].startswith("python analyses/stn_classifiers.py --number 64")
    assert set(about["runs"]) == {"mnist-r/CNN", "mnist-r/STN-C0"}
    assert about["runs"]["mnist-r/CNN"]["config"]["number"] == 64

    assert script.main(words) == 2  # kept, and said so, before any work
    assert "already holds a result" in capsys.readouterr().err
    weights = sorted((out / "runs").rglob("model.safetensors"))
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in weights]
    more = [*words, "--overwrite", "--networks", "CNN", "STN-C0", "STN-SL1", "--seeds", "0", "2"]
    assert script.main(more) == 0
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in weights] == before
    again = pd.read_csv(own / "summary.csv")
    assert again["network"].tolist() == ["CNN", "STN-C0", "STN-SL1"]
    pd.testing.assert_frame_equal(again.iloc[:2], summary)


def test_data_without_poses_have_a_table_alone(script: ModuleType, tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    words = [*QUICK, "--networks", "CNN", "STN-C0", "--data", "mnist-e", "--seeds", "0"]
    words += ["--width", "0.5"]
    assert script.main([*words, "--runs", str(runs), "--out", str(out)]) == 0
    assert load_run(runs / "mnist-e" / "CNN").config.architecture.width == 0.5
    assert sorted(path.name for path in out.iterdir()) == ["overview"]
    assert (runs / "mnist-e" / "CNN" / "seed_0" / "model.safetensors").is_file()
    names = sorted(path.name for path in (out / "overview").iterdir())
    assert names == [
        "errors.csv", "files.json", "provenance.json", "summary.csv", "table_classifiers.md",
        "table_classifiers.tex",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "STN-M1"], "no classifier named 'STN-M1'; did you mean"),
        (["--preset", "quik"], "unknown preset 'quik'; did you mean 'quick'?"),
        (["--data", "mnist-q"], "mnist-q"),
        (["--formats", "gif"], "unknown figure format 'gif'; use svg, png, pdf"),
        (["--set", "iteration=3"], "a recipe has no field 'iteration'; did you mean 'iterations'?"),
        (["--set", "iterations"], "--set iterations: write key=value"),
        (["--seeds", "1", "1"], "seeds 1, 1; give different ones"),
        (["--passes", "0"], "--passes 0: give at least 1"),
        (["--data", "svhn"], "svhn does not come with the package"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, *words], message)


def test_fields_of_the_architecture_reach_the_networks_and_the_table(
    script: ModuleType, tmp_path: Path
) -> None:
    words = [*QUICK, "--networks", "CNN", "STN-C0", "--seeds", "0", "--out", str(tmp_path)]
    assert script.main([*words, "--network-arg", "beyond=fill", "width=0.25"]) == 0
    run = load_run(tmp_path / "runs" / "mnist-r" / "STN-C0")
    assert (run.config.architecture.beyond, run.config.architecture.width) == ("fill", 0.25)
    page = (tmp_path / "overview" / "table_classifiers.md").read_text(encoding="utf-8")
    assert "; width 0.25; seed 0; " in page and "; beyond=fill; 1 seed" in page
