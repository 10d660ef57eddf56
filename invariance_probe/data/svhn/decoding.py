"""The crops of a part of SVHN, decoded once and then kept in one file."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import ProbeError
from ..decoding.photograph import damage
from ..examples.fixed import channel_statistics
from .crops import SIDE, number_crop
from .digit_struct import Entry, Progress, read_digit_struct
from .parts import STRUCT, Archive, Part, find_part, missing_part

LONGEST = 5
NO_DIGIT = 10

_KIND = "invariance_probe SVHN crops 1"
_TOGETHER = 256  # pictures in memory at a time


@dataclass(frozen=True, eq=False)
class Crops:
    """The numbers of a part: (N, 3, 64, 64) uint8 and (N, 5) uint8, 10 where no digit is.

    `key` names the content they come from, `left_out` counts the numbers of more than five digits;
    `mean` and `std` are per channel, of pixels in [0, 1].
    """

    images: Tensor
    labels: Tensor
    key: str
    left_out: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load_crops(root: Path, name: str, cache: Path, progress: Progress | None) -> Crops:
    """Return the crops of a part, from the file kept in `cache`, which is written if need be.

    The file is found by the hash of the archive; where the archive is gone, a single kept file
    serves. Raises ProbeError where there is neither, for damaged data, and for a cache folder that
    cannot be written (before anything is decoded).
    """
    part = find_part(root, name)
    if part is None:
        kept = sorted(cache.glob(f"svhn-{name}-*.safetensors"))
        crops = _read(kept[0], None) if len(kept) == 1 else None
        if crops is None:
            raise missing_part(root, name)
        return crops
    key = part.key()
    file = cache / f"svhn-{name}-{key[:16]}.safetensors"
    crops = _read(file, key)
    if crops is None:
        with _beside(file) as draft:
            _write(draft, _decode(part, name, key, progress))
        crops = _read(file, key)
    if crops is None:
        raise ProbeError(f"'{file}' cannot be read back; give cache=, a folder on another disk")
    return crops


def _read(file: Path, key: str | None) -> Crops | None:
    """Return what a file holds, memory-mapped; None where it is not there or not right."""
    if not file.is_file():  # opening a pipe would wait for ever
        return None
    try:
        with safe_open(file, framework="pt") as stream:
            notes = stream.metadata() or {}
            if notes.get("kind") != _KIND or key not in (None, notes.get("key")):
                return None
            return Crops(
                images=stream.get_tensor("images"),
                labels=stream.get_tensor("labels"),
                key=notes["key"],
                left_out=int(notes["left_out"]),
                mean=tuple(json.loads(notes["mean"])),
                std=tuple(json.loads(notes["std"])),
            )
    except (OSError, SafetensorError):
        return None


def _write(draft: Path, crops: Crops) -> None:
    notes = {
        "kind": _KIND,
        "key": crops.key,
        "left_out": str(crops.left_out),
        "mean": json.dumps(crops.mean),
        "std": json.dumps(crops.std),
    }
    save_file({"images": crops.images, "labels": crops.labels}, draft, metadata=notes)


@contextlib.contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """Give a file to write that takes the place of `file` when all went well."""
    # Several processes of one training may decode at once: each writes its own draft.
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.touch()  # decoding takes minutes; a folder that refuses is told before
            yield draft
            os.replace(draft, file)
        except (OSError, SafetensorError) as error:
            raise ProbeError(
                f"cannot write '{file}' ({getattr(error, 'strerror', None) or error}); "
                "give cache=, a folder with room and rights"
            ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _decode(part: Part, name: str, key: str, progress: Progress | None) -> Crops:
    held = f"{part.shown}:{STRUCT}" if isinstance(part, Archive) else str(part.path / STRUCT)
    entries = read_digit_struct(part.struct(), held, progress)
    used = [entry for entry in entries if len(entry.digits) <= LONGEST]
    rows = {entry.name: row for row, entry in enumerate(used)}
    if len(rows) < len(used) or not used:
        raise ProbeError(f"'{held}' lists no pictures, or one twice; fetch it again")
    images = np.empty((len(used), 3, SIDE, SIDE), dtype=np.uint8)
    there = np.zeros(len(used), dtype=bool)

    def place(picture: tuple[str, bytes]) -> None:
        row = rows[picture[0]]
        images[row] = _crop(part, used[row], picture[1])
        there[row] = True

    # Pillow decodes without holding the interpreter, so threads share the work.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as workers:
        for pictures in _chunks(part.pictures(rows), _TOGETHER):
            for _ in workers.map(place, pictures):
                pass
            if progress is not None:
                progress(int(there.sum()), len(used), f"decoding SVHN {name}")
    if not there.all():
        first = used[int(np.argmin(there))].name
        raise ProbeError(
            f"'{part.shown}' lacks {int((~there).sum())} of the {len(used)} pictures that "
            f"{STRUCT} lists (such as '{first}'); fetch it again"
        )
    labels = torch.full((len(used), LONGEST), NO_DIGIT, dtype=torch.uint8)
    for row, entry in enumerate(used):
        labels[row, : len(entry.digits)] = torch.tensor(entry.digits, dtype=torch.uint8)
    pixels = torch.from_numpy(images)
    return Crops(pixels, labels, key, len(entries) - len(used), *channel_statistics(pixels))


def _crop(part: Part, entry: Entry, content: bytes) -> np.ndarray:
    try:
        return number_crop(content, entry.boxes)
    except MemoryError:
        raise
    except Exception as error:
        raise ProbeError(
            f"'{entry.name}' of '{part.shown}' cannot be read ({damage(error)}); fetch it again"
        ) from error


def _chunks(pictures: Iterable[tuple[str, bytes]], count: int) -> Iterator[list[tuple[str, bytes]]]:
    iterator = iter(pictures)
    while chunk := list(itertools.islice(iterator, count)):
        yield chunk
