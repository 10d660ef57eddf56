"""Images by a path, whose ending says how they are stored."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..._foreign import address
from ...errors import ProbeError
from ..decoding.photograph import plain
from ._photos import in_channels
from .folders import image_folder
from .hdf5 import hdf5_images
from .image_set import ImageSet
from .npz import npz_images
from .shards import shard_images

_ENDING = re.compile(
    r"(?P<path>.*\.(?P<kind>npz|npy|h5|hdf5|tar|tgz|tar\.\w+))(?::(?P<key>.+))?",
    re.IGNORECASE | re.DOTALL,
)


def is_stored(text: str) -> bool:
    """Say whether a text is a path of images rather than the name of a data set."""
    if os.path.exists(text) or "/" in text or "\\" in text or text.startswith("."):
        return True
    return _ENDING.fullmatch(text) is not None


def open_images(
    path: str | Path,
    canvas: int | Sequence[int] = 224,
    channels: int | None = None,
    *,
    become: int | None = None,
    skip_damaged: bool = False,
    workers: int = 0,
) -> ImageSet:
    """Return the images of a folder, or of a file by its ending, on a canvas.

    data.npz:KEY, data.npy, data.h5:/DATASET, shards-{000..003}.tar:ENTRY; key, dataset and entry
    may be left out where only one fits. `channels` as in `image_folder`; left out, photographs must
    be of one kind. `become` is the number of channels they are then turned into. `skip_damaged`
    and `workers` are for encoded photographs.

    Raises ProbeError as `image_folder`, `npz_images`, `hdf5_images` and `shard_images`.
    """
    text = str(path)
    if said := address(text):
        raise ProbeError(f"images {said}")
    found = None if Path(text).is_dir() else _ENDING.fullmatch(text)
    kind = "" if found is None else found["kind"].lower()
    if found is not None and kind in ("npz", "npy", "h5", "hdf5"):
        read = npz_images if kind.startswith("np") else hdf5_images
        wanted = become if channels is None else channels
        return read(found["path"], found["key"], canvas, channels=wanted)
    if kind not in ("", "tar"):
        raise ProbeError(
            f"'{plain(text)}' is compressed, and images are read from it in any order; "
            "unpack it to a plain .tar"
        )
    if found is not None:
        images = shard_images(
            found["path"], found["key"], canvas, channels,
            skip_damaged=skip_damaged, workers=workers,
        )  # fmt: skip
    else:
        images = image_folder(text, canvas, channels, skip_damaged=skip_damaged, workers=workers)
    return images if become is None or channels is not None else in_channels(images, become)


__all__ = ["is_stored", "open_images"]
