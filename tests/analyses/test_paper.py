"""The script that runs the others: what it makes, keeps, passes on and refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

QUICK = ["--number", "12", "--formats", "svg"]
TRAINING = [
    "--networks", "CNN", "STN-C0", "--train-data", "mnist-r", "--seeds", "0", "--set",
    "iterations=2", "batch_size=16", "--train-number", "32", "--test-number", "30", "--passes", "1",
]  # fmt: skip


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--network mnist_cnn")


def test_parts_are_made_in_order_and_kept(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    words = [*QUICK, *TRAINING, "--out", str(out)]
    words += ["--only", "stn_classifiers", "pose_alignment", "learned_alignment"]
    assert script.main(words) == 0
    folders = ["learned_alignment", "pose_alignment", "stn_classifiers"]
    assert sorted(path.name for path in out.iterdir()) == ["commands.md", *folders]
    assert (out / "learned_alignment" / "mnist-r" / "provenance.json").is_file()
    page = (out / "commands.md").read_text(encoding="utf-8")
    assert page.count("\n| `") == 3 and "iterations=2" in page
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.csv")}
    assert before and script.main(words) == 0
    assert capsys.readouterr().out.count(": kept\n") == 3
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.csv")} == before


def test_arguments_reach_the_scripts(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Sequence[str]] = {}

    class Script:
        def __init__(self, name: str) -> None:
            self.name = name

        def main(self, words: Sequence[str]) -> int:
            seen[self.name] = words
            return 0

    monkeypatch.setattr(script, "import_module", Script)
    out = tmp_path / "o"
    words = ["--network", "resnet18", "--checkpoint", "r.pt", "--by-order", "--data", "photos"]
    words += ["--layers", "layer1", "layer2"]
    skipped = ["--skip", "stn_classifiers", "distorted_digits"]
    assert script.main([*words, *skipped, "--out", str(out)]) == 0
    assert list(seen) == [
        "theorem", "alignment_error", "channel_shift", "oracle_stn", "baselines",
        "compare_networks",
    ]  # fmt: skip
    for name in ("theorem", "alignment_error", "channel_shift", "oracle_stn", "baselines"):
        assert seen[name] == [
            "--data", "photos", "--network", "resnet18", "--checkpoint", "r.pt", "--by-order",
            *(["--layer", "layer1"] if name == "theorem" else ["--layers", "layer1", "layer2"]),
            "--out", str(out / name),
        ]  # fmt: skip

    assert seen["compare_networks"][2:8] == [
        "--networks", "resnet18", "symmetrised:resnet18", "--checkpoints", "r.pt", "r.pt",
    ]  # fmt: skip

    seen.clear()
    words = [*TRAINING, "--distorted-data", "mnist-e", "--families", "tps", "--train-root", "there"]
    only = ["--only", "distorted_digits", "stn_classifiers"]
    assert script.main([*words, *only, "--out", str(out)]) == 0
    assert list(seen) == ["stn_classifiers", "distorted_digits"]
    own, other = seen["distorted_digits"], seen["stn_classifiers"]
    for word, given in (("--data", "mnist-e"), ("--families", "tps"), ("--data-root", "there"),
                        ("--number", "32"), ("--test-number", "30"), ("--seeds", "0"),
                        ("--out", str(out / "distorted_digits"))):  # fmt: skip
        assert own[own.index(word) + 1] == given
    assert "--networks" not in own and "--families" not in other
    assert other[other.index("--data") + 1] == "mnist-r"

    seen.clear()
    only = ["--only", "localisation_depth", "--out", str(out)]
    assert script.main([*TRAINING, *only]) == 0 and not seen  # no data are named
    words = ["--depth-data", "fashion-r", "--depth-root", "there", "--depth-backbone", "svhn"]
    assert script.main([*TRAINING, *words, *only]) == 0
    own = seen["localisation_depth"]
    for word, given in (("--data", "fashion-r"), ("--data-root", "there"), ("--number", "32"),
                        ("--backbone", "svhn"), ("--seeds", "0"), ("--passes", "1")):  # fmt: skip
        assert own[own.index(word) + 1] == given
    assert "--networks" not in own


def test_a_failing_part_ends_it_with_its_code(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    words = ["--only", "theorem", "--network", "resnet81", "--out", str(out)]
    assert script.main(words) == 2
    said = capsys.readouterr().err
    assert "did you mean resnet18" in said and said.count("error: ") == 1 and not out.exists()


def test_an_unknown_part_is_refused(refuses: Callable[[Sequence[str], str], None]) -> None:
    refuses(["--only", "theorems"], "no part 'theorems'; the parts are theorem alignment_error")
