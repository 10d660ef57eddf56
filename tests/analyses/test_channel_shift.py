"""The channel-shift script: quick help, all groups side by side, nothing half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.probing import load_result

QUICK = ["--layers", "conv1", "--number", "8", "--formats", "svg"]


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--checkpoint")


def test_a_folder_per_group_and_an_overview(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "run"
    words = [*QUICK, "--transforms", "rotation:0:270:90", "scaling:1.4", "--out", str(out)]
    assert script.main(words) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/: rotation, scaling, overview" in said
    assert "\nrotation:90\n" in said and "strongest changed" in said
    drawn = {path.stem for path in (out / "rotation" / "figures").iterdir()}
    assert {"channel_shift", "tuning_rotation", "composition", "ladder"} <= drawn
    own = out / "overview"
    about = json.loads((own / "provenance.json").read_text(encoding="utf-8"))
    assert about["command"].startswith("python analyses/channel_shift.py --layers conv1")
    assert set(about["runs"]) == {"rotation", "scaling"}
    table = pd.read_csv(own / "summary.csv")
    assert table["group"].value_counts().to_dict() == {"rotation": 4, "scaling": 1}
    result = load_result(out / "rotation")
    row = table.query("transform == 'rotation:90'").iloc[0]
    for name, source in (("moved", result.channels), ("inverse_linear", result.summary)):
        assert row[name] == source.query("transform == 'rotation:90'")[name].iloc[0]
    preferred = pd.read_csv(own / "tuning.csv")
    assert preferred.groupby("group")["channel"].nunique().to_dict() == {
        "rotation": 64, "scaling": 64,
    }  # fmt: skip

    assert script.main(words) == 2  # kept, and said so, before any work
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*words, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", "cnv1"], "cnv1"),
        (["--transforms", "rotate:30"], "unknown transformation 'rotate:30'; did you mean"),
        (["--formats", "gif"], "unknown figure format 'gif'; use svg, png, pdf"),
        (["--number", "3"], "3 images cannot be split"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, "--transforms", "rotation:90", *words], message)
