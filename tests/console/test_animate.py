"""The command animate: files for a run or for what the options name, and how bad input ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.probing import Options, ProbeConfig, run_config
from invariance_probe.probing.pictures.taking import pictures_of

CONFIG = ProbeConfig(
    layers=("relu1", "relu2"), transforms="rotation:-90:90:90", number=8,
    options=Options(resamples=20, channels=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_config(CONFIG).save(tmp_path_factory.mktemp("saved") / "result")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str) -> Any:
    return CliRunner().invoke(cli.app, ["animate", *args], catch_exceptions=False)


def refused(*args: str) -> str:
    done = run(*args)
    assert done.exit_code == 2, done.output
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert [p for p in Path.cwd().iterdir() if p.name != "here.gif"] == []
    return str(line)


def test_a_run_becomes_an_animation_and_a_page(saved: Path) -> None:
    done = run(str(saved), "--out", "new/turn.gif", "--html", "viewer.html", "--width", "600")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == ["new/turn.gif", "viewer.html"]
    with Image.open("new/turn.gif") as held:
        assert held.n_frames == 4 and held.width == 600  # −90, 0, 90, 0
    text = Path("viewer.html").read_text(encoding="utf-8")
    assert "relu1" in text and "relu2" in text and "Content-Security-Policy" in text


def test_layer_image_channel_and_transforms_are_chosen(saved: Path) -> None:
    done = run(
        str(saved), "--layers", "relu2", "--transforms", "scaling:1:1.2:3", "--image", "1",
        "--channel", "5", "--html", "viewer.html",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    text = Path("viewer.html").read_text(encoding="utf-8")
    assert '"channels":[5]' in text and '"name":"relu1"' not in text and '"scaling"' in text


def test_a_network_is_shown_without_a_probe() -> None:
    done = run("--layers", "relu2", "--transforms", "rotation:90", "--number", "8",
               "--html", "viewer.html")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert Path("viewer.html").exists()


def test_saved_pictures_need_no_network(in_tmp: Path) -> None:
    pictures_of(CONFIG, layers="relu2").save("held.npz")
    done = run("held.npz", "--out", "turn.gif")
    assert done.exit_code == 0, done.stderr
    done = run("held.npz", "--out", "other.gif", "--channel", "3")
    assert done.exit_code == 2 and "holds pictures that were taken" in done.stderr


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["nothing to write", "--out FILE.gif"]),
        (["--out", "turn.avi"], ["--out turn.avi is neither .gif nor .mp4"]),
        (["--out", "here.gif"], ["here.gif is there already", "--overwrite"]),
        (["--out", "turn.gif", "--width", "10"], ["width=10"]),
        (["--out", "turn.gif", "--seconds", "0"], ["0 seconds a frame"]),
        (["--out", "turn.gif", "--network", "resnet18"], ["already says which network to take"]),
        (["--out", "turn.gif", "--layers", "relu9"], ["relu9"]),
        (["--out", "turn.gif", "--image", "t10k"], ["no image 't10k'"]),
        (["--out", "turn.gif", "--channel", "64"], ["no channel 64; there are 0 to 63"]),
    ],
)
def test_bad_input_is_one_line(saved: Path, args: list[str], parts: list[str]) -> None:
    Path("here.gif").write_bytes(b"")
    line = refused(str(saved), *args)
    assert all(part in line for part in parts), line
