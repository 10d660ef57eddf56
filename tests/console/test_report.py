"""The commands report and verify, and how to cite, from the command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.probing import Options, ProbeConfig, run_config


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ProbeConfig(
        layers=("conv2",), transforms="rotation:90", number=24,
        options=Options(resamples=20, channels=False),
    )  # fmt: skip
    return run_config(config).save(tmp_path_factory.mktemp("saved") / "run")


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, [str(one) for one in arguments])
    return done.exit_code, " ".join((done.stdout + done.stderr).split())


def test_report_writes_the_page_and_says_where(saved: Path, tmp_path: Path) -> None:
    code, said = run("report", saved, "--out", tmp_path / "report")
    assert code == 0, said
    assert f"report: {tmp_path / 'report' / 'report.html'}" in said
    assert not (tmp_path / "report" / "paper").exists()
    code, said = run("report", saved, "--out", tmp_path / "report")
    assert code == 2 and "--overwrite" in said


def test_report_of_a_folder_of_runs(saved: Path, tmp_path: Path) -> None:
    code, said = run("report", saved.parent, "--out", tmp_path / "report", "--paper")
    assert code == 0, said
    assert (tmp_path / "report" / "paper" / "references.bib").is_file()


def test_report_refuses_folders_without_results(tmp_path: Path) -> None:
    code, said = run("report", tmp_path, "--out", tmp_path / "report")
    assert code == 2 and "holds no result" in said


def test_verify_says_whether_the_numbers_hold(saved: Path, tmp_path: Path) -> None:
    code, said = run("verify", saved, "--images", 2)
    assert code == 0, said
    assert "content hash: holds" in said and "the numbers hold" in said
    path = saved / "residuals.csv"
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(before.replace("other_image,1.", "other_image,0.", 1), encoding="utf-8")
        assert path.read_text(encoding="utf-8") != before
        code, said = run("verify", saved.parent, "--images", 1)
    finally:
        path.write_text(before, encoding="utf-8")
    assert code == 1
    assert "files: FAILS; changed since they were saved: residuals.csv" in said
    assert "some numbers do not hold" in said


def test_bibtex_is_printed() -> None:
    code, said = run("--bibtex")
    assert code == 0
    assert said.startswith("@misc{invariance_probe,") and "2004.11678" in said


def test_the_command_for_pictures_of_others_images_gives_them(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "own images.npz", images)
    config = ProbeConfig(
        layers=("conv2",), transforms="rotation:90", images=str(tmp_path / "own images.npz"),
        options=Options(resamples=20, channels=False, ledger=False),
    )  # fmt: skip
    saved = run_config(config).save(tmp_path / "run")
    page = tmp_path / "report" / "report.html"
    done = CliRunner().invoke(cli.app, ["report", str(saved), "--out", str(page.parent)])
    assert done.exit_code == 0
    assert "There are no pictures of this run" in page.read_text(encoding="utf-8")
    (again,) = (line for line in done.output.splitlines() if line.startswith("with them: "))
    words = shlex.split(again.removeprefix("with them: "))
    assert words[0] == "invariance-probe" and "--trust" not in words
    code, said = run(*words[1:])
    assert code == 0 and "no pictures" not in said
    assert "There are no pictures of this run" not in page.read_text(encoding="utf-8")
