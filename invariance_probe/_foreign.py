"""What a file is that is neither weights nor images to measure, and what to do with it."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

HEAD = 512
"""Bytes of a file that are enough to know it by."""

FILES = "files.json"
"""The list of the files that a command has written into a folder."""

REPORT = "report.html"
"""The page of a report, by which its folder is known as one."""

_ADDRESS = re.compile(r"(https?|ftp|s3|gs|hf|file):/+(.*)", re.IGNORECASE | re.DOTALL)
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}
_OTHERS = {
    b"\x89HDF\r\n": "an HDF5 file",
    b"\x93NUMPY": "an array of NumPy",
    b"%PDF": "a PDF document",
    b"GGUF": "a language model of llama.cpp",
    b"PAR1": "a Parquet table",
}
_IMAGES = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"BM": "a BMP image",
}
_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm")


def listed(path: Path) -> set[str]:
    """The names in a list of files; none where it is missing or damaged."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name for name in files if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe, a device or a folder: to open or read one could take for ever."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file", str(path))


def foreign(head: bytes, name: str = "") -> str:
    """What a file is, and what to do, from its first bytes and its name; "" for what is unknown.

    >>> foreign(b"version https://git-lfs.github.com/spec/v1")
    'a Git LFS pointer, not the file itself; fetch that with git lfs pull'
    """
    low, text = name.lower(), head.removeprefix(b"\xef\xbb\xbf").lstrip()[:HEAD].lower()
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; fetch that with git lfs pull"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        page = "an XML page" if text.startswith(b"<?xml") else "an HTML page"
        return f"{page}, as a download that failed leaves it; download the file itself"
    for start, kind in _PACKED.items():
        if head.startswith(start):
            return f"compressed with {kind}; unpack it and give what is inside"
    if low.endswith(".onnx") or re.match(rb"\x08[\x01-\x20]\x12.{1,2}(pytorch|onnx|tf2)", head):
        return "an ONNX model, a program without modules; export the PyTorch network's state dict"
    if low.endswith(".pb") or head[4:8] == b"TFL3":
        return "a model of TensorFlow; convert its weights to a state dict of the PyTorch network"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it and give what is inside"
    return next((what for start, what in _OTHERS.items() if head.startswith(start)), "")


def written(head: bytes) -> str:
    """What is said of a file of text, by its first bytes, with its first words; "" for others."""
    try:
        text = head[:HEAD].decode("ascii").strip()
    except UnicodeDecodeError:
        return ""
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return ""
    return f"text ({text.splitlines()[0].strip()[:40]!r})"


def pictured(head: bytes) -> str:
    """What kind of image a file is, from its first bytes; "" for what is none."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    return next((what for start, what in _IMAGES.items() if head.startswith(start)), "")


def address(text: str) -> str:
    """What to say of a text that is an address of the network, also as a path; "" for others.

    >>> address("https:/host/weights.pth")
    'https://host/weights.pth is an address, and nothing is downloaded; download it, give its path'
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return ""
    rest = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in found[2][:200])
    return (
        f"{found[1]}://{rest} is an address, and nothing is downloaded; download it, give its path"
    )


def is_picture(name: str) -> bool:
    """Whether a file is named as an image."""
    return Path(name).suffix.lower() in _PICTURES
