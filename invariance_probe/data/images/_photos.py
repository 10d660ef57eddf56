"""Encoded photographs, from wherever their bytes come, as a set of one common size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ..decoding.photograph import Damaged, Header, plain, read_brightest, read_header, read_pixels
from ..decoding.workers import check_workers, in_order
from ..sizes import Size, as_size, fit_parity, rotation_reach, size_text
from ._counted import CountedNote
from ._depth import FAINT, depth_notes, faint_notes
from .image_set import ImageSet, with_border_note

if TYPE_CHECKING:
    from hashlib import _Hash

_NAMED = 50  # damaged images that a note names; beyond, it counts them
_LOOKED = 64  # images in which the largest value is looked for


class Store(Protocol):
    """Where encoded images lie: a folder or archives."""

    @property
    def home(self) -> str:
        """Return "folder" or "archive", for the remedy in a message."""
        ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def open(self, index: int) -> BinaryIO:
        """Return the seekable bytes of one image; OSError or ValueError where there are none."""
        ...

    def shown(self, index: int) -> str:
        """Return the place of an image, for messages."""
        ...


@dataclass(frozen=True, eq=False)
class PhotoSource:
    """Photographs of a store, decoded when they are asked for, by several threads."""

    store: Store
    size: Size
    channels: int
    workers: int = 0
    resizes: ClassVar = True

    def __len__(self) -> int:
        return len(self.store.names)

    def read(self, indices: Sequence[int]) -> Tensor:
        pixels = np.empty((len(indices), self.channels, *self.size), dtype=np.float32)

        def decode(row: int) -> None:
            found = self._pixels(indices[row])
            pixels[row] = found / np.float32(255) if found.dtype == np.uint8 else found

        in_order(decode, range(len(indices)), self.workers)
        return torch.from_numpy(pixels)

    def feed(self, digest: _Hash, index: int) -> None:
        try:
            with self.store.open(index) as stream:
                content = stream.read()
        except (OSError, ValueError) as error:
            detail = error.strerror if isinstance(error, OSError) else None
            raise ProbeError(
                f"'{plain(self.store.shown(index))}' cannot be read ({detail or error}); restore it"
            ) from error
        digest.update(str(len(content)).encode() + b"\0")
        digest.update(content)

    def _pixels(self, index: int) -> np.ndarray:
        store = self.store
        opener = partial(store.open, index)
        return read_pixels(opener, store.shown(index), self.size, self.channels, store.home)


def photo_set(
    store: Store,
    where: str,
    description: str,
    canvas: int | Sequence[int],
    channels: int | None,
    *,
    margin: float | None = None,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] | None = None,
    skip_damaged: bool = False,
    workers: int = 0,
    notes: Sequence[str] = (),
) -> ImageSet:
    """Return the photographs of a store on a common size; `image_folder` says how.

    `where` names the store in messages, such as "folder 'photos'". With `skip_damaged` every image
    is decoded once now, so that what is left out is known before anything is measured.
    """
    shown = as_size(canvas)
    if channels not in (None, 1, 3):
        raise ProbeError(f"channels={channels!r}; give 1, 3, or None for what the files hold")
    workers = check_workers(workers)
    wanted = _wanted(shown, margin)
    kept, headers, left_out = _headers(store, where, skip_damaged, workers)
    names = [plain(store.names[i]) for i in kept]
    kinds = [header.channels for header in headers]
    if channels is None:
        channels = _one_kind(names, kinds, where)
    size = _common_size(headers, wanted, shown)
    said = [*left_out, *notes, *_size_notes(kept, names, headers, wanted, size, shown)]
    said += _deep_notes(store, kept, headers, where, workers)
    said += _faint_notes(store, kept, headers, where)
    reduced = {i: n for i, n, h in zip(kept, names, headers, strict=True) if h.reduced}
    if reduced:
        text = "have 16 bits a channel with colour or transparency, of which the upper 8 are read"
        said.append(CountedNote(reduced, len(names), text))
    other = {i: name for i, name, k in zip(kept, names, kinds, strict=True) if k != channels}
    said += _turned(other, len(names), channels)
    return ImageSet(
        source=PhotoSource(store, size, channels, workers),
        indices=np.array(kept),
        names=tuple(names),
        labels=None if labels is None else labels[kept],
        channels=channels,
        source_size=size,
        canvas=shown,
        background="reflect",
        description=plain(description),
        notes=with_border_note(said, size, shown, "reflect"),
        classes=None if classes is None else tuple(map(plain, classes)),
    )  # fmt: skip


def in_channels(images: ImageSet, channels: int) -> ImageSet:
    """Return photographs that are all of one kind with another number of channels, 1 or 3.

    Raises ProbeError for any other number.
    """
    if not isinstance(images.source, PhotoSource) or images.channels == channels:
        return images
    if channels not in (1, 3):
        raise ProbeError(
            f"{images.description}: {images.channels} channels cannot become {channels}; only grey "
            "(1) and colour (3) convert to each other: give the images as an array, data.npy"
        )
    return replace(
        images,
        source=replace(images.source, channels=channels),
        channels=channels,
        notes=(
            *images.notes,
            *_turned(
                dict(zip(images.indices.tolist(), images.names, strict=True)), len(images), channels
            ),
        ),
    )


def _headers(
    store: Store, where: str, skip_damaged: bool, workers: int
) -> tuple[list[int], list[Header], list[str]]:
    """Return the images that are used, their headers, and the note on those that are not."""

    def look(index: int) -> Header | Damaged:
        opener, shown = partial(store.open, index), store.shown(index)
        if not skip_damaged:
            return read_header(opener, shown, store.home)
        try:
            header = read_header(opener, shown, store.home)
            read_pixels(opener, shown, (1, 1), 1, store.home)
        except Damaged as error:
            return error
        return header

    found = in_order(look, range(len(store.names)), workers)
    kept = [i for i, header in enumerate(found) if isinstance(header, Header)]
    bad = [(i, error) for i, error in enumerate(found) if isinstance(error, Damaged)]
    if bad and not kept:
        raise ProbeError(
            f"{where}: all {len(bad)} images are damaged (such as '{plain(store.names[0])}': "
            f"{bad[0][1].reason}); give others"
        )
    notes = []
    if bad:
        said = [f"'{plain(store.names[i])}' ({error.reason})" for i, error in bad[:_NAMED]]
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        notes.append(
            f"{len(bad)} of {len(found)} images are damaged and were left out: "
            f"{', '.join(said)}{more}"
        )
    return kept, [header for header in found if isinstance(header, Header)], notes


def _one_kind(names: Sequence[str], kinds: Sequence[int], where: str) -> int:
    count = Counter(kinds)
    if len(count) > 1:
        grey, colour = names[kinds.index(1)], names[kinds.index(3)]
        raise ProbeError(
            f"{where} mixes {count[1]} grey images (such as '{grey}') and {count[3]} "
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


def _size_notes(
    kept: Sequence[int],
    names: Sequence[str],
    headers: Sequence[Header],
    wanted: Size,
    size: Size,
    canvas: Size,
) -> list[str]:
    notes: list[str] = []
    small = {
        index: name
        for index, name, header in zip(kept, names, headers, strict=True)
        if header.size[0] < canvas[0] or header.size[1] < canvas[1]
    }
    if small:
        text = f"are smaller than {size_text(canvas)} and were enlarged"
        notes.append(CountedNote(small, len(names), text))
    if size != wanted:
        least = min(range(len(names)), key=lambda i: min(headers[i].size))
        notes.append(
            f"the source is {size_text(size)} instead of {size_text(wanted)} because the smallest "
            f"image is {size_text(headers[least].size)} ('{names[least]}')"
        )
    return notes


def _deep_notes(
    store: Store, kept: Sequence[int], headers: Sequence[Header], where: str, workers: int
) -> list[str]:
    """Return the note on grey images of 16 bits that do not use them; some are decoded for it."""
    deep = [index for index, header in zip(kept, headers, strict=True) if header.deep]
    if not deep:
        return []
    looked = _some(deep)
    most = max(in_order(partial(_brightest, store), looked, workers))
    some = f" (in {len(looked)} of {len(deep)} looked at)" if len(looked) < len(deep) else ""
    return depth_notes(most, f"{where}: ", some)


def _faint_notes(
    store: Store, kept: Sequence[int], headers: Sequence[Header], where: str
) -> list[str]:
    """Return the note on images of 8 bits that are all but black, such as masks of 0 and 1.

    They are decoded until one is met that is not, which mostly is the first.
    """
    shallow = [index for index, header in zip(kept, headers, strict=True) if not header.deep]
    most = 0
    for index in _some(shallow):
        most = max(most, _brightest(store, index))
        if most > FAINT:
            break
    return faint_notes(most, f"{where}: ")


def _some(indices: list[int]) -> list[int]:
    """At most so many of the images as are looked at, from all over them."""
    return indices[:: max(1, -(-len(indices) // _LOOKED))]


def _brightest(store: Store, index: int) -> int:
    try:
        return read_brightest(partial(store.open, index), store.shown(index), store.home)
    except Damaged:  # told when the image is asked for
        return 0


def _turned(other: dict[int, str], count: int, channels: int) -> list[str]:
    """Return the note on images whose kind was changed, if any."""
    if not other:
        return []
    done = "grey and were repeated to 3 channels" if channels == 3 else "in colour, turned grey"
    return [CountedNote(other, count, f"are {done}")]


__all__ = ["PhotoSource", "Store", "in_channels", "photo_set"]
