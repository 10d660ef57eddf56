"""The script of the baselines on the embedded network: what it writes, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

QUICK = ["--layers", "conv1", "--number", "12", "--formats", "svg"]


def test_a_folder_per_group_and_one_figure_of_all(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "baselines"
    words = [*QUICK, "--transforms", "rotation:90", "scaling:1.25", "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/: rotation, scaling, overview" in said
    table = pd.read_csv(out / "rotation" / "summary.csv")
    assert set(table["layer"]) == {"conv1", "output"} and (table["images"] == 6).all()
    own = table.set_index(["layer", "measure", "transform"])["value"]
    # A turn of the maps does not help, and CKA, blind to orthogonal channel maps, sees less of it.
    assert own["conv1", "inverse", "rotation:90"] > 1
    assert own["conv1", "cka_inverse", "rotation:90"] > own["conv1", "cka_unaligned", "rotation:90"]
    page = (out / "rotation" / "table_baselines.md").read_text(encoding="utf-8")
    assert page in said and f"| conv1 | {own['conv1', 'unaligned', 'all']:.3g} |" in page
    assert "| output | " in page
    about = json.loads((out / "scaling" / "provenance.json").read_text(encoding="utf-8"))
    assert about["config"]["transforms"] == "scaling:1.25"
    about = json.loads((out / "overview" / "provenance.json").read_text(encoding="utf-8"))
    assert about["command"].startswith("python analyses/baselines.py --layers conv1 --number 12")
    assert set(about["runs"]) == {"rotation", "scaling"}
    assert (out / "overview" / "figures" / "baselines.svg").is_file()

    assert script.main(words) == 2
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*words, "--overwrite", "--aggregation", "mean"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--transforms", "rotate:90"], "unknown transformation 'rotate:90'"),
        (["--transforms", "identity"], "the identity moves nothing"),
        (["--formats", "gif"], "unknown figure format 'gif'; use svg, png, pdf"),
        (["--layers", "cnv1"], "cnv1"),
        (["--number", "3"], "3 images cannot be split"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, "--transforms", "rotation:90", *words], message)


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--checkpoint")
