"""The command `compare`: what it writes and says about finished results, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compared_results import made_result
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.probing import Result, load_comparison


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def saved(**results: Result) -> list[str]:
    for name, result in results.items():
        result.save(name)
    return list(results)


def two(**second: Any) -> list[str]:
    options = {"seed": 1, "factor": 0.7, **second}
    return saved(plain=made_result(), augmented=made_result(**options))


def run(*words: str) -> Any:
    return CliRunner().invoke(cli.app, ["compare", *words], catch_exceptions=False)


def refused(*words: str) -> str:
    """The line of a command that must end with code 2 and leave no trace."""
    before = sorted(Path.cwd().rglob("*"))
    done = run(*words, "--out", "out")
    assert done.exit_code == 2, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.output
    assert sorted(Path.cwd().rglob("*")) == before
    return errors[0]


def test_it_writes_tables_and_figures_and_shows_paired_differences() -> None:
    done = run(*two(), "--out", "out")
    assert done.exit_code == 0, done.output
    out = Path("out")
    assert {place.name for place in out.iterdir()} >= {
        "comparison.csv", "pairs.csv", "per_image.npz", "provenance.json",
        "table_comparison.md", "table_comparison.tex", "figures",
    }  # fmt: skip
    assert {place.name for place in (out / "figures").iterdir()} == {
        "comparison_inverse.png", "comparison_inverse.svg",
        "comparison_gain.png", "comparison_gain.svg", "files.json",
    }  # fmt: skip
    found = load_comparison(out)
    assert found.networks == ("plain", "augmented") and found.baseline == "plain"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Mean of 2 rotations" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    (one, other) = [line for line in lines if line[-1:] == ["0.005"]][:2]
    assert one[:2] == ["augmented", "0.63"] and "≤" in one and one[2].startswith("−0.2")
    assert other[0] == "augmented"
    assert "difference: to plain on the same 40 images" in done.stdout
    assert "tables and figures: out" in done.stdout


def test_names_baseline_order_pairs_and_quantities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    words = two(layers=["features.0", "features.3"])
    done = run(
        *words, "--names", "before, after it", "--baseline", "after it", "--along", "5000,0",
        "--match", "late=conv2,features.3", "early=conv1,features.0", "--quantities", "best",
        "unaligned", "--level", "0.9", "--resamples", "50", "--out", "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = load_comparison("out")
    assert found.networks == ("before", "after it") and found.baseline == "after it"
    assert found.layers == ("late", "early") and found.quantities == ("best", "unaligned")
    assert found.along == {"before": 5000.0, "after it": 0.0}
    assert found.provenance["bootstrap"] == {"level": 0.9, "resamples": 50, "seed": 0}
    drawn = {place.name for place in Path("out", "figures").glob("*.svg")}
    assert drawn == {"comparison_best.svg", "comparison_unaligned.svg", "training_course.svg"}
    assert "value [90 %]" in done.stdout


def test_layers_of_other_names_pair_by_order_with_a_note() -> None:
    done = run(*two(layers=["features.0", "features.3"]), "--no-figures", "--out", "out")
    assert "note: no layer has the same name in all results: layers are paired by" in done.stdout
    assert "conv1 /" in done.stdout and not Path("out", "figures").exists()


def test_an_older_comparison_is_kept_unless_overwritten() -> None:
    words = [*two(), "--no-figures", "--out", "out"]
    assert run(*words).exit_code == 0
    before = Path("out", "comparison.csv").read_bytes()
    done = run(*words, "--layers", "conv1")
    assert done.exit_code == 2 and "already holds a result, which is kept" in done.stderr
    assert Path("out", "comparison.csv").read_bytes() == before
    assert run(*words, "--layers", "conv1", "--overwrite").exit_code == 0
    assert load_comparison("out").layers == ("conv1",)


def test_help_fits_a_terminal() -> None:
    done = run("--help")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout


@pytest.mark.parametrize(
    ("second", "words", "message"),
    [
        ({"weighting": "channel"}, [], "'plain' and 'augmented' were not probed under one plan"),
        ({"images": 12}, [], "evaluation image 13 is 'image 12' in the one and none in"),
        ({"layers": ["a"]}, [], "say which belong together with layers={label: a layer"),
        ({}, ["--names", "a"], "--names a: 1 names for 2 results; give one each, joined by commas"),
        ({}, ["--names", "a,a"], "'a' stands for two results; tell them apart with --names"),
        ({}, ["--baseline", "plane"], "no result 'plane'; did you mean 'plain'?"),
        ({}, ["--along", "1"], "along has 1 numbers for 2 results"),
        ({}, ["--along", "1,x"], "--along 1,x: give numbers"),
        ({}, ["--match", "conv1,conv2"], "--match conv1,conv2: write a label and a layer"),
        ({}, ["--match", "a=conv1,conv1", "a=conv2,conv2"], "there already is a pair called 'a'"),
        ({}, ["--match", "a=conv1,con2"], "no layer 'con2' in 'augmented'; did you mean 'conv2'"),
        ({}, ["--match", "a=conv1,conv1", "--layers", "conv1"], "omit --layers"),
        ({}, ["--quantities", "invers"], "no quantity 'invers'; did you mean 'inverse'"),
        ({}, ["--level", "2"], "level=2.0 is out of range"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    second: dict[str, Any], words: list[str], message: str
) -> None:
    assert message in refused(*two(**second), *words)


def test_results_that_are_none_are_refused() -> None:
    two()
    assert "1 result to compare" in refused("plain")
    assert "none holds no result" in refused("plain", "none")
    done = run("plain", "augmented", "--out", "plain", "--overwrite")
    assert done.exit_code == 2 and "--out plain is the result plain itself" in done.stderr
    assert Path("plain", "residuals.csv").is_file()
