"""The analysis script: quick help, a folder per group, nothing half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from invariance_probe.probing import load_result

QUICK = ["--layers", "pool2", "--number", "8", "--formats", "svg"]


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--checkpoint")


def test_a_folder_per_group_with_tables_provenance_and_figures(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "run"
    words = [*QUICK, "--transforms", "rotation:0:90:90", "scaling:1.1", "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert "python analyses/alignment_error.py --layers pool2 --number 8" in said
    assert f"wrote {out}/: rotation, scaling" in said
    assert "| rotation:90 | pool2 |" in said
    result = load_result(out / "rotation")
    assert result.provenance["config"]["transforms"] == "rotation:0:90:90"
    assert result.provenance["images"]["number"] == 8
    drawn = {path.name for path in (out / "rotation" / "figures").iterdir()}
    assert drawn >= {"ladder.svg", "gain.svg", "residuals_rotation.svg", "landscape_angle.svg"}
    assert (out / "scaling" / "residuals.csv").is_file()

    before = (out / "scaling" / "residuals.csv").read_bytes()
    assert script.main(words) == 2  # kept, and said so, before any work
    assert "already holds a result" in capsys.readouterr().err
    assert (out / "scaling" / "residuals.csv").read_bytes() == before
    assert script.main([*words, "--overwrite"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "overview", "rotation", "scaling",
    ]  # fmt: skip
    assert (out / "overview" / "figures" / "residuals.svg").is_file()
    about = json.loads((out / "overview" / "provenance.json").read_text())
    assert "alignment_error.py --layers pool2" in about["command"]
    assert set(about["runs"]) == {"rotation", "scaling"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", "pol2"], "pol2"),
        (["--transforms", "rotate:30"], "unknown transformation 'rotate:30'; did you mean"),
        (["--data", "photos"], "images 'photos': no such folder"),
        (["--number", "3"], "3 images cannot be split"),
        (["--checkpoint", "none.pt"], "none.pt"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, "--transforms", "rotation:90", *words], message)


def test_groups_of_one_kind_get_folders_of_their_own(script: ModuleType) -> None:
    assert script.folders(["rotation:5", "scaling:2 rotation:5", "rotation:9"]) == [
        "rotation",
        "scaling-rotation",
        "rotation-2",
    ]
