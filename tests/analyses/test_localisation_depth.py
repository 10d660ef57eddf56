"""The script on localisation depth, on a few digits: what it trains, writes and refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from invariance_probe.training import load_run

QUICK = [
    "--data", "mnist-r", "--number", "64", "--test-number", "60", "--passes", "2", "--seeds", "0",
    "1", "--formats", "svg", "--set", "iterations=2", "batch_size=32", "--width", "0.05",
]  # fmt: skip
DEEP = ["--backbone", "svhn", "--network-arg", "dropout=0.1"]


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--data fashion-r --data-root")


def test_depths_and_alignments(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "depth"
    names = ["CNN", "STN-C0", "STN-SL2", "STN-DL2", "STN-SL2x2"]
    words = [*QUICK, *DEEP, "--networks", *names, "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/: runs, overview" in said
    run = load_run(out / "runs" / "mnist-r" / "STN-SL2x2")
    built = run.config.architecture
    assert (built.backbone, built.dropout, built.width) == ("svhn", 0.1, 0.05)
    own = out / "overview"
    rows, table = pd.read_csv(own / "seeds.csv"), pd.read_csv(own / "summary.csv")
    assert table["network"].tolist() == names and len(rows) == 10
    assert table["depth"].tolist() == [0, 0, 2, 2, 2]
    assert table["alignments"].tolist() == [0, 1, 1, 1, 2]
    errors = pd.read_csv(own / "errors.csv")
    by_seed = errors.groupby(["network", "seed"], sort=False)["error"].mean()
    assert rows["error"].tolist() == pytest.approx(by_seed.tolist())
    assert table["deviation"].isna().tolist() == [True, False, False, False, False]
    page = (own / "table_depths.md").read_text(encoding="utf-8")
    assert page in said and "over 2 seeds" in page and "width 0.05" in page
    assert "booktabs" in (own / "table_depths.tex").read_text(encoding="utf-8")
    text = (own / "figures" / "depths_mnist-r.svg").read_text()
    assert "blocks before localisation" in text and "alignments" in text
    about = json.loads((own / "provenance.json").read_text(encoding="utf-8"))
    assert about["runs"]["mnist-r/CNN"]["config"]["architecture"]["dropout"] == 0.1
    made_on = about["environment"]
    assert (made_on["device"], made_on["cores"]) == ("cpu", os.cpu_count())
    assert torch.__version__.startswith(made_on["versions"]["torch"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--networks", "STN-SL9", *DEEP], "the svhn backbone has 8 blocks, not 9"),
        (["--backbone", "vgg"], "no backbone named 'vgg'"),
        (["--network-arg", "dropout"], "--network-arg dropout: write key=value"),
        (["--network-arg", "colour=3"], "an architecture has no field 'colour'"),
        (["--networks", "STN-SL7"], "the deep backbone has 6 blocks, not 7"),
        (["--data", "fashion-r"], "Fashion-MNIST does not come with the package"),
        (["--formats", "gif"], "unknown figure format 'gif'; use svg, png, pdf"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, *words], message)
