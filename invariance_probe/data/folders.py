"""Folders of photographs: flat, or one sub-folder per class."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError
from ._decode import Header, read_header, read_pixels
from ._sizes import Size, as_size, fit_parity, rotation_reach, size_text
from .images import ImageSet, with_border_note

if TYPE_CHECKING:
    from hashlib import _Hash

EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jpeg", "jpg"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)


@dataclass(frozen=True, eq=False)
class _FileSource:
    """Image files, decoded when they are asked for."""

    folder: Path
    files: tuple[str, ...]  # relative, with forward slashes
    size: Size
    channels: int

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int]) -> Tensor:
        pixels = np.empty((len(indices), self.channels, *self.size), dtype=np.uint8)
        for row, index in enumerate(indices):
            path = self.folder / self.files[index]
            pixels[row] = read_pixels(path, str(path), self.size, self.channels)
        return torch.from_numpy(pixels).to(torch.float32) / 255

    def feed(self, digest: _Hash, index: int) -> None:
        path = self.folder / self.files[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ProbeError(f"'{path}' cannot be read ({error.strerror}); restore it") from error
        digest.update(str(len(content)).encode() + b"\0")
        digest.update(content)


def image_folder(
    path: str | Path,
    canvas: int | Sequence[int] = 224,
    channels: int | None = 3,
    *,
    margin: float | None = None,
) -> ImageSet:
    """Return the photographs of a folder, decoded only when asked for, in natural name order.

    Images lie directly in the folder, or in one sub-folder per class (searched to any depth);
    then labels number the sub-folders in plain alphabetical order, as torchvision's ImageFolder.
    Hidden entries and files without an image extension are left alone.

    Size: every photograph is shrunk (anti-aliased, bicubic) until its shorter side just covers the
    common source size, and its centre is cut out. That size is what rotations of the `canvas` by
    any angle need, or `margin` times the canvas, and never more than the smallest photograph of the
    set offers: photographs are enlarged only where they do not even cover the canvas. Both cases
    are told in `notes`; beyond the source the border is reflected.

    Pixels: EXIF orientation applied; first frame of several; transparency put on white; 16-bit grey
    by its full range; `channels` 3 repeats grey images, 1 takes the luma, None asks for one kind
    throughout.

    Raises ProbeError for a folder that is missing, empty or mixes images with class sub-folders, a
    file that cannot be read (damaged pixels: when its batch is asked for), and mixed channels.

    Convention: canvas and sizes are (rows, columns); the canvas is centred in the source.
    """
    folder = Path(path)
    shown = as_size(canvas)
    if channels not in (None, 1, 3):
        raise ProbeError(f"channels={channels!r}; give 1, 3, or None for what the files hold")
    files, classes = _find(folder)
    headers = [read_header(folder / name, str(folder / name)) for name in files]
    kinds = [header.channels for header in headers]
    if channels is None:
        channels = _one_kind(files, kinds, folder)
    wanted = _wanted(shown, margin)
    size = _common_size(headers, wanted, shown)
    notes = _notes(files, headers, wanted, size, shown, channels)
    labels = None
    if classes is not None:
        number = {name: i for i, name in enumerate(classes)}
        labels = np.array([number[name.split("/")[0]] for name in files], dtype=np.int64)
    return ImageSet(
        source=_FileSource(folder, tuple(files), size, channels),
        indices=np.arange(len(files)),
        names=tuple(files),
        labels=labels,
        channels=channels,
        source_size=size,
        canvas=shown,
        background="reflect",
        description=f"folder {folder.resolve().name or folder}",
        notes=with_border_note(notes, size, shown, "reflect"),
        classes=classes,
    )


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key with numbers by value: img2 before img10; the name itself breaks ties."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _find(folder: Path) -> tuple[list[str], tuple[str, ...] | None]:
    """Return image files relative to the folder and, with sub-folders, the class names."""
    if not folder.exists():
        raise ProbeError(f"no folder '{folder}'; check the path")
    if not folder.is_dir():
        raise ProbeError(f"'{folder}' is a file, not a folder; give the folder that holds it")
    try:
        entries = sorted(e.name for e in folder.iterdir() if not e.name.startswith("."))
        below = [name for name in entries if (folder / name).is_dir()]
        flat = [name for name in entries if _is_image(name) and name not in below]
        nested = {name: sorted(_walk(folder, name), key=natural_key) for name in below}
    except OSError as error:
        raise ProbeError(
            f"folder '{folder}' cannot be listed ({error.strerror}); check its permissions"
        ) from error
    images_below = [name for part in nested.values() for name in part]
    if flat and images_below:
        raise ProbeError(
            f"folder '{folder}' holds images beside class sub-folders ('{flat[0]}' and "
            f"'{images_below[0]}'); give one of the sub-folders, or move the single images"
        )
    if not flat and not images_below:
        others = f"; it holds {', '.join(entries[:3])}" if entries else ""
        raise ProbeError(
            f"folder '{folder}' holds no images{others}; "
            "give a folder of .jpg, .png or other image files"
        )
    if flat:
        return sorted(flat, key=natural_key), None
    return sorted(images_below, key=natural_key), tuple(below)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


def _walk(folder: Path, top: str) -> Iterator[str]:
    """Yield image files under a sub-folder; linked folders are followed, each only once."""
    seen: set[str] = set()
    for place, below, names in os.walk(folder / top, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            if _is_image(name):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _one_kind(files: Sequence[str], kinds: Sequence[int], folder: Path) -> int:
    count = Counter(kinds)
    if len(count) > 1:
        grey, colour = files[kinds.index(1)], files[kinds.index(3)]
        raise ProbeError(
            f"folder '{folder}' mixes {count[1]} grey images (such as '{grey}') and {count[3]} "
            f"colour images (such as '{colour}'); "
            "give channels=3 to repeat the grey ones, or channels=1 to turn all grey"
        )
    return kinds[0]


def _wanted(canvas: Size, margin: float | None) -> Size:
    if margin is None:
        return rotation_reach(canvas)
    if not 1 <= margin < float("inf"):
        raise ProbeError(f"margin={margin!r}; give the source side over the canvas side, >= 1")
    rows, columns = (fit_parity(round(margin * side) + 1, side) for side in canvas)
    return (rows, columns) if margin > 1 else canvas


def _common_size(headers: Sequence[Header], wanted: Size, canvas: Size) -> Size:
    """Return the wanted size, shrunk until no photograph must be enlarged, at least the canvas."""
    part = min(
        1.0,
        *(header.size[0] / wanted[0] for header in headers),
        *(header.size[1] / wanted[1] for header in headers),
    )
    # The small addition keeps rounding from turning 50 / 66 * 66 into 49.
    rows, columns = (int(part * side + 1e-6) for side in wanted)
    return fit_parity(rows, canvas[0]), fit_parity(columns, canvas[1])


def _notes(
    files: Sequence[str],
    headers: Sequence[Header],
    wanted: Size,
    size: Size,
    canvas: Size,
    channels: int,
) -> list[str]:
    notes = []
    small = [
        name
        for name, header in zip(files, headers, strict=True)
        if header.size[0] < canvas[0] or header.size[1] < canvas[1]
    ]
    if small:
        notes.append(
            f"{len(small)} of {len(files)} images are smaller than {size_text(canvas)} and were "
            f"enlarged (such as '{small[0]}')"
        )
    if size != wanted:
        least = min(range(len(files)), key=lambda i: min(headers[i].size))
        notes.append(
            f"the source is {size_text(size)} instead of {size_text(wanted)} because the smallest "
            f"image is {size_text(headers[least].size)} ('{files[least]}')"
        )
    other = [name for name, h in zip(files, headers, strict=True) if h.channels != channels]
    if other:
        done = "grey and were repeated to 3 channels" if channels == 3 else "in colour, turned grey"
        notes.append(f"{len(other)} of {len(files)} images are {done} (such as '{other[0]}')")
    return notes
