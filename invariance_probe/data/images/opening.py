"""Images by a path, whose ending says how they are stored."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..._foreign import address
from ...errors import ProbeError
from ..decoding.photograph import plain
from ._photos import in_channels
from .arrays import array_images
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


AnyImages = ImageSet | Tensor | np.ndarray[Any, Any] | str | Path | Dataset[Any] | DataLoader[Any]
"""What `as_images` takes."""


def as_images(
    images: AnyImages, canvas: Sequence[int] | None = None, channels: int | None = None
) -> ImageSet:
    """Return what holds images as an `ImageSet`: one of these, an array, a path, a torch data set.

    `canvas` and `channels` are what a network takes: without a canvas no path is opened, since the
    size that photographs are cut to is part of the measurement. A torch `Dataset` gives (C, H, W)
    tensors of bytes or in [0, 1], or Pillow images, all of one size, alone or as (image, label);
    all are read into memory. Of a `DataLoader` it is the data set, in its own order.

    Raises ProbeError as `open_images` and `array_images`, for a path without a canvas, for items of
    different sizes or kinds, and for anything else.
    """
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | Path):
        if canvas is None:
            raise ProbeError(
                f"images {str(images)!r}: the network does not say what size it takes; give "
                "open_images(path, canvas), or the network that build_network returns"
            )
        return open_images(images, tuple(canvas), become=channels)
    held: Any = images.dataset if isinstance(images, DataLoader) else images
    if not isinstance(held, np.ndarray | Tensor) and hasattr(held, "__getitem__"):
        if not hasattr(held, "__len__"):
            raise ProbeError(f"a {type(held).__name__} has no length; give a data set that has one")
        return _of_dataset(held)
    return array_images(held)


def _of_dataset(held: Any) -> ImageSet:
    pixels: list[np.ndarray[Any, Any]] = []
    labels: list[Any] = []
    for index in range(len(held)):
        item = held[index]
        parts = item if isinstance(item, tuple | list) and len(item) in (1, 2) else (item,)
        image = parts[0]
        if isinstance(image, Image.Image):
            if image.mode not in ("L", "RGB"):
                raise ProbeError(
                    f"image {index} of the data set is a Pillow image of mode {image.mode}; "
                    'convert it to "RGB" or "L"'
                )
            values = np.moveaxis(np.atleast_3d(np.asarray(image)), -1, 0)
        else:
            values = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image)
        if pixels and (values.shape, values.dtype) != (pixels[0].shape, pixels[0].dtype):
            raise ProbeError(
                f"image {index} of the data set is {values.dtype} of shape {values.shape}, the "
                f"first {pixels[0].dtype} of {pixels[0].shape}; give images of one kind and size"
            )
        pixels.append(values)
        labels.append(parts[1] if len(parts) == 2 else None)
    if not pixels:
        raise ProbeError("the data set is empty; give one that holds images")
    known = all(isinstance(label, int | np.integer | Tensor) for label in labels)
    return array_images(
        np.stack(pixels), labels=[int(label) for label in labels] if known else None,
        description=f"{type(held).__name__} of {len(pixels)} images",
    )  # fmt: skip


__all__ = ["AnyImages", "as_images", "is_stored", "open_images"]
