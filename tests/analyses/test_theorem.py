"""The theorem's script: quick help, the theorem in its numbers, nothing half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from invariance_probe.probing import load_result

MOVES = "translation:-2,0 translation:3,0 rotation:0:180:90 scaling:0.7"
QUICK = ["--number", "8", "--scenes", "4", "--formats", "svg", "--transforms", MOVES]


def test_help_shows_an_example_and_loads_nothing_heavy(shows_help: Callable[[str], None]) -> None:
    shows_help("--checkpoint")


def test_the_numbers_are_the_theorem(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures" / "run"
    assert script.main([*QUICK, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/: network, twin, pointwise, gaussian, theorem" in said
    assert "python analyses/theorem.py --number 8" in said
    assert sorted(path.name for path in out.iterdir()) == sorted(script.PARTS)
    assert (out / "theorem" / "figures" / "theorem.svg").is_file()
    about = json.loads((out / "theorem" / "provenance.json").read_text(encoding="utf-8"))
    assert about["command"].startswith("python analyses/theorem.py --number 8")
    assert about["runs"]["network"]["config"]["transforms"] == MOVES
    assert 0 < about["asymmetry"]["conv1"] < 1

    table = pd.read_csv(out / "theorem" / "residuals.csv").query("rung == 'inverse'")
    label = about["labels"]
    by = table.set_index(["network", "transform"])["residual"]
    for name in label.values():
        assert by[name, "translation:-2,0"] == 0 and by[name, "translation:3,0"] == 0
    assert by[label["network"], "rotation:90"] > 1
    assert by[label["twin"], "rotation:90"] < 1e-6 and by[label["pointwise"], "rotation:90"] == 0
    assert by[label["twin"], "scaling:0.7"] > 0.2
    gaussian = table[table["network"] == "Gaussian derivatives"]
    np.testing.assert_allclose(gaussian["residual"], gaussian["expected"], atol=0.02 * 4)
    residual = load_result(out / "network").summary.set_index("transform")["inverse"]
    assert residual["rotation:90"] == by[label["network"], "rotation:90"]

    assert script.main([*QUICK, "--out", str(out)]) == 2
    assert "already holds a result" in capsys.readouterr().err
    assert script.main([*QUICK, "--out", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layer", "conv9"], "conv9"),
        (["--transforms", "rotate:30"], "unknown transformation 'rotate:30'; did you mean"),
        (["--data", "photos"], "images 'photos': no such folder"),
        (["--formats", "gif"], "unknown figure format 'gif'; use svg, png, pdf"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    refuses: Callable[[list[str], str], None], words: list[str], message: str
) -> None:
    refuses([*QUICK, *words], message)


def test_scenes_are_band_limited_and_repeatable(script: ModuleType) -> None:
    first, again = (script.scenes(2, 3).batch([0, 1]).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.min() == 0 and first.max() == 1
    window = np.outer(np.hanning(160), np.hanning(160))
    image = first[0, 0]
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(160), np.fft.fftfreq(160)))
    assert power[frequency > 1 / 12].sum() < 1e-3 * power.sum()
    assert "generated" in script.scenes(2, 3).description
