"""Kinds of image files: depth, orientation, transparency, pages, and single images for a set."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data import array_images, image_folder, npz_images, open_images

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (3, 40, 44), dtype=np.uint16)


def chunk(name: bytes, content: bytes) -> bytes:
    checked = zlib.crc32(name + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + checked


def png(pixels: np.ndarray, colour: int, between: bytes = b"", late: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel (rows, columns, channels), as Pillow cannot write it."""
    rows, columns = pixels.shape[:2]
    lines = pixels.astype(">u2").reshape(rows, -1)
    packed = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    head = struct.pack(">IIBBBBB", columns, rows, 16, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + between + chunk(b"IDAT", packed) + late + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind", ["png", "tif", "pgm", "big-endian", "jp2"])
@pytest.mark.parametrize("size", [40, 23])
def test_sixteen_bits_of_a_file_are_those_of_an_array(tmp_path: Path, kind: str, size: int) -> None:
    for number, one in enumerate(DEEP):
        image = Image.fromarray(one)
        if kind == "pgm":
            head = f"P5 {one.shape[1]} {one.shape[0]} 65535\n".encode()
            (tmp_path / f"{number}.pgm").write_bytes(head + one.astype(">u2").tobytes())
        elif kind == "big-endian":
            swapped = Image.frombytes("I;16B", image.size, one.astype(">u2").tobytes())
            swapped.save(tmp_path / f"{number}.tif")
        elif kind == "jp2":
            image.save(tmp_path / f"{number}.jp2", irreversible=False)
        else:
            image.save(tmp_path / f"{number}.{kind}")
    images = image_folder(tmp_path, canvas=(size, size), channels=None, margin=1)
    found = images.batch(range(3))
    assert images.channels == 1
    assert not any("values up to" in note for note in images.notes)
    if size == 40:
        same = array_images(DEEP, canvas=40).batch(range(3))[..., 2:-2]
        assert torch.equal(found, same)
        assert len(np.unique(found.numpy())) > 4000
    else:
        small = [Image.fromarray(one.astype(np.float32)) for one in DEEP]
        box = (2, 0, 42, 40)
        shrunk = [np.asarray(s.resize((23, 23), Image.Resampling.BICUBIC, box)) for s in small]
        expected = np.clip(np.stack(shrunk) / 65535, 0, 1)
        np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=2e-3)
    assert torch.equal(image_folder(tmp_path, size, 3, margin=1).batch([1])[0, 2], found[1, 0])


@pytest.mark.parametrize(("most", "bits"), [(1023, 10), (4095, 12), (16383, 14), (300, 9)])
def test_few_bits_in_sixteen_are_told(tmp_path: Path, most: int, bits: int) -> None:
    few = (DEEP.astype(np.int64) * most // 65535).astype(np.uint16)
    few[2, 0, 0] = most
    np.save(tmp_path / "few.npy", few)
    for number, one in enumerate(few):
        (tmp_path / "png").mkdir(exist_ok=True)
        Image.fromarray(one).save(tmp_path / "png" / f"{number}.png")
    sets = [
        open_images(tmp_path / "png", 20), npz_images(tmp_path / "few.npy"), array_images(few),
    ]  # fmt: skip
    for images in sets:
        (note,) = [n for n in images.notes if "values up to" in n]
        assert f"values up to {most} of 65535" in note
        assert f"{100 * most / 65535:.2g} % of full brightness" in note
        assert f"of {bits} bits, multiply them by {2 ** (16 - bits)}" in note
        assert most * 2 ** (16 - bits) <= 65535
    few = few.clip(0, 200)
    Image.fromarray(few[0]).save(tmp_path / "png" / "0.png")
    Image.fromarray(few[1]).save(tmp_path / "png" / "1.png")
    Image.fromarray(few[2]).save(tmp_path / "png" / "2.png")
    for call in (lambda: open_images(tmp_path / "png", 20), lambda: array_images(few)):
        with pytest.raises(ProbeError, match="values up to 200 only; give uint8"):
            call()


ARROW = np.zeros((40, 56), np.uint8)
ARROW[4:10, 5:50], ARROW[4:36, 5:9] = 200, 120
# What each orientation does to stored pixels, in NumPy's words.
UPRIGHT = {
    1: ARROW, 2: ARROW[:, ::-1], 3: ARROW[::-1, ::-1], 4: ARROW[::-1], 5: ARROW.T,
    6: np.rot90(ARROW, -1), 7: ARROW[::-1, ::-1].T, 8: np.rot90(ARROW, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["tif", "png", "webp", "late.png", "deep.png", "deep.tif"])
@pytest.mark.parametrize("turn", UPRIGHT)
def test_orientation_of_every_format(tmp_path: Path, kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = ARROW.astype(np.uint16) * 257 if kind.startswith("deep") else ARROW
    if kind == "late.png":
        content = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        (tmp_path / "a.png").write_bytes(
            png((ARROW.astype(np.uint16) * 257)[..., None], 0, late=content)
        )
    else:
        options = {"lossless": True} if kind == "webp" else {}
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}", exif=exif, **options)  # type: ignore[arg-type]
    rows, columns = UPRIGHT[turn].shape
    images = image_folder(tmp_path, canvas=(rows, columns), channels=1, margin=1)
    assert images.source_size == (rows, columns)
    assert not any("enlarged" in note for note in images.notes)
    found = images.batch([0])[0, 0].numpy()
    np.testing.assert_allclose(found, UPRIGHT[turn] / 255, atol=1.1 / 255)


def one(folder: Path, image: Image.Image | bytes, name: str = "a.png", **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    if isinstance(image, bytes):
        (folder / name).write_bytes(image)
    else:
        image.save(folder / name, **options)  # type: ignore[arg-type]
    return folder


def test_colour_of_sixteen_bits_is_said_to_be_reduced(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (40, 40, 3), dtype=np.uint16)
    one(tmp_path / "p", png(pixels, 2))
    one(tmp_path / "p", Image.fromarray((pixels >> 8).astype(np.uint8)), "b.png")
    images = image_folder(tmp_path / "p", canvas=40, margin=1)
    assert images.notes[0] == (
        "1 of 2 images have 16 bits a channel with colour or transparency, of which the upper 8 "
        "are read (such as 'a.png')"
    )
    assert torch.equal(images.batch([0]), images.batch([1]))
    grey_alpha = np.stack([pixels[..., 0], np.full((40, 40), 65535)], -1)
    folder = one(tmp_path / "la", png(grey_alpha, 4))
    assert "of which the upper 8 are read" in image_folder(folder, 40, 1, margin=1).notes[0]


def test_what_is_transparent_is_white_at_every_depth(tmp_path: Path) -> None:
    pixels = np.full((40, 40, 1), 30000)
    pixels[:, :20] = 1000
    folder = one(tmp_path / "p", png(pixels, 0, chunk(b"tRNS", (1000).to_bytes(2, "big"))))
    found = image_folder(folder, 40, 1, margin=1).batch([0])[0, 0].numpy()
    np.testing.assert_array_equal(found[:, :20], 1)
    np.testing.assert_allclose(found[:, 20:], 30000 / 65535)
    # Put on white band by band, as in one piece.
    tall = RNG.integers(0, 256, (300, 40, 4), dtype=np.uint8)
    folder = one(tmp_path / "rgba", Image.fromarray(tall))
    white = Image.new("RGBA", (40, 300), (255, 255, 255, 255))
    whole = Image.alpha_composite(white, Image.fromarray(tall)).convert("RGB")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("invariance_probe.data.decoding.photograph._BAND", 40 * 7)
        found = image_folder(folder, (300, 40), 3, margin=1).batch([0])[0].numpy()
    np.testing.assert_array_equal(np.asarray(whole).transpose(2, 0, 1), (found * 255).round())


GREY = RNG.integers(0, 256, (40, 40), dtype=np.uint8)


@pytest.mark.parametrize("name", ["P.png", "1.png", "L.tif", "CMYK.tif", "LA.png", "PA.tif",
                                  "white-is-zero.tif", "pages.tif", "animated.gif",
                                  "animated.png", "animated.webp", "float.tif"])  # fmt: skip
def test_other_kinds(tmp_path: Path, name: str) -> None:
    kind, _, ending = name.partition(".")
    image, expected = Image.fromarray(GREY), GREY / 255
    options: dict[str, object] = {}
    if kind == "1":
        image = image.point(lambda v: 255 * (v > 127)).convert("1")
        expected = (GREY > 127).astype(float)
    elif kind == "white-is-zero":
        deep = Image.fromarray((65535 - GREY.astype(np.int64) * 257).astype(np.uint16))
        image, options = deep, {"tiffinfo": {262: 0}}
        stream = io.BytesIO()
        deep.save(stream, "TIFF")
        content = bytearray(stream.getvalue())
        place = content.index(struct.pack("<HHIH", 262, 3, 1, 1))
        content[place + 8] = 0
        one(tmp_path / "p", bytes(content), name)
    elif kind in ("pages", "animated"):
        others = [Image.fromarray(255 - GREY)] * 2
        options = {"save_all": True, "append_images": others}
        options |= {"lossless": True} if ending == "webp" else {}
    elif kind == "float":
        image = Image.fromarray(expected.astype(np.float32))
    else:
        image = image.convert("L" if kind == "L" else "RGB" if kind == "CMYK" else kind)
        image = image.convert("CMYK") if kind == "CMYK" else image
    if kind != "white-is-zero":
        try:
            one(tmp_path / "p", image, name, **options)
        except (OSError, KeyError):
            pytest.skip("Pillow does not write this kind here")
    images = image_folder(tmp_path / "p", 40, 1, margin=1)
    np.testing.assert_allclose(images.batch([0])[0, 0].numpy(), expected, atol=1.1 / 255)


def test_floats_outside_of_their_range_are_damage(tmp_path: Path) -> None:
    for value in (float("nan"), -0.1, 1.5, float("inf")):
        bad = np.full((40, 40), 0.5, np.float32)
        bad[0, 0] = value
        folder = one(tmp_path / "p", Image.fromarray(bad), "a.tif")
        with pytest.raises(ProbeError, match=r"mode F: values from .*; save floats in \[0, 1\]"):
            image_folder(folder, 40, 1).batch([0])


@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50, 1), (40, 50, 4)])
def test_one_image_is_not_taken_for_its_rows(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "a.npz", images=pixels)
    for call in (
        lambda: array_images(pixels),
        lambda: npz_images(tmp_path / "a.npy"),
        lambda: npz_images(tmp_path / "a.npz"),
    ):
        with pytest.raises(ProbeError, match=r"that is one image, not a set; give several as"):
            call()
    assert len(array_images(np.zeros((40, 5, 5), np.uint8))) == 40
    with pytest.raises(ProbeError, match=r"shape \(40, 50\); give \(N, C, H, W\)"):
        array_images(pixels[..., 0])


def test_arrays_that_all_but_fit(tmp_path: Path) -> None:
    flow = RNG.integers(0, 256, (3, 16, 16, 2), dtype=np.uint8)
    np.save(tmp_path / "two.npy", flow)  # two channels, last
    images = open_images(tmp_path / "two.npy", 16)
    assert images.batch([0, 1, 2]).numpy() == pytest.approx(flow.transpose(0, 3, 1, 2) / 255)
    with pytest.raises(ProbeError, match="put channels first"):
        array_images(flow)
    over = np.full((2, 8, 8), 1 + 1e-7)  # as resizing in floating point leaves white
    assert array_images(over).batch([0]).max() == pytest.approx(1)
    with pytest.raises(ProbeError, match=r"values from 1\.00001 to"):
        array_images(np.full((2, 8, 8), 1.00001))


@pytest.mark.parametrize(("most", "factor"), [(1, 255), (16, 15), (32, 0)])
def test_bytes_of_few_levels_are_told(most: int, factor: int) -> None:
    images = array_images(np.full((3, 8, 8), most, np.uint8))
    said = [note for note in images.notes if "of 255" in note]
    assert bool(said) == bool(factor)
    assert all(note.endswith(f"multiply them by {factor} before") for note in said)


def test_notes_count_what_is_used(tmp_path: Path) -> None:
    for number in range(9):
        pixels = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        kind = pixels[..., 0] if number in (1, 4, 7) else pixels
        one(tmp_path / "p", Image.fromarray(kind), f"{number}.png")
    images = image_folder(tmp_path / "p", 20)
    said = "are grey and were repeated to 3 channels"
    assert images.notes[0] == f"3 of 9 images {said} (such as '1.png')"
    some = images.take([4, 5, 0, 7])
    assert some.notes[0] == f"2 of 4 images {said} (such as '4.png')"
    assert (some.available, some.take(2).available, images.available) == (9, 9, None)
    assert some.take([1, 2]).notes == ()
    assert replace(some, description="x").take(1).notes[0].startswith("1 of 1 images are grey")


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
@pytest.mark.parametrize("most", [1, 16, 200])
def test_files_of_8_bits_that_are_all_but_black_are_told(
    tmp_path: Path, mode: str, most: int
) -> None:
    for number in range(3):
        pixels = np.zeros((40, 40), dtype=np.uint8)
        pixels[10:20, number] = most
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{number}.png")
    notes = [note for note in image_folder(tmp_path, 20).notes if "values up to" in note]
    if most == 200:
        assert not notes
    else:
        (note,) = notes
        assert f"values up to {most} of 255" in note
        assert f"multiply them by {255 // most} before" in note
