"""Images of every kind of file, small and by chance damaged, from a seed."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import svhn_files
from limits import damaged
from PIL import Image
from scipy.io import savemat

from invariance_probe.data import open_images, torchvision_images
from invariance_probe.data.examples.plankton import plankton_examples
from invariance_probe.data.svhn import svhn_examples

DEEP = 100_000
NAMES = ("a" * 250, "n\udcff.png", "two\nlines.png", ".", "..", "../../up.png", "[red]x.png",
         "é" * 120, "{}.png", "%s.png", "/root/x.png", "9" * 5000 + ".png", "b/" * 3000 + "a.png",
         "")  # fmt: skip
SIZES = (0, 1, -1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**64, 10**30)
ODD: tuple[Any, ...] = (
    None, "text", b"bytes", 3, 1.5, float("nan"), 10**30, [], {}, [[1], [1, 2]],
    ["a", "b", "c", "d"], [None] * 4, [2**70] * 4, [float("nan")] * 4, [1.5] * 4,
    [float("inf")] * 4, [-1] * 4, [True] * 4, {"a": 1}, [[0, 1], [2, 3]], ["x" * 60_000] * 4,
    [1j] * 4, [[]] * 4,
    "9" * 5000, [{}] * 4,
)  # fmt: skip

Held = dict[str, bytes]  # file names relative to a folder, and what they hold


def pixels(*shape: int, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(kind)


def picture(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(pixels(24, 26, 3))).save(stream, kind, **options)
    return stream.getvalue()


# Arrays that a file of arrays may hold in place of images or of labels.
@cache
def arrays() -> tuple[np.ndarray, ...]:
    plain = pixels(4, 9, 9, 3)
    made: list[Any] = [
        plain.astype(kind) for kind in ("i1", "u2", "i8", "f2", "f4", "f8", "c16", "U3", "S3", "?")
    ]
    made += [plain / 255, plain / np.float32(255) - 2, np.full((4, 9, 9), np.nan), plain[:0]]
    made += [
        plain[:, :0],
        plain[0],
        plain[0, 0, 0, 0],
        plain[None],
        plain.T,
        np.full((4, 9, 9), 1e30),
    ]
    made += [
        np.zeros((4, 9, 9)),
        np.zeros((4, 9, 9), [("a", "u1"), ("b", "f4")]),
        np.zeros(4, "M8[s]"),
    ]
    made += [np.array([None, {}, [], "x"], object), np.zeros((4, 1, 1, 1)), plain[:, :, :, :2]]
    made += [
        np.array([2**63] * 4, np.uint64),
        np.array([-(2**63)] * 4),
        np.arange(4.0),
        np.arange(3),
    ]
    return tuple(np.asarray(one) for one in made)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_declared(draw: random.Random) -> bytes:
    """A header of .npy that declares what it likes, over some bytes."""
    shape = ",".join(str(draw.choice(SIZES)) for _ in range(draw.randint(0, 5)))
    kind = draw.choice(["|u1", "<f8", "|O", "<U99999999", "|V0", "x", "<c16", "(" * 3000, "<M8[s]"])
    text = draw.choice([
        f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape},), }}",
        f"{{'descr': [('a', '{kind}')] , 'fortran_order': 3, 'shape': ({shape},)}}",
        "[" * DEEP, "{'descr': " + "(" * 5000, "9" * 5000, "", "{}", "{'shape': __import__('os')}",
    ]).encode()  # fmt: skip
    length = len(text) if draw.random() < 0.8 else draw.choice([0, 7, 2**16 - 1])
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length % 2**16) + text + bytes(400)


def archive(parts: Held) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name.encode("utf-8", "replace").decode(), content)
    return stream.getvalue()


def packed(parts: Held, draw: random.Random | None = None) -> bytes:
    """A tar of files; with a draw some header says something else."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if draw is not None and draw.random() < 0.5:
                info.type = draw.choice([b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"S", b"x"])
                info.linkname = draw.choice(NAMES)
                key = draw.choice(
                    ["size", "path", "linkpath", "mtime", "GNU.sparse.size", "hdrcharset"]
                )
                info.pax_headers = {
                    key: draw.choice(["9" * 5000, "-1", "x", "", "1e9", "0" * 9000])
                }
            made.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def hdf5(held: dict[str, Any], draw: random.Random | None = None) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, value in held.items():
            try:
                file[name] = value
            except (TypeError, ValueError, OSError):  # what HDF5 cannot hold
                file[name] = 3
        if draw is not None:
            what = draw.randrange(6)
            shape = tuple(
                min(abs(draw.choice(SIZES)) or 1, 2**62) for _ in range(draw.randint(1, 4))
            )
            if what == 0:
                file.create_dataset("more", shape, "u1", chunks=tuple(min(n, 16) for n in shape))
            elif what == 1:
                file["more"] = h5py.ExternalLink("/etc/passwd", "/x")
            elif what == 2:
                file["more"] = h5py.SoftLink("/more")
            elif what == 3:
                file["ring"] = file["/"]
            elif what == 4:
                file.create_dataset("more", (4, 64, 64), data=np.zeros((4, 64, 64), "u1"),
                                    compression="gzip", fletcher32=True)  # fmt: skip
            else:
                file.create_dataset("more", (4,), h5py.string_dtype(), data=["a", "b", "c", "d"])
    return stream.getvalue()


def idx(array: np.ndarray, shape: tuple[int, ...] = ()) -> bytes:
    told = shape or array.shape
    head = struct.pack(">4B", 0, 0, 8, len(told) % 256)
    return head + b"".join(struct.pack(">I", abs(n) % 2**32) for n in told) + array.tobytes()


def matrix(held: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        savemat(stream, held, do_compression=True)
    return stream.getvalue()


_MNIST = "MNIST/raw/t10k-{}-idx{}-ubyte.gz"


def whole(kind: str) -> Held:
    """The files of a small set of images of a kind, undamaged."""
    grey, labels = pixels(4, 9, 9), np.arange(4)
    if kind in ("png", "jpeg", "tiff", "gif", "bmp", "webp", "ppm"):
        return {f"set/{label}/{n}.png": picture(kind) for label in "ab" for n in range(2)}
    if kind == "deep":
        deep = Image.fromarray(pixels(24, 26, kind=np.uint16) * 257)
        return {"set/a.png": picture("PNG", deep), "set/b.tif": picture("TIFF", deep)}
    if kind == "npz":
        return {"set.npz": archive({"images.npy": npy(grey), "labels.npy": npy(labels)})}
    if kind == "npy":
        return {"set.npy": npy(grey)}
    if kind == "hdf5":
        return {"set.h5": hdf5({"images": grey, "labels": labels})}
    if kind == "tar":
        return {"set.tar": packed(_samples())}
    if kind == "mnist":
        return {_MNIST.format("images", 3): gzip.compress(idx(pixels(4, 28, 28))),
                _MNIST.format("labels", 1): gzip.compress(idx(labels.astype("u1")))}  # fmt: skip
    if kind == "cifar10":
        content = {b"data": pixels(4, 3072), b"labels": [1, 2, 3, 4]}
        return {"cifar-10-batches-py/test_batch": pickle.dumps(content, 2)}
    if kind == "svhn":
        return {"test_32x32.mat": matrix({"X": pixels(32, 32, 3, 4), "y": labels[:, None]})}
    if kind == "stl10":
        return {"stl10_binary/test_X.bin": bytes(2 * 3 * 96 * 96), "stl10_binary/test_y.bin": b"12"}
    if kind == "numbers":
        return {"train.tar.gz": gzip.compress(packed(svhn_files.members(svhn_files.NUMBERS)))}
    return {f"train/{label}/{n}.jpg": picture("jpeg") for label in "ab" for n in range(3)}


KINDS = ("png", "jpeg", "tiff", "gif", "bmp", "webp", "ppm", "deep", "npz", "npy", "hdf5", "tar",
         "mnist", "cifar10", "svhn", "stl10", "numbers", "plankton")  # fmt: skip


def _samples() -> Held:
    made: Held = {}
    for n in range(3):
        made |= {f"{n}.png": picture("PNG"), f"{n}.json": json.dumps({"label": n}).encode()}
    return made


def read(kind: str, place: Path) -> None:
    """Open the images and read the first and the last."""
    if kind == "numbers":
        examples: Any = svhn_examples(place)
        examples.batch([0, len(examples) - 1])
        return
    if kind == "plankton":
        examples = plankton_examples(place)
        examples.draw(0).batch([0, len(examples) - 1])
        return
    titles = {"mnist": "MNIST", "cifar10": "CIFAR10", "svhn": "SVHN", "stl10": "STL10"}
    if kind in titles:
        images = torchvision_images(titles[kind], place)
    else:
        images = open_images(next(place.glob("set*")), 8)
    images.batch([0, len(images) - 1])


def damage(kind: str, draw: random.Random) -> tuple[Held, str]:
    """The files of a kind with something wrong, and what that is."""
    held = whole(kind)
    if draw.random() < 0.1:
        name = draw.choice(list(held))
        other = whole(draw.choice(KINDS))
        held[name] = draw.choice([*other.values(), b"", b"\x1f\x8b\x08", b"PK\x03\x04", b"<html>"])
        return held, "content of another kind"
    made = _INNER[kind](held, draw) if kind in _INNER and draw.random() < 0.6 else None
    if made is not None:
        return made, "inner parts"
    name = draw.choice(list(held))
    held[name] = damaged(held[name], draw)
    return held, "bytes"


def _pictures(held: Held, draw: random.Random) -> Held | None:
    """Headers that declare large pictures, with right checksums; odd names."""
    name = draw.choice(list(held))
    content = bytearray(held[name])
    if draw.random() < 0.3:
        odd = draw.choice(["two\nlines.png", "[red]x.png", "é" * 120, "{}.png", "%s.png", "-.png"])
        held[f"{name.rpartition('/')[0]}/{odd}"] = held.pop(name)
    elif content[:4] == b"\x89PNG":
        content[16:24] = b"".join(struct.pack(">I", abs(draw.choice(SIZES)) % 2**32) for _ in "wh")
        content[24:29] = bytes(draw.choice([0, 1, 2, 3, 4, 6, 8, 16]) for _ in range(5))
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        held[name] = bytes(content)
    elif content[:2] in (b"II", b"MM"):
        for tag in draw.sample((256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 339), 2):
            for kind in (3, 4):
                place = content.find(struct.pack("<HHI", tag, kind, 1))
                if place >= 0:
                    value = draw.choice([0, 1, 2, 3, 5, 8, 9, 32, 65535, 2**31, 2**32 - 1])
                    content[place + 8 : place + 12] = struct.pack("<I", value)
        held[name] = bytes(content)
    else:
        return None
    return held


def _array(draw: random.Random) -> bytes:
    return npy_declared(draw) if draw.random() < 0.4 else npy(draw.choice(arrays()))


def _npz(held: Held, draw: random.Random) -> Held:
    parts = {"images.npy": npy(pixels(4, 9, 9)), "labels.npy": npy(np.arange(4))}
    what = draw.randrange(4)
    if what == 0:
        parts["images.npy"] = npy(np.zeros((1 << 26, 1, 1), "u1"))[: draw.choice([64 << 20, 99])]
    elif what == 1:
        parts[draw.choice(NAMES) + ".npy"] = parts.pop(draw.choice(list(parts)))
    else:
        parts[draw.choice(list(parts))] = _array(draw)
    return {"set.npz": archive(parts)}


def _hdf5(held: Held, draw: random.Random) -> Held:
    parts: dict[str, Any] = {"images": pixels(4, 9, 9), "labels": np.arange(4)}
    if draw.random() < 0.6:
        parts[draw.choice(list(parts))] = draw.choice([*arrays(), *ODD])
    return {"set.h5": hdf5(parts, draw if draw.random() < 0.7 else None)}


def _tar(held: Held, draw: random.Random) -> Held:
    parts = _samples()
    if draw.random() < 0.5:
        value = draw.choice(["[" * DEEP, '{"label":' * DEEP, "9" * 5000, "null",
                             '{"label": 1e400}', '{"label": "x"}', "{}", '"a"',
                             '{"label": ' + "9" * 5000 + "}"])  # fmt: skip
        parts[f"{draw.randrange(3)}.json"] = value.encode()
    if draw.random() < 0.3:
        parts[f"{draw.randrange(3)}.cls"] = draw.choice(
            [b"9" * 60_000, b"", b"\xff", b"-1", b"1.5"]
        )
    if draw.random() < 0.5:
        parts[draw.choice([n for n in NAMES if n])] = parts.pop(draw.choice(list(parts)))
    return {"set.tar": packed(parts, draw)}


def _mnist(held: Held, draw: random.Random) -> Held:
    name = draw.choice(list(held))
    shape = tuple(draw.choice(SIZES) for _ in range(draw.choice([0, 1, 3, 4])))
    content = idx(draw.choice([pixels(4, 28, 28), pixels(4), pixels(0)]), shape)
    if draw.random() < 0.2:
        content = idx(pixels(0), (1 << 16, 64, 64)) + bytes(64 << 20)
    held[name] = gzip.compress(content) if draw.random() < 0.8 else content
    return held


def _cifar(held: Held, draw: random.Random) -> Held:
    content: Any = {b"data": pixels(4, 3072), b"labels": [1, 2, 3, 4]}
    content[draw.choice(list(content))] = draw.choice([*ODD, *arrays()])
    if draw.random() < 0.1:
        content = draw.choice(ODD)
    made = pickle.dumps(content, draw.choice([0, 2, 4]))
    if draw.random() < 0.15:
        made = draw.choice([
            b"\x80\x02" + b"(" * DEEP, b"\x80\x02" + b"]" * DEEP + b".",
            b"L" + b"9" * 5000 + b"L\n.", b"ccodecs\nencode\n.",
            b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02cnumpy\nndarray\n)\x81.",
            b"cnumpy\nndarray\n((I1000000000000\ntR.", b"cnumpy\nndarray\n((I3000000000\ntR.",
            b"cnumpy\ndtype\n(S'O'\ntR.", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f" + b"x",
        ])  # fmt: skip
    return {"cifar-10-batches-py/test_batch": made}


def _svhn(held: Held, draw: random.Random) -> Held:
    content: dict[str, Any] = {"X": pixels(32, 32, 3, 4), "y": np.arange(4)[:, None]}
    value = draw.choice(
        [one for one in (*ODD, *arrays()) if one is not None and not isinstance(one, int)]
    )
    content[draw.choice("Xy")] = value
    try:
        return {"test_32x32.mat": matrix(content)}
    except (TypeError, ValueError, OverflowError):  # what MATLAB cannot hold
        return {"test_32x32.mat": matrix({"X": np.zeros((3, 3)), "y": {"a": [1, "b"]}})}


def _numbers(held: Held, draw: random.Random) -> Held:
    parts = svhn_files.members(svhn_files.NUMBERS)
    name = draw.choice([*parts, "train/digitStruct.mat", "train/digitStruct.mat"])
    parts[name] = damaged(parts[name], draw)
    return {"train.tar.gz": gzip.compress(packed(parts, draw if draw.random() < 0.3 else None))}


_INNER: dict[str, Callable[[Held, random.Random], Held | None]] = {
    "png": _pictures, "jpeg": _pictures, "tiff": _pictures, "deep": _pictures, "npz": _npz,
    "npy": lambda held, draw: {"set.npy": _array(draw)}, "hdf5": _hdf5, "tar": _tar,
    "mnist": _mnist, "cifar10": _cifar, "svhn": _svhn, "numbers": _numbers, "plankton": _pictures,
}  # fmt: skip


def write(held: Held, place: Path) -> None:
    for name, content in held.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
