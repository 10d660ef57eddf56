"""Files that people have instead of weights or images: said what they are, and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invariance_probe.data import open_images
from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network, load_state
from invariance_probe.probing import ProbeConfig
from invariance_probe.probing.config import load_images

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 46830571\n"
ADDRESS = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (40, 40), 7).save(stream, kind)
    return stream.getvalue()


def array(**named: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **named)
    return stream.getvalue()


def packed(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


FILES = [
    ("lfs.safetensors", POINTER, "a Git LFS pointer.*git lfs pull"),
    ("drive.pth", b"\n<!DOCTYPE html><html><title>Virus scan</title>", "an HTML page.*download"),
    ("marked.pth", b"\xef\xbb\xbf<!doctype html>", "an HTML page"),
    ("answer.pth", b"404: Not Found\n", "text .'404: Not Found'."),
    ("w.tar", b"w.pth".ljust(257, b"\0") + b"ustar\x0000" + bytes(800), "a tar archive; unpack"),
    ("denied.pt", b'<?xml version="1.0"?><Error>AccessDenied</Error>', "an XML page"),
    ("w.pth.gz", gzip.compress(bytes(99)), "compressed with gzip; unpack"),
    ("w.pth", bz2.compress(bytes(99)), "compressed with bzip2"),
    ("w.pt", lzma.compress(bytes(99)), "compressed with xz"),
    ("m.onnx", b"\x08\x08\x12\x07pytorch\x1a\x052.0" + bytes(60), "an ONNX model"),
    ("renamed.pth", b"\x08\x08\x12\x07pytorch\x1a\x052.0" + bytes(60), "an ONNX model"),
    ("saved_model.pb", b"\x08\x01\x12" + bytes(60), "a model of TensorFlow"),
    ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(60), "a model of TensorFlow"),
    ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
    ("m.gguf", b"GGUF\x03\0\0\0" + bytes(60), "llama.cpp"),
    ("w.npz", array(x=np.ones(3)), "arrays of NumPy; save them"),
    ("w.npy", b"\x93NUMPY\x01\0" + bytes(60), "an array of NumPy"),
    ("photos.zip", packed("a/1.jpg", "a/2.jpg"), "a zip archive of images"),
    ("w.zip", packed("best.pth", "readme.md"), "holds best.pth; unpack it"),
    ("m.keras", packed("config.json", "model.weights.h5"), "a model of Keras"),
    ("x.zip", packed("notes.txt"), "without weights; it holds notes.txt"),
    ("one.png", picture("PNG"), "a PNG image"),
    ("one.jpg", picture("JPEG"), "a JPEG image"),
]


@pytest.mark.parametrize(("name", "content", "message"), FILES, ids=[name for name, *_ in FILES])
def test_what_is_no_checkpoint_is_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProbeError, match=f"is no checkpoint: it is .*{message}") as caught:
        load_state(tmp_path / name)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photos.zip", packed("a/1.jpg"), "is a zip archive; unpack it and give the folder"),
        ("one.png", picture("PNG"), "is one image, not a folder; put it into a folder"),
        ("one.webp", picture("WEBP"), "is one image, not a folder"),
        ("w.pt", POINTER, "is a Git LFS pointer"),
        ("page", b"<html>no</html>", "is an HTML page"),
        ("notes.txt", b"words", "is a file, not a folder; give the folder that holds it"),
    ],
)
def test_what_is_no_folder_of_images_is_named(
    name: str, content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProbeError, match=message):
        open_images(tmp_path / name, 32)
    # by its name alone as well, which could have been that of a data set
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProbeError, match=message):
        load_images(ProbeConfig(images=name), build_network("mnist_cnn"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(POINTER, r"\(a Git LFS pointer.*pull"), (b"<html>", r"\(an HTML page"), (b"?", "no known")],
)
def test_a_picture_that_is_something_else(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ProbeError, match=f"a.jpg' cannot be read as an image .*{message}"):
        open_images(tmp_path, 32)


def test_addresses_are_not_downloaded() -> None:
    said = f"{ADDRESS} is an address, and nothing is downloaded"
    for refused in (
        lambda: load_state(ADDRESS),
        lambda: load_state(Path(ADDRESS)),
        lambda: build_network("mnist_cnn", ADDRESS),
        lambda: open_images(ADDRESS, 32),
    ):
        with pytest.raises(ProbeError, match=said):
            refused()
