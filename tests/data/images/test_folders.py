"""Folders of photographs, written by the tests: order, labels, sizes, kinds of files, faults."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data import image_folder
from invariance_probe.data.images.folders import natural_key
from invariance_probe.data.images.opening import open_images


def photo(rows: int, columns: int, seed: int = 0, channels: int = 3) -> Image.Image:
    """A smooth picture, so that resampling changes little."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    planes = [
        128 + 100 * np.sin(rng.uniform(2, 7) * x + rng.uniform(2, 7) * y + rng.uniform(0, 6))
        for _ in range(channels)
    ]
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    return Image.fromarray(pixels if channels > 1 else pixels[..., 0])


def save(path: Path, image: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in {"img10.png": (60, 80), "img2.png": (90, 50), "Img1.PNG": (70, 70)}.items():
        save(tmp_path / name, photo(*size))
    (tmp_path / "README.txt").write_text("no image")
    (tmp_path / "._img2.png").write_bytes(b"left by another system")
    (tmp_path / ".thumbnails").mkdir()
    return tmp_path


def test_natural_order_and_other_files_left_alone(folder: Path) -> None:
    images = image_folder(folder, canvas=24)
    assert images.names == ("Img1.PNG", "img2.png", "img10.png")
    assert images.labels is None
    assert images.background == "reflect"
    names = ["a10", "a9", "A1", "a01", "10", "9", "b", "a"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "A1", "a01", "a9", "a10", "b"]


def test_rotation_finds_content_when_the_photographs_are_large_enough(folder: Path) -> None:
    images = image_folder(folder, canvas=24)  # corners of 24 px: 33 + 5, even
    assert images.source_size == (38, 38)
    assert images.covers_rotation
    assert images.notes == ()
    assert images.batch([2, 0]).shape == (2, 3, 38, 38)
    assert image_folder(folder, canvas=25).source_size == (39, 39)


def test_smallest_photograph_limits_the_source(folder: Path) -> None:
    images = image_folder(folder, canvas=44)
    assert images.source_size == (50, 50)
    assert not images.covers_rotation
    assert images.notes[0] == (
        "the source is 50x50 instead of 66x66 because the smallest image is 90x50 ('img2.png')"
    )
    assert images.notes[1] == (
        "beyond the source of 50x50 the border is reflected: "
        "a rotated canvas of 44x44 needs 66x66 of real content"
    )
    # Nothing is resampled where the shorter side is the source: whole pixels of the file.
    expected = np.asarray(Image.open(folder / "img2.png"))[20:70].transpose(2, 0, 1)
    np.testing.assert_array_equal(images.batch([1])[0].numpy() * 255, expected)


def test_photographs_smaller_than_the_canvas_are_enlarged_and_it_is_said(folder: Path) -> None:
    images = image_folder(folder, canvas=(64, 56))
    assert images.source_size == images.canvas == (64, 56)
    assert images.notes[0] == (
        "2 of 3 images are smaller than 64x56 and were enlarged (such as 'img2.png')"
    )
    assert images.batch([1]).shape == (1, 3, 64, 56)


def test_margin(folder: Path) -> None:
    assert image_folder(folder, canvas=20, margin=1).source_size == (20, 20)
    assert image_folder(folder, canvas=20, margin=2).source_size == (40, 40)
    for wrong in (0.5, float("nan"), float("inf")):
        with pytest.raises(ProbeError, match=r"margin=.*>= 1"):
            image_folder(folder, margin=wrong)


def test_resizing_keeps_the_centre_and_the_field_of_view(tmp_path: Path) -> None:
    # A linear ramp is its own shrunken self: value = a * (distance from the centre).
    columns = np.arange(200) - 99.5
    ramp = np.broadcast_to(128 + columns, (100, 200)).astype(np.uint8)
    save(tmp_path / "ramp.png", Image.fromarray(ramp))
    images = image_folder(tmp_path, canvas=50, margin=1, channels=1)
    shown = images.batch([0])[0, 0].numpy() * 255
    # The shorter side of 100 px covers 50: one pixel of the canvas is two of the file.
    expected = 127.5 + 2 * (np.arange(50) - 24.5)
    np.testing.assert_allclose(shown[25, 2:-2], expected[2:-2], atol=1)
    assert abs(float(shown.mean()) - 127.5) < 0.6


def test_shrinking_is_anti_aliased(tmp_path: Path) -> None:
    board = ((np.indices((160, 160)).sum(0) % 2) * 255).astype(np.uint8)
    save(tmp_path / "board.png", Image.fromarray(board))
    values = image_folder(tmp_path, canvas=32, margin=1, channels=1).batch([0])
    assert float((values - 0.5).abs().max()) < 0.02


def test_classes_from_sub_folders_as_torchvision_numbers_them(tmp_path: Path) -> None:
    for name in ("cat/10.png", "cat/9.png", "Dog/deep/1.png", "ant/1.png"):
        save(tmp_path / name, photo(40, 40))
    (tmp_path / "bee").mkdir()
    (tmp_path / "notes.txt").write_text("beside the classes")
    images = image_folder(tmp_path, canvas=20)
    assert images.names == ("ant/1.png", "cat/9.png", "cat/10.png", "Dog/deep/1.png")
    assert images.classes == ("Dog", "ant", "bee", "cat")
    assert images.labels is not None
    assert images.labels.tolist() == [1, 3, 3, 0]
    datasets = pytest.importorskip("torchvision.datasets")
    oracle = datasets.ImageFolder(tmp_path, allow_empty=True)
    theirs = {Path(p).relative_to(tmp_path).as_posix(): label for p, label in oracle.samples}
    assert theirs == dict(zip(images.names, images.labels.tolist(), strict=True))


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "store" / "1.png", photo(40, 40))
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    try:
        (root / "b").symlink_to(tmp_path / "store")
        (tmp_path / "store" / "loop").symlink_to(tmp_path / "store")
    except OSError:
        pytest.skip("no symbolic links here")
    assert image_folder(root, canvas=20).names == ("b/1.png",)


def one(path: Path, channels: int = 3) -> np.ndarray:
    """The 8-bit pixels (C, H, W) of a folder's only image of 8 x 8, as they are."""
    images = image_folder(path, canvas=8, margin=1, channels=channels)
    return (images.batch([0])[0].numpy() * 255).round().astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12)
    # How a camera stores the upright picture under each tag (EXIF 2.3, section 4.6.4).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    images = image_folder(tmp_path, canvas=(8, 12), margin=1, channels=1)
    np.testing.assert_array_equal(images.batch([0])[0, 0].numpy() * 255, upright)


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:4, :, 3] = 255
    save(tmp_path / "a.png", Image.fromarray(pixels))
    shown = one(tmp_path)
    assert shown[:, 0, 0].tolist() == [200, 0, 0]
    assert shown[:, 7, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["LA", "P", "1", "CMYK", "YCbCr", "L"])
def test_other_modes_show_the_same_picture(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.repeat(np.uint8([[0], [255]]), 4, axis=0).repeat(8, axis=1))
    image = grey if mode in ("L", "1", "LA") else grey.convert("RGB")
    # Not YCbCr in TIFF, which some releases of Pillow write but cannot read.
    name = {"CMYK": "a.tif", "YCbCr": "a.jpg"}.get(mode, "a.png")
    exact = {"quality": 100, "subsampling": 0} if mode == "YCbCr" else {}
    save(tmp_path / name, image.convert(mode), **exact)
    shown = one(tmp_path)
    assert shown.shape == (3, 8, 8)
    np.testing.assert_allclose(shown[:, 0], 0, atol=1)
    np.testing.assert_allclose(shown[:, 7], 255, atol=1)


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 40, 50, 60] + [0] * 762)
    image.paste(0, (0, 0, 8, 4))
    save(tmp_path / "a.png", image, transparency=1)
    shown = one(tmp_path)
    assert shown[:, 0, 0].tolist() == [10, 20, 30]
    assert shown[:, 7, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_by_their_full_range(tmp_path: Path, name: str) -> None:
    deep = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    save(tmp_path / name, Image.fromarray(deep))
    np.testing.assert_allclose(one(tmp_path, 1)[0], deep / 257, atol=0.51)


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_images_without_a_known_range(tmp_path: Path, kind: type, mode: str) -> None:
    save(tmp_path / "a.tif", Image.fromarray(np.full((8, 8), 2, kind)))
    message = f"a.tif' cannot be read as an image .*mode {mode}.*8 or 16 bit"
    with pytest.raises(ProbeError, match=message):
        image_folder(tmp_path, canvas=8).batch([0])


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (30, 200)]
    save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.unique(one(tmp_path)).tolist() == [30]


def test_grey_and_colour_together(tmp_path: Path) -> None:
    save(tmp_path / "colour.png", photo(40, 40))
    save(tmp_path / "grey.png", photo(40, 40, channels=1))
    with pytest.raises(ProbeError) as caught:
        image_folder(tmp_path, canvas=20, channels=None)
    assert "1 grey images (such as 'grey.png') and 1 colour images (such as 'colour.png')" in str(
        caught.value
    )
    assert "give channels=3" in str(caught.value)
    images = image_folder(tmp_path, canvas=20)
    assert images.notes == (
        "1 of 2 images are grey and were repeated to 3 channels (such as 'grey.png')",
    )
    assert torch.equal(images.batch([1])[0, 0], images.batch([1])[0, 1])
    assert image_folder(tmp_path, canvas=20, channels=1).batch([0]).shape[1] == 1
    (tmp_path / "colour.png").unlink()
    assert image_folder(tmp_path, canvas=20, channels=None).channels == 1
    with pytest.raises(ProbeError, match="channels=4; give 1, 3, or None"):
        image_folder(tmp_path, channels=4)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"no folder '.*absent'; check the path"):
        image_folder(tmp_path / "absent")
    with pytest.raises(ProbeError, match="holds no images; give a folder"):
        image_folder(tmp_path)
    (tmp_path / "data.npy").write_bytes(b"")
    with pytest.raises(ProbeError, match=r"holds no images; it holds data.npy; give"):
        image_folder(tmp_path)
    with pytest.raises(ProbeError, match="is a file, not a folder"):
        image_folder(tmp_path / "data.npy")
    save(tmp_path / "one.png", photo(40, 40))
    save(tmp_path / "cat" / "two.png", photo(40, 40))
    with pytest.raises(ProbeError, match=r"beside class sub-folders \('one.png' and 'cat/two.png'"):
        image_folder(tmp_path)


@pytest.mark.parametrize("drawn", ["ladder.png", "figures/ladder.png", "cats/page/ladder.png"])
def test_figures_of_a_result_are_not_measured(tmp_path: Path, drawn: str) -> None:
    below = "cats/" * drawn.startswith("cats")
    for name in (f"{below}a.png", drawn):
        save(tmp_path / name, photo(40, 40))
    (tmp_path / drawn).with_name("files.json").write_text('{"files": ["ladder.png"]}')
    with pytest.raises(ProbeError, match=rf"holds figures of a result \('{drawn}'\), .*; move"):
        image_folder(tmp_path, 28)


def test_unreadable_files_are_named(folder: Path) -> None:
    for name, content in {
        "broken.jpg": b"this is no picture",
        "empty.png": b"",
        "note.webp": b"404: not found",
    }.items():
        (folder / name).write_bytes(content)
        with pytest.raises(ProbeError) as caught:
            image_folder(folder, canvas=24)
        assert f"{folder / name}' cannot be read as an image (no known image format)" in str(
            caught.value
        )
        assert "take it out of the folder" in str(caught.value)
        assert "\n" not in str(caught.value)
        (folder / name).unlink()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_pixels_are_named_when_decoded(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind)
    name = f"cut.{kind.lower()}"
    (tmp_path / name).write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    save(tmp_path / "whole.png", photo(80, 80))
    images = image_folder(tmp_path, canvas=24)
    assert images.batch([1]).shape[0] == 1
    with pytest.raises(ProbeError, match=rf"{name}' cannot be read as an image"):
        images.batch([0, 1])


def test_file_that_went_away(folder: Path) -> None:
    images = image_folder(folder, canvas=24)
    (folder / "img2.png").unlink()
    with pytest.raises(ProbeError, match=r"img2.png' cannot be read"):
        images.batch([1])
    with pytest.raises(ProbeError, match=r"img2.png' cannot be read \(No such file"):
        _ = images.sha256


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "big.png", photo(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ProbeError, match=r"big.png' cannot be read as an image \(Image size"):
        image_folder(tmp_path, canvas=20)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_forbidden_folder(folder: Path) -> None:
    folder.chmod(0)
    try:
        with pytest.raises(ProbeError, match="cannot be listed"):
            image_folder(folder)
    finally:
        folder.chmod(0o755)


def test_hash_is_of_names_and_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(folder, copy)
    first = image_folder(folder, canvas=24)
    assert first.sha256 == image_folder(copy, canvas=24).sha256
    (copy / "img2.png").rename(copy / "img3.png")
    assert first.sha256 != image_folder(copy, canvas=24).sha256
    (copy / "img3.png").rename(copy / "img2.png")
    save(copy / "img2.png", photo(90, 50, seed=1))
    assert first.sha256 != image_folder(copy, canvas=24).sha256


def test_only_the_asked_images_are_decoded(folder: Path) -> None:
    images = image_folder(folder, canvas=24).take([2])
    for name in ("Img1.PNG", "img2.png"):
        (folder / name).unlink()
    assert images.batch([0]).shape == (1, 3, 38, 38)


def test_photographs_become_no_other_number_of_channels(folder: Path) -> None:
    assert open_images(folder, 24, become=1).channels == 1
    with pytest.raises(ProbeError, match="channels cannot become 4; only grey"):
        open_images(folder, 24, become=4)
