"""The digits that ship with the package: the whole MNIST test set, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..decoding.idx import read_idx
from .arrays import array_images
from .image_set import ImageSet

FILES = Path(__file__).parents[1] / "files"
IMAGES = "t10k-images-idx3-ubyte.gz"
LABELS = "t10k-labels-idx1-ubyte.gz"


@lru_cache(maxsize=1)
def _load() -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(FILES / IMAGES, dimensions=3, dtype="uint8")
    labels = read_idx(FILES / LABELS, dimensions=1, dtype="uint8")
    return images, labels


def embedded_digits(
    number: int | None = None,
    seed: int | None = None,
    *,
    canvas: int | Sequence[int] | None = None,
    channels: int = 1,
) -> ImageSet:
    """Return MNIST test digits (28x28, white on black) with their labels, from the package itself.

    All 10,000 by default; `number` takes the first ones, or a seeded draw. No classifier of this
    package was trained on them. The background is 0. `canvas` and `channels` as in `array_images`.
    Origin and licence: the file ORIGIN.txt beside the data.

    >>> digits = embedded_digits(4)
    >>> digits.batch([0, 1]).shape, digits.labels.tolist()
    (torch.Size([2, 1, 28, 28]), [7, 2, 1, 0])
    """
    images, labels = _load()
    digits = array_images(
        images,
        canvas,
        channels=channels,
        background=0.0,
        labels=labels,
        names=[f"t10k-{i:05d}" for i in range(len(images))],
        classes=[str(d) for d in range(10)],
        description="MNIST test digits",
    )
    return digits if number is None else digits.take(number, seed)
