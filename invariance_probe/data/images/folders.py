"""Folders of photographs: flat, or one sub-folder per class."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..._foreign import FILES, HEAD, foreign, listed, pictured
from ...errors import ProbeError
from ..decoding.photograph import plain
from ._counted import CountedNote
from ._photos import photo_set
from .image_set import ImageSet

EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)


@dataclass(frozen=True)
class _Files:
    """Image files under a folder."""

    folder: Path
    names: tuple[str, ...]  # relative, with forward slashes
    home: str = "folder"

    def open(self, index: int) -> BinaryIO:
        path = self.folder / self.names[index]
        # Opening a pipe would wait for ever, and reading some devices never ends.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("a device or a pipe, not a file")
        return path.open("rb")

    def shown(self, index: int) -> str:
        return str(self.folder / self.names[index])


@dataclass
class _Links:
    """What was met behind symbolic links, to be told."""

    root: str
    outside: list[str]
    loops: list[str]

    def notes(self, names: Sequence[str]) -> list[str]:
        said: list[str] = []
        if self.outside:
            out = set(self.outside)
            members = {i: plain(name) for i, name in enumerate(names) if name in out}
            said.append(CountedNote(members, len(names), "lie outside the folder, behind links"))
        if self.loops:
            said.append(
                "linked folders that lead back to one above them or met before were not followed "
                f"(such as '{plain(self.loops[0])}')"
            )
        return said


def image_folder(
    path: str | Path,
    canvas: int | Sequence[int] = 224,
    channels: int | None = 3,
    *,
    margin: float | None = None,
    skip_damaged: bool = False,
    workers: int = 0,
) -> ImageSet:
    """Return the photographs of a folder, decoded only when asked for, in natural name order.

    Images lie directly in the folder, or in one sub-folder per class (searched to any depth);
    then labels number the sub-folders in plain alphabetical order, as torchvision's ImageFolder,
    or are the folders' names where all of these are whole numbers ("7", "8", "9").
    Hidden entries and files without an image extension are left alone.

    Size: every photograph is shrunk (anti-aliased, bicubic) until its shorter side just covers the
    common source size, and its centre is cut out. That size is what rotations of the `canvas` by
    any angle need, or `margin` times the canvas, and never more than the smallest photograph of the
    set offers: photographs are enlarged only where they do not even cover the canvas. Both cases
    are told in `notes`; beyond the source the border is reflected.

    Pixels: EXIF orientation applied; first frame of several; transparency put on white; 16-bit grey
    by its full range; `channels` 3 repeats grey images, 1 takes the luma, None asks for one kind
    throughout.

    Damage: a file that cannot be decoded, or has more pixels than Pillow's MAX_IMAGE_PIXELS, is an
    error that names it. `skip_damaged` decodes all files once now and leaves such ones out; `notes`
    name them. Files that are missing or that the system cannot read are never left out.

    Symbolic links are followed, out of the folder too; linked folders that lead back to one above
    them, or were met before in the same class, are not. `notes` tell both.

    `workers` threads decode a batch; values and order do not depend on their number.

    Raises ProbeError for a folder that is missing, empty or mixes images with class sub-folders,
    or holds figures that this package drew, a file that cannot be read (damaged pixels: when its
    batch is asked for), and mixed channels.

    Convention: canvas and sizes are (rows, columns); the canvas is centred in the source.
    """
    folder = Path(path)
    links = _Links(os.path.realpath(folder), [], [])
    files, classes = _find(folder, links)
    labels, said = None, links.notes(files)
    if classes is not None:
        number = class_numbers(classes)
        labels = np.array([number[name.split("/")[0]] for name in files], dtype=np.int64)
        if list(number.values()) != list(range(len(classes))):
            values = sorted(number.values())
            some = ", ".join(map(str, values[:5])) + ", ..." * (len(values) > 5)
            said.append(f"labels are the numbers that the folders are called by ({some})")
        classes = tuple(sorted(classes, key=lambda name: number[name]))
    return photo_set(
        _Files(folder, tuple(files)),
        f"folder '{plain(str(folder))}'",
        f"folder {folder.resolve().name or folder}",
        canvas,
        channels,
        margin=margin,
        labels=labels,
        classes=classes,
        skip_damaged=skip_damaged,
        workers=workers,
        notes=said,
    )


def class_numbers(classes: Sequence[str]) -> dict[str, int]:
    """Return the label of each class: its place, or its value where all names are whole numbers.

    >>> class_numbers(["cat", "dog"]), class_numbers(["10", "7", "9"])
    ({'cat': 0, 'dog': 1}, {'10': 10, '7': 7, '9': 9})
    """
    if called_by_numbers(classes):
        return {name: int(name) for name in classes}
    return {name: i for i, name in enumerate(classes)}


def called_by_numbers(classes: Sequence[str]) -> bool:
    """Whether all names are whole numbers, no two the same."""
    if not all(re.fullmatch("[0-9]{1,18}", name) for name in classes):
        return False
    return len(set(map(int, classes))) == len(classes)


def natural_key(name: str) -> tuple[list[str], str]:
    """Return a sort key with numbers by value: img2 before img10; the name itself breaks ties."""
    parts = re.split(r"([0-9]+)", name.casefold())
    # By number of digits, then digits: thousands of them would take long to become a number.
    numbers = [part.lstrip("0") for part in parts[1::2]]
    parts[1::2] = [f"{len(number):05d} {number}" for number in numbers]
    return parts, name


def _file(path: Path) -> str:
    """What a file is where a folder was expected, and what to do."""
    if not path.is_file():
        return "no folder and no file; give a folder of images"
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        head = b""
    if head.startswith(b"PK"):
        return "a zip archive; unpack it and give the folder of images"
    if pictured(head):
        return "one image, not a folder; put it into a folder of its own and give that"
    return foreign(head, path.name) or "a file, not a folder; give the folder that holds it"


def _find(folder: Path, links: _Links) -> tuple[list[str], tuple[str, ...] | None]:
    """Return image files relative to the folder and, with sub-folders, the class names."""
    named = plain(str(folder))
    if not folder.exists():
        raise ProbeError(f"no folder '{named}'; check the path")
    if not folder.is_dir():
        raise ProbeError(f"'{named}' is {_file(folder)}")
    try:
        entries = sorted(e.name for e in folder.iterdir() if not e.name.startswith("."))
        below = [name for name in entries if (folder / name).is_dir()]
        flat = [name for name in entries if _is_image(name) and name not in below]
        nested = {name: sorted(_walk(folder, name, links), key=natural_key) for name in below}
    except OSError as error:
        raise ProbeError(
            f"folder '{named}' cannot be listed ({error.strerror}); check its permissions"
        ) from error
    images_below = [name for part in nested.values() for name in part]
    if flat and images_below:
        raise ProbeError(
            f"folder '{named}' holds images beside class sub-folders ('{plain(flat[0])}' and "
            f"'{plain(images_below[0])}'); give one of the sub-folders, or move the single images"
        )
    if not flat and not images_below:
        others = f"; it holds {plain(', '.join(entries[:3]))}" if entries else ""
        raise ProbeError(
            f"folder '{named}' holds no images{others}; "
            "give a folder of .jpg, .png or other image files"
        )
    if flat:
        _check_no_figures(folder, listed(folder / FILES) & set(flat))
        for name in flat:
            _note_link(folder / name, name, links)
        return sorted(flat, key=natural_key), None
    return sorted(images_below, key=natural_key), tuple(below)


def _check_no_figures(folder: Path, drawn: set[str]) -> None:
    """Refuse to measure figures that this package drew among the photographs."""
    if drawn:
        raise ProbeError(
            f"folder '{plain(str(folder))}' holds figures of a result ('{plain(min(drawn))}'), "
            "which would be measured with the photographs; move the result elsewhere"
        )


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


def _walk(folder: Path, top: str, links: _Links) -> Iterator[str]:
    """Yield image files under a sub-folder; linked folders are followed, each only once."""
    # A link to the folder itself, or to one above it, would put other classes into this one.
    above = Path(links.root)
    seen = {links.root, *map(str, above.parents)}
    drawn: set[str] = set()
    for place, below, names in os.walk(folder / top, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            links.loops.append(Path(place).relative_to(folder).as_posix())
            below.clear()
            continue
        seen.add(real)
        out = not Path(real).is_relative_to(above)
        if FILES in names:
            within = Path(place).relative_to(folder)
            drawn |= {(within / name).as_posix() for name in listed(Path(place) / FILES)}
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            if _is_image(name):
                path = Path(place) / name
                inside = path.relative_to(folder).as_posix()
                _check_no_figures(folder, drawn & {inside})
                if out:
                    links.outside.append(inside)
                else:
                    _note_link(path, inside, links)
                yield inside


def _note_link(path: Path, name: str, links: _Links) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(links.root):
        links.outside.append(name)
