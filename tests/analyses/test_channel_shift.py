"""The channel-shift script: quick help, all groups side by side, nothing half written."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.probing import load_result

SCRIPT = Path(__file__).resolve().parents[2] / "analyses" / "channel_shift.py"
QUICK = ["--layers", "conv1", "--number", "8", "--formats", "svg"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("channel_shift", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_shows_an_example_and_loads_nothing_heavy() -> None:
    code = (
        f"import runpy, sys\nsys.argv = ['channel_shift.py', '--help']\n"
        f"try:\n    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        "print('status', code, [m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "python analyses/channel_shift.py --checkpoint" in done.stdout
    assert done.stdout.splitlines()[-1] == "status 0 []"


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
    assert {"channel_shift", "moved", "tuning_rotation", "composition", "ladder"} <= drawn
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
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    out = tmp_path / "out"
    assert script.main([*QUICK, "--transforms", "rotation:90", *words, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1
    assert not out.exists()
