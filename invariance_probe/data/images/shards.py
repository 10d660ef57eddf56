"""Images in tar archives, in the layout of WebDataset; nothing is ever extracted to the disk."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import ProbeError
from ..decoding.photograph import plain
from ..decoding.tar import Member, Piece, members_of
from ._photos import photo_set
from .folders import EXTENSIONS, natural_key
from .image_set import ImageSet

_MOST_SHARDS = 100_000
_LONGEST_LABEL, _LONGEST_JSON = 64, 1 << 20
_JSON_LABELS = ("cls", "label")


@dataclass(frozen=True)
class _Members:
    """Image files inside archives."""

    members: tuple[Member, ...]
    names: tuple[str, ...]
    home: str = "archive"

    def open(self, index: int) -> BinaryIO:
        return io.BufferedReader(Piece(self.members[index]))

    def shown(self, index: int) -> str:
        member = self.members[index]
        return f"{member.shard}:{member.name}"


def shard_images(
    path: str | Path,
    entry: str | None = None,
    canvas: int | Sequence[int] = 224,
    channels: int | None = 3,
    *,
    margin: float | None = None,
    skip_damaged: bool = False,
    workers: int = 0,
) -> ImageSet:
    """Return the photographs of tar archives, read where they lie, in natural name order.

    `path` is one archive or several, as shards-{000..003}.tar or a-{x,y}.tar. Files whose names
    agree up to the first dot belong together: an image, and its label in .cls (a whole number) or
    .json ({"cls": n} or {"label": n}). `entry` chooses the image ("jpg", "left.png") where there
    are several. Names are archive/name. Everything else as in `image_folder`.

    Raises ProbeError for compressed or damaged archives, for links, devices and paths that lead
    out of the archive, for names that occur twice, and where only some images have a label.
    """
    members: list[Member] = []
    shards = expand_braces(str(path))
    for shard in shards:
        members += members_of(Path(shard))
    samples = _samples(members, entry, plain(str(path)))
    labels = _labels(samples)
    named: dict[str, str] = {}
    for shard in shards:
        stem = Path(shard).stem
        if stem in named:
            raise ProbeError(
                f"'{plain(named[stem])}' and '{plain(shard)}' have the same name; rename one"
            )
        named[stem] = shard
    images = tuple(sample.image for sample in samples)
    names = tuple(f"{m.shard.stem}/{m.name}" for m in images)
    order = sorted(range(len(names)), key=lambda i: natural_key(names[i]))
    return photo_set(
        _Members(tuple(images[i] for i in order), tuple(names[i] for i in order)),
        f"'{plain(str(path))}'",
        Path(path).name,
        canvas,
        channels,
        margin=margin,
        labels=None if labels is None else labels[order],
        skip_damaged=skip_damaged,
        workers=workers,
    )


def expand_braces(text: str) -> list[str]:
    """Return the texts that {000..003} and {a,b} stand for.

    >>> expand_braces("s-{08..10}.tar")
    ['s-08.tar', 's-09.tar', 's-10.tar']
    """
    parts: list[list[str]] = []
    total = 1
    for piece in re.split(r"(\{[^{}]*\})", text):
        if span := re.fullmatch(r"\{([0-9]{1,18})\.\.([0-9]{1,18})\}", piece):
            first, last = int(span[1]), int(span[2])
            number = last - first + 1
            if not 1 <= number <= _MOST_SHARDS:
                raise ProbeError(
                    f"'{plain(text)}': {piece} stands for {number} archives; give from 1 to "
                    f"{_MOST_SHARDS:,}"
                )
            width = len(span[1])
            parts.append([f"{n:0{width}d}" for n in range(first, last + 1)])
        elif piece.startswith("{") and "," in piece:
            parts.append(piece[1:-1].split(","))
        else:
            parts.append([piece])
        total *= len(parts[-1])
        if total > _MOST_SHARDS:
            raise ProbeError(f"'{plain(text)}' stands for more than {_MOST_SHARDS:,} archives")
    return ["".join(chosen) for chosen in itertools.product(*parts)]


@dataclass(frozen=True)
class _Sample:
    image: Member
    labels: dict[str, Member]


def _samples(members: Sequence[Member], entry: str | None, shown: str) -> list[_Sample]:
    """Return one image each with the files that belong to it, in the order of the archives."""
    images: dict[tuple[Path, str], dict[str, Member]] = {}
    beside: dict[tuple[Path, str], dict[str, Member]] = {}
    for member in members:
        place, slash, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        if not stem:  # hidden
            continue
        key, kind = (member.shard, f"{place}{slash}{stem}"), ending.lower()
        if kind in ("cls", "json"):
            beside.setdefault(key, {})[kind] = member
        elif f".{kind.rpartition('.')[2]}" in EXTENSIONS and entry in (None, kind):
            images.setdefault(key, {})[kind] = member
    for found in images.values():
        if len(found) > 1:
            one, other = (plain(kind) for kind in list(found)[:2])
            name = plain(next(iter(found.values())).name)
            raise ProbeError(
                f"'{shown}' holds several images of one name ('{name}', {one} and {other}); "
                f"choose one as '{shown}:{one}'"
            )
    if not images:
        what = "images" if entry is None else f"images .{plain(entry)}"
        raise ProbeError(f"'{shown}' holds no {what}; give an archive of .jpg, .png or the like")
    return [
        _Sample(next(iter(found.values())), beside.get(key, {})) for key, found in images.items()
    ]


def _labels(samples: Sequence[_Sample]) -> np.ndarray | None:
    read = [_label(sample) for sample in samples]
    with_label = [label is not None for label in read]
    if not any(with_label):
        return None
    if not all(with_label):
        image = samples[with_label.index(False)].image
        raise ProbeError(
            f"'{plain(str(image.shard))}:{plain(image.name)}' has no label and others have; "
            "add its .cls file"
        )
    return np.array(read, dtype=np.int64)


def _label(sample: _Sample) -> int | None:
    """Return the label of a .cls, or of a .json that has one."""
    if (member := sample.labels.get("cls")) is not None:
        text = _content(member, _LONGEST_LABEL).decode("ascii", "replace").strip()
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise _no_label(member)
        return int(text)
    if (member := sample.labels.get("json")) is None:
        return None
    try:
        values = json.loads(_content(member, _LONGEST_JSON))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ProbeError):
            raise
        raise _no_label(member) from error
    if not isinstance(values, dict):
        return None
    named = [values[name] for name in _JSON_LABELS if name in values]
    if not named:
        return None
    if not isinstance(named[0], int) or isinstance(named[0], bool) or abs(named[0]) >= 10**18:
        raise _no_label(member)
    return named[0]


def _content(member: Member, most: int) -> bytes:
    if member.size > most:
        raise _no_label(member)
    with io.BufferedReader(Piece(member)) as stream:
        return stream.read()


def _no_label(member: Member) -> ProbeError:
    return ProbeError(
        f"'{plain(str(member.shard))}:{plain(member.name)}' is no label; give a whole number"
    )


__all__ = ["expand_braces", "shard_images"]
