"""The analysis script: one plan for all networks, a folder each, nothing half written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from safetensors.torch import save_file

from invariance_probe.networks import MnistCNN
from invariance_probe.probing import load_comparison, load_result

QUICK = ["--number", "8", "--formats", "svg", "--transforms", "rotation:45:90:45"]


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--networks")


def test_the_symmetrised_twin_aligns_at_90_and_random_weights_do_not(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "run"
    words = [*QUICK, "--layers", "pool1", "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert "python analyses/compare_networks.py --number 8" in said
    assert f"wrote {out}/: trained, random, symmetrised, comparison" in said
    assert "| mean of 2 rotations | pool1 | gain | random |" in said
    parts = ["comparison", "random", "symmetrised", "trained"]
    assert sorted(place.name for place in out.iterdir()) == parts
    results = [load_result(out / name) for name in ("trained", "random")]
    assert results[0].provenance["images"] == results[1].provenance["images"]
    found = load_comparison(out / "comparison")
    assert found.networks == ("trained", "random", "symmetrised")
    assert found.notes == ()
    assert "compare_networks.py --number 8" in found.provenance["command"]
    at_90 = found.table.query("transform == 'rotation:90' and quantity == 'inverse'")
    residual = dict(zip(at_90["network"], at_90["value"], strict=True))
    assert residual["symmetrised"] < 1e-3 and min(residual["trained"], residual["random"]) > 0.5
    drawn = {path.name for path in (out / "comparison" / "figures").iterdir()}
    assert drawn == {"comparison_inverse.svg", "comparison_gain.svg", "files.json"}

    assert script.main(words) == 2  # kept, and said so, before any work
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*words, "--overwrite"]) == 0
    assert sorted(place.name for place in out.iterdir()) == parts


def test_checkpoints_of_one_network_along_training(script: ModuleType, tmp_path: Path) -> None:
    files = [str(tmp_path / f"{name}.safetensors") for name in ("early", "late")]
    for file in files:
        save_file(MnistCNN().state_dict(), file)
    out = tmp_path / "out"
    words = [*QUICK, "--checkpoints", *files, "--along", "0", "5000", "--out", str(out)]
    assert script.main([*words, "--match", "first=conv1,pool1"]) == 0
    found = load_comparison(out / "comparison")
    assert found.along == {"mnist_cnn-early": 0.0, "mnist_cnn-late": 5000.0}
    assert found.layers == ("first",)
    assert found.pairs["network_layer"].tolist() == ["conv1", "pool1"]
    assert (out / "comparison" / "figures" / "training_course.svg").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", "pol2"], "pol2"),
        (["--networks", "mnist_cnn"], "one network has nothing to be compared with"),
        (["--networks", "mnist_cnn", "mnist_cnn"], "give 2 different names"),
        (["--networks", "mnist_cnn", "mnist_cnnn"], "mnist_cnnn"),
        (["--names", "a", "b"], "--names a b: give 3 different names"),
        (["--names", "a", "b", "comparison"], "give 3 different names (not 'comparison')"),
        (["--names", "a", "b", "c/d"], "--names c/d cannot be a folder's name"),
        (["--match", "early=conv1,conv2"], "--match early=conv1,conv2: 2 layers for 3 networks"),
        (["--match", "early"], "--match early: write a label and a layer per result"),
        (["--checkpoints", "a", "b", "--networks", "x", "y", "z"], "2 checkpoints for 3 networks"),
        (["--checkpoints", "none.pt", "n.pt"], "none.pt"),
        (["--formats", "gif"], "unknown figure format 'gif'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, *words], message)
