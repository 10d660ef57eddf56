"""Files of the published form of SVHN, with planted content: pictures, boxes, archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]  # left, top, width, height
Number = tuple[str, Sequence[tuple[Box, int]]]  # file name, boxes with labels
BOX = ("left", "top", "width", "height")
FIELDS = ("height", "label", "left", "top", "width")

ONE: Number = ("1.png", [((30, 20, 12, 30), 5)])
TWO: Number = ("2.png", [((20, 10, 10, 20), 1), ((32, 12, 10, 20), 10)])
SIX: Number = ("3.png", [((5 + 9 * i, 10, 8, 16), i + 1) for i in range(6)])
FIVE: Number = ("4.png", [((5 + 9 * i, 10, 8, 16), i + 1) for i in range(5)])


def struct_bytes(numbers: Sequence[Number]) -> bytes:
    """digitStruct.mat as MATLAB 7.3 writes it: every value is an object behind a reference."""
    held = io.BytesIO()
    with h5py.File(held, "w", userblock_size=512) as file:
        objects = file.create_group("#refs#")
        names = file.create_dataset("digitStruct/name", (len(numbers), 1), h5py.ref_dtype)
        boxes = file.create_dataset("digitStruct/bbox", (len(numbers), 1), h5py.ref_dtype)
        for i, (name, digits) in enumerate(numbers):
            codes = np.array([[ord(c)] for c in name], dtype=np.uint16)
            names[i, 0] = objects.create_dataset(f"n{i}", data=codes).ref
            group = objects.create_group(f"b{i}")
            boxes[i, 0] = group.ref
            for field in FIELDS:
                values = [dict(zip(BOX, b, strict=True)).get(field, n) * 1.0 for b, n in digits]
                if len(values) == 1:
                    group.create_dataset(field, data=[values])
                    continue
                several = group.create_dataset(field, (len(values), 1), h5py.ref_dtype)
                for j, value in enumerate(values):
                    several[j, 0] = objects.create_dataset(f"{field}{i}_{j}", data=[[value]]).ref
    content = bytearray(held.getvalue())
    content[:116] = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116)
    content[124:128] = b"\x00\x02IM"
    return bytes(content)


def png(pixels: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "png")
    return held.getvalue()


def picture(number: Number, size: tuple[int, int] = (60, 80)) -> bytes:
    """A dark picture whose digit boxes have the brightness 20 x label."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    for (left, top, width, height), label in number[1]:
        rows, columns = slice(int(top), int(top + height)), slice(int(left), int(left + width))
        pixels[rows, columns] = 20 * label
    return png(pixels)


def members(numbers: Sequence[Number], folder: str = "train") -> dict[str, bytes]:
    """As in the published archives: the boxes stand between the pictures."""
    pictures = {f"{folder}/{number[0]}": picture(number) for number in numbers}
    first, *others = pictures.items()
    struct = (f"{folder}/digitStruct.mat", struct_bytes(numbers))
    return dict([first, struct, *others, (f"{folder}/see_bboxes.m", b"% viewer")])


def write_tar(path: Path, held: dict[str, bytes], *more: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in held.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)


def write_folder(path: Path, held: dict[str, bytes]) -> None:
    for name, content in held.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


NUMBERS = (ONE, TWO, SIX, FIVE)
