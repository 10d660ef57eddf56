"""Folders that mean harm: bombs, links, pipes, odd names, other formats; what may be skipped."""

from __future__ import annotations

import io
import os
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data import image_folder, open_images
from invariance_probe.probing import Options, ProbeConfig, load_result, replay, run_config


def photo(kind: str = "PNG", seed: int = 0) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "photos"
    home.mkdir()
    for number in range(3):
        (home / f"{number}.png").write_bytes(photo(seed=number))
    return home


def line(folder: Path, *batch: int) -> str:
    """The one line that a folder is refused with."""
    with pytest.raises(ProbeError) as caught:
        image_folder(folder, canvas=20).batch(batch)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("limit", [100, 1000])  # Pillow only warns below twice the limit
def test_image_bombs_are_an_error_and_not_a_warning(
    folder: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "0.png' cannot be read as an image (Image size (1600 pixels) exceeds" in line(folder)
        with pytest.raises(ProbeError, match="all 3 images are damaged"):
            image_folder(folder, canvas=20, skip_damaged=True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert len(image_folder(folder, canvas=20)) == 3


def test_a_declared_size_is_not_allocated(folder: Path) -> None:
    png = bytearray(photo())
    png[16:24] = (60000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    (folder / "9.png").write_bytes(bytes(png))
    assert "9.png' cannot be read as an image (Image size (3600000000 pixels) exceeds" in line(
        folder
    )
    images = image_folder(folder, canvas=20, skip_damaged=True)
    assert images.names == ("0.png", "1.png", "2.png")
    assert "left out: '9.png' (Image size (3600000000 pixels)" in images.notes[0]


def test_postscript_is_never_given_to_its_interpreter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: pytest.fail("a program was run"))
    (folder / "1.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
    )
    assert "1.jpg' cannot be read as an image (no known image format)" in line(folder, 0, 1, 2, 3)


def test_damage_is_left_out_only_when_asked_and_named(folder: Path) -> None:
    (folder / "1.png").write_bytes(photo()[:2000])
    (folder / "4.jpg").write_bytes(b"")
    assert "4.jpg" in line(folder)
    images = image_folder(folder, canvas=20, skip_damaged=True)
    assert images.names == ("0.png", "2.png")
    assert images.notes[0].startswith("2 of 4 images are damaged and were left out: '1.png' (")
    assert "'4.jpg' (no known image format)" in images.notes[0]
    # What the system cannot read is no damaged picture.
    (folder / "0.png").unlink()
    (folder / "0.png").symlink_to(folder / "nowhere")
    with pytest.raises(ProbeError, match=r"0.png' cannot be read .*No such file.*restore it"):
        image_folder(folder, canvas=20, skip_damaged=True)


def test_pipes_and_devices_are_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "5.png")
    (folder / "6.png").symlink_to("/dev/zero")
    assert "5.png' cannot be read as an image (a device or a pipe, not a file)" in line(folder)
    assert image_folder(folder, canvas=20, skip_damaged=True).names == ("0.png", "1.png", "2.png")


def test_links_that_loop_or_leave_the_folder(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        (root / name / "1.png").write_bytes(photo())
    (root / "a" / "up").symlink_to(root)  # would make b's images members of a
    (root / "a" / "top").symlink_to(tmp_path)
    (root / "a" / "itself").symlink_to(root / "a")
    (root / "b" / "out.png").symlink_to(folder / "0.png")
    (root / "c").symlink_to(folder)
    images = image_folder(root, canvas=20)
    assert images.names == (
        "a/1.png", "b/1.png", "b/out.png", "c/0.png", "c/1.png", "c/2.png",
    )  # fmt: skip
    assert images.labels is not None
    assert images.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert images.notes[:2] == (
        "4 of 6 images lie outside the folder, behind links (such as 'b/out.png')",
        "linked folders that lead back to one above them or met before were not followed "
        "(such as 'a/itself')",
    )
    (folder / "out.png").symlink_to(root / "a" / "1.png")
    assert image_folder(folder, canvas=20).notes[0].startswith("1 of 4 images lie outside")


ODD = ["[red]x.png", "\x1b[31mred.png", "two\nlines.png", "$\\frac$.png", "<b>.png", "\udcff.png"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_shown_as_text(folder: Path, name: str) -> None:
    try:
        (folder / name).write_bytes(photo())
    except (OSError, UnicodeEncodeError):
        pytest.skip("no such names here")
    images = image_folder(folder, canvas=20)
    assert all(shown.isprintable() for shown in images.names)
    assert len(images.sha256) == 64
    assert images.batch(range(4)).shape[0] == 4
    (folder / name).write_bytes(b"no picture")
    shown = name.encode("unicode_escape").decode() if not name.isprintable() else name
    assert shown in line(folder)
    assert image_folder(folder, canvas=20, skip_damaged=True).notes[0].isprintable()


def test_a_run_names_what_was_left_out_and_replays(folder: Path, tmp_path: Path) -> None:
    for number in range(4, 8):
        (folder / f"{number}.png").write_bytes(photo(seed=number))
    (folder / "9.png").write_bytes(b"damaged")
    config = ProbeConfig(
        layers=("relu1",), transforms="rotation:90", images=str(folder), skip_damaged=True,
        workers=2, options=Options(resamples=10),
    )  # fmt: skip
    result = run_config(config)
    assert any("left out: '9.png'" in text for text in result.provenance["warnings"])
    result.save(tmp_path / "out")
    again = replay(load_result(tmp_path / "out"), trust=True)
    assert again.residuals.equals(result.residuals)
    other = run_config(replace(config, workers=0, options=Options(resamples=10, batch_size=2)))
    assert other.provenance["images"]["sha256"] == result.provenance["images"]["sha256"]
    with pytest.raises(ProbeError, match=r"9.png' cannot be read"):
        run_config(replace(config, skip_damaged=False))


@pytest.mark.parametrize("wrong", [{"skip_damaged": 1}, {"workers": "2"}, {"workers": None}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ProbeError, match="must be"):
        ProbeConfig(**wrong)  # type: ignore[arg-type]


def test_one_kind_then_another_number_of_channels(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    images = open_images(tmp_path, 20, become=3)
    assert images.channels == 3
    assert images.notes == image_folder(tmp_path, 20, 3).notes
    assert images.batch([0]).shape == (1, 3, 32, 32)


@settings(
    deadline=None, derandomize=True, max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "PPM"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_damaged_pictures_end_in_one_line(
    tmp_path: Path, kind: str, edits: list[tuple[int, int]], early: bool
) -> None:
    content = bytearray(photo(kind))
    for place, value in edits:
        content[place % (min(len(content), 120) if early else len(content))] = value
    (tmp_path / "a.png").write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image_folder(tmp_path, canvas=20, skip_damaged=True).batch([0])
        except ProbeError as error:
            assert "\n" not in str(error)
