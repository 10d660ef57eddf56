"""The oracle's script on the embedded network: what it writes, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.probing import load_oracle, load_result

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--layers", "conv1", "--number", "40", "--formats", "svg"]


def test_it_writes_oracle_probe_and_both_together(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "oracle_stn"
    words = [*QUICK, "--transforms", "rotation:90", "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert "| conv1 |" in said
    assert "python analyses/oracle_stn.py --layers conv1" in said
    found, probed = load_oracle(out / "oracle"), load_result(out / "probe")
    both = pd.read_csv(out / "overview" / "summary.csv").iloc[0]
    assert both["accuracy_inverse"] == found.table("rotation:90")["inverse"]["conv1"]
    assert both["inverse"] == pytest.approx(probed.ladder("rotation:90")["inverse"]["conv1"])
    # The theorem in one row: moving the maps back does not help, mapping channels too does.
    assert both["accuracy_inverse"] < 0.3 < 0.9 < both["accuracy_inverse_linear"]
    about = json.loads((out / "overview" / "provenance.json").read_text())
    assert about["oracle"]["images"]["sha256"] == about["probe"]["images"]["sha256"]
    assert about["command"].startswith("python analyses/oracle_stn.py --layers conv1 --number 40")
    own = out / "overview"
    assert {path.name for path in (own / "figures").iterdir()} == {
        "accuracy.svg", "agreement.svg", "logit_residual.svg",
    }  # fmt: skip
    page = (own / "table_rungs_and_accuracy.md").read_text(encoding="utf-8")
    assert page.startswith("rotation:90: 100.0 % correct when untransformed") and page in said
    assert f"| {100 * both['accuracy_inverse_linear']:.1f} % |" in page
    for measure in ("accuracy", "agreement", "logit_residual"):
        value = f"{found.table('rotation:90', measure)['inverse']['conv1']:.3f}"
        assert f"{value} [" in (own / f"table_{measure}.md").read_text(encoding="utf-8")
        latex = (own / f"table_{measure}.tex").read_text(encoding="utf-8")
        assert rf"\below{{{value}}}" in latex
    assert len(pd.read_csv(own / "accuracy.csv")) == 5 * 3

    assert script.main(words) == 2
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*words, "--overwrite"]) == 0


def test_transformations_share_a_run_and_averages_are_told(
    script: ModuleType, tmp_path: Path
) -> None:
    out = tmp_path / "several"
    moves = ["rotation:0:90:45", "scaling:1.5"]
    words = [*QUICK, "--number", "12", "--transforms", *moves, "--out", str(out)]
    assert script.main(words) == 0
    page = (out / "overview" / "table_accuracy.md").read_text(encoding="utf-8")
    assert "rotation:45: accuracy" in page and "| mean of 2 rotations | conv1 |" in page
    both = pd.read_csv(out / "overview" / "summary.csv")
    assert both["transform"].tolist() == [
        "rotation:0", "rotation:45", "rotation:90", "scaling:1.5",
    ]  # fmt: skip
    still = both.iloc[0]
    assert still["accuracy_inverse"] == still["accuracy_nothing"] and still["inverse"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--transforms", "rotate:90"], "unknown transformation 'rotate:90'"),
        (["--formats", "gif"], "unknown figure format 'gif'; use svg, png, pdf"),
        (["--layers", "cnv1"], "cnv1"),
        (["--layers", "fc"], "fc"),
        (["--number", "3"], "3 images cannot be split"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, "--transforms", "rotation:90", *words], message)


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--checkpoint")


def test_the_docs_show_the_committed_table() -> None:
    folder = ROOT / "figures" / "oracle_stn" / "overview"
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    page = (folder / "table_rungs_and_accuracy.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6
    assert "\n".join(rows) in results
    command = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["command"]
    assert command in results
