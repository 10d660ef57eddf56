"""The script of the published digits: what it trains, keeps, shows beside and refuses."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from papers.published import DATA, FAMILIES, PUBLISHED
from papers.published_tables import published_names
from torch.nn import functional

from invariance_probe.data.examples.examples import Examples
from invariance_probe.networks import build_classifier
from invariance_probe.training import TrainConfig, load_run

QUICK = [
    "--number", "64", "--test-number", "40", "--passes", "1", "--formats", "svg", "--seeds", "0",
    "--width", "0.1", "--set", "iterations=2", "batch_size=16",
]  # fmt: skip


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--data mnist-r mnist-rts --families affine tps")


def test_its_defaults_are_the_published_table(script: ModuleType) -> None:
    assert script.DATA == DATA and script.FAMILIES == FAMILIES
    assert script.split("2xST-FCN") == (2, "ST-FCN") and script.split("STN-SL1x2")[0] == 1


def test_every_published_cell_can_learn(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: dict[str, tuple[TrainConfig, Examples]] = {}

    def trained(asked: dict[str, Any], tests: Any, options: Any) -> None:
        plans.update(asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "trained", trained)
    assert script.main([*QUICK, "--out", str(tmp_path / "out")]) == 130
    assert len(plans) == 6 * 8
    cells = {(c.data, *published_names(c.architecture)) for c, _ in plans.values()}
    assert cells == {
        (one.data, one.network, family)
        for one in PUBLISHED
        for family in ([one.family] if one.family is not None else FAMILIES)
    }
    for config, examples in plans.values():
        network = build_classifier(config.architecture)
        batch = examples.draw(0).batch([0, 1])
        functional.cross_entropy(network(batch.images), batch.targets).backward()
        assert all(p.grad is not None for p in network.parameters())


def test_networks_are_trained_and_stand_beside_their_numbers(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [*QUICK, "--data", "mnist-addition", "mnist-tc", "--families", "projective", "tps"]
    assert script.main([*words, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/: runs, overview" in said
    table = pd.read_csv(out / "overview" / "summary.csv", keep_default_na=False)
    assert len(table) == 2 * 6 and table["budget"].nunique() == 1
    assert table["data"].drop_duplicates().tolist() == ["mnist-tc", "mnist-addition"]
    assert (table["published"] == "").sum() == 1  # the number that could not be verified

    double = load_run(out / "runs" / "mnist-addition" / "2xST-FCN-tps").config.architecture
    assert (double.parallel, double.channels, double.classes, double.canvas) == (2, 2, 19, (42, 42))
    assert (double.head, double.family, double.backbone) == ("FCN", "tps", "fcn")
    cluttered = load_run(out / "runs" / "mnist-tc" / "ST-CNN-projective").config.architecture
    assert (cluttered.name, cluttered.canvas, cluttered.reduction) == ("STN-C0", (60, 60), 2)
    assert (cluttered.head, cluttered.family, cluttered.width) == ("CNN", "projective", 0.1)

    own = out / "overview"
    assert sorted(path.name for path in own.iterdir()) == [
        "errors.csv", "figures", "files.json", "provenance.json", "summary.csv",
        "table_distorted.md", "table_distorted.tex",
    ]  # fmt: skip
    assert [path.name for path in (own / "figures").iterdir()] == ["distorted.svg"]
    page = (own / "table_distorted.md").read_text(encoding="utf-8")
    assert page in said and page.startswith(
        "Budget 1: preset quick with batch_size=16, iterations=2; 2 iterations of 16 images; "
        "width 0.1; seed 0; trained on 64 of the first 8,000 of the package's"
    )
    about = json.loads((own / "provenance.json").read_text(encoding="utf-8"))
    assert about["command"].startswith("python analyses/distorted_digits.py --number 64")
    assert len(about["runs"]) == 12 and len(about["runs"]["mnist-tc/CNN"]["state_sha256"]) == 1


def weights(folder: Path) -> list[tuple[int, bytes]]:
    files = sorted(folder.rglob("model.safetensors"))
    return [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]


def test_budgets_are_never_mixed(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, first, both = tmp_path / "runs", tmp_path / "first", tmp_path / "both"
    common = [*QUICK, "--runs", str(runs), "--networks", "CNN"]
    assert script.main([*common, "--data", "mnist-r", "--out", str(first)]) == 0
    before = weights(runs)
    assert before and sorted(path.name for path in first.iterdir()) == ["overview"]
    assert script.main([*common, "--data", "mnist-r", "--out", str(first)]) == 2
    assert "already holds a result" in capsys.readouterr().err

    longer = [*common, "--set", "iterations=3", "batch_size=16", "--out", str(both)]
    assert script.main([*longer, "--data", "mnist-r"]) == 2  # another budget in the same folder
    assert "configured differently (recipe.iterations" in capsys.readouterr().err
    assert script.main([*longer, "--data", "mnist-e"]) == 0
    again = [*common, "--data", "mnist-r", "mnist-e", "--out", str(both), "--overwrite"]
    assert script.main([*again, "--as-trained"]) == 0
    page = (both / "overview" / "table_distorted.md").read_text(encoding="utf-8")
    one, two = page.split("Budget 2: ")
    assert "iterations=3" in one and "| E | paper |" in one and "| R |" not in one
    assert "iterations=2" in two and "| R | paper |" in two and "| E |" not in two
    assert {path.name for path in (both / "overview" / "figures").iterdir()} == {
        "distorted.svg", "distorted-2.svg",
    }  # fmt: skip
    assert before[0] in weights(runs)


def test_ctrl_c_keeps_what_is_trained(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    words = [*QUICK, "--data", "mnist-r", "--families", "affine", "--out", str(out)]
    words += ["--networks", "FCN", "ST-FCN", "--set", "iterations=6", "batch_size=16",
              "report_every=2"]  # fmt: skip

    def reporter(key: str) -> Callable[[int, Any], None]:
        def report(seed: int, progress: Any) -> None:
            if key == "mnist-r/ST-FCN-affine" and progress.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return report

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["_stn"], "reporter", reporter)
        assert script.main(words) == 130
    assert "goes on when this is run again" in capsys.readouterr().err
    runs = out / "runs" / "mnist-r"
    kept = weights(runs)
    assert len(kept) == 1 and (runs / "ST-FCN-affine" / "seed_0" / "progress.safetensors").exists()
    assert not (out / "overview").exists()
    # What is finished can be looked at, what is not is named.
    assert script.main([*words, "--as-trained"]) == 0
    said = capsys.readouterr().out
    assert "mnist-r/ST-FCN-affine is left out: no seed of the run" in said and "| FCN |" in said
    assert script.main([*words, "--overwrite"]) == 0
    assert kept[0] in weights(runs) and len(weights(runs)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "ST-CN"], "no classifier named 'ST-CN'"),
        (["--networks", "2xCNN"], "'CNN' with 2 transformers in parallel; only STN-C0 has them"),
        (["--families", "afine"], "no family of warps named 'afine'; did you mean 'affine'?"),
        (["--data", "mnist-q"], "no published errors of 'mnist-q'; there are those of mnist-r"),
        (["--data", "mnist-q", "--networks", "CNN"], "unknown data set 'mnist-q'"),
        (["--head", "CNT"], "no localisation head named 'CNT'"),
        (["--preset", "quik"], "unknown preset 'quik'"),
        (["--set", "iteration=3"], "a recipe has no field 'iteration'"),
        (["--seeds", "1", "1"], "seeds 1, 1; give different ones"),
        (["--passes", "0"], "--passes 0: give at least 1"),
        (["--as-trained", "--runs", "nowhere"], "in 'nowhere'; train some without --as-trained"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, *words], message)
