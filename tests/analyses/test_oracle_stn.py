"""The oracle's script on the embedded network: what it writes, and how it refuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from invariance_probe.probing import load_oracle, load_result

SCRIPT = Path(__file__).resolve().parents[2] / "analyses" / "oracle_stn.py"
QUICK = ["--layers", "conv1", "--number", "40", "--formats", "svg"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("oracle_stn", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    assert (out / "overview" / "figures" / "accuracy.svg").is_file()

    assert script.main(words) == 2
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*words, "--overwrite"]) == 0


def test_bad_input_is_one_line_and_writes_nothing(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert script.main([*QUICK, "--transforms", "rotate:90", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: unknown transformation 'rotate:90'")
    assert said.count("\n") == 1
    assert not out.exists()


def test_help_is_immediate() -> None:
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "example:" in done.stdout
    assert done.stdout.strip().endswith("False")
