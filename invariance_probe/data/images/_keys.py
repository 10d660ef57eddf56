"""Which array of a file holds the images, which the labels, and where its axes are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...errors import ProbeError
from ..decoding.photograph import plain

Shape = tuple[int, ...]

_IMAGES = ("images", "image", "x", "data", "arr_0")
_LABELS = ("labels", "label", "y", "targets", "target")
_CHANNELS = (1, 3, 4)
WIDEST = 4  # channels; no image has so few columns


@dataclass(frozen=True)
class Layout:
    """How an array holds images: (N, H, W), (N, C, H, W) or, with `last`, (N, H, W, C)."""

    shape: Shape  # (N, C, H, W), as it is handed out
    grey: bool  # no axis of channels
    last: bool

    def first(self, block: np.ndarray) -> np.ndarray:
        """Return a block of the file as (n, C, H, W)."""
        if self.grey:
            return block[:, None]
        return block.transpose(0, 3, 1, 2) if self.last else block


def layout_of(shape: Shape, where: str) -> Layout:
    """Return where the axes are; ProbeError, naming the array as `where`, for other shapes."""
    check_several(shape, f"{where} has shape {shape}")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ProbeError(
            f"{where} has shape {shape}; images are (N, H, W), (N, C, H, W) or (N, H, W, C)"
        )
    grey = len(shape) == 3
    few = not grey and (shape[3] in _CHANNELS or shape[3] <= WIDEST < shape[1])
    last = few and shape[1] not in _CHANNELS
    if grey:
        whole = (shape[0], 1, *shape[1:])
    else:
        whole = (shape[0], shape[3], shape[1], shape[2]) if last else shape
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and whole[2] * whole[3] > most:
        raise ProbeError(
            f"{where} declares images of {whole[2]}x{whole[3]} pixels, more than the limit of "
            f"{most}; give smaller images"
        )
    return Layout(whole, grey, last)


def check_several(shape: Sequence[int], where: str) -> None:
    """Refuse the shape (H, W, C) of a single image, whose rows would count as images."""
    if len(shape) == 3 and 0 < shape[2] <= WIDEST < shape[1]:
        raise ProbeError(
            f"{where}: that is one image, not a set; give several as (N, H, W), (N, C, H, W) or "
            "(N, H, W, C)"
        )


def choose(key: str | None, shapes: Mapping[str, Shape], shown: str) -> str:
    """Return the key of the images: the one that was asked for, or the only one that can be it."""
    listed = ", ".join(f"{plain(name)} {shape}" for name, shape in list(shapes.items())[:8])
    if key is not None:
        if key in shapes:
            return key
        near = difflib.get_close_matches(key, shapes, n=1)
        hint = f"; did you mean '{plain(near[0])}'?" if near else ""
        raise ProbeError(
            f"'{shown}' has no array '{plain(key)}'{hint or f'; it holds {listed or None}'}"
        )
    fitting = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
    usual = [name for name in fitting if _last(name) in _IMAGES]
    if len(found := fitting if len(fitting) == 1 else usual) == 1:
        return found[0]
    example = next(iter(fitting), None)
    if example is None:
        raise ProbeError(f"'{shown}' holds no array of images; it holds {listed or 'nothing'}")
    raise ProbeError(
        f"'{shown}' holds several arrays of images ({listed}); choose one as "
        f"'{shown}:{plain(example)}'"
    )


def labels_key(images: str, count: int, shapes: Mapping[str, Shape]) -> str | None:
    """Return the key of the labels that go with images: x_test has y_test, images has labels."""
    place, _, name = images.rpartition("/")
    pairs = [("images", "labels"), ("image", "label"), ("data", "labels"), ("data", "targets")]
    wanted = [name.lower().replace(a, b) for a, b in pairs if a in name.lower()]
    if name.lower() == "x" or name.lower().startswith("x_"):
        wanted.append("y" + name.lower()[1:])
    if not {"train", "test", "val"} & set(name.lower().split("_")):
        wanted += _LABELS
    for want in wanted:
        for key, shape in shapes.items():
            there, _, last = key.rpartition("/")
            if there == place and last.lower() == want and shape in ((count,), (count, 1)):
                return key
    return None


def _last(name: str) -> str:
    return name.rpartition("/")[2].lower()
