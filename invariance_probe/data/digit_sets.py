"""MNIST and the sets in its format, upright or distorted, as labelled examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ProbeError
from .distortions import VARIANTS, AddedDigits, DistortedDigits, measured_normalisation
from .examples.examples import Examples
from .examples.upright import measured_statistics, upright_examples
from .images.arrays import array_images
from .images.digits import embedded_digits
from .images.image_set import ImageSet
from .images.torchvision import torchvision_images
from .sizes import Size, size_text

_Values = tuple[float, ...]
_MNIST: tuple[_Values, _Values] = ((0.1307,), (0.3081,))
_EMBEDDED = 8_000  # of the 10,000 digits of the package: these train, the last ones test
_ADDITION = "mnist-addition"
_DEBIAN = "apt-get install dataset-fashion-mnist"


@dataclass(frozen=True)
class _Family:
    """Data sets in the format of MNIST: how they are called, and torchvision's class."""

    title: str
    of_torchvision: str


_FAMILIES = {
    "mnist": _Family("MNIST", "MNIST"),
    "fashion": _Family("Fashion-MNIST", "FashionMNIST"),
    "kmnist": _Family("KMNIST", "KMNIST"),
}


def digit_set_names() -> tuple[str, ...]:
    """Return the names that `digit_examples` knows."""
    names = [f for family in _FAMILIES for f in (family, *(f"{family}-{v}" for v in VARIANTS))]
    return (*names, _ADDITION)


def digit_examples(
    name: str, root: str | Path | None, train: bool, number: int | None, seed: int | None
) -> Examples:
    """Return a part of a data set of 28x28 images; the arguments are those of `load_examples`.

    Normalised as in the reference for MNIST; the other families by mean and standard deviation of
    their own training images, distorted in the same way.
    """
    family, _, variant = name.partition("-")
    title = _FAMILIES[family].title + (f"-{variant.upper()}" if variant in VARIANTS else "")
    title = "MNIST addition" if name == _ADDITION else title
    whole, source = _part(family, root, train)
    whole = replace(whole, description=f"{title}, {'training' if train else 'testing'}")
    images = whole if number is None else whole.take(number, seed)
    count = "" if number is None else f"{number:,} of "
    description = f"{whole.description}: {count}{source}"
    pixels, labels = _bytes(images), torch.as_tensor(images.labels)
    if not variant:
        mean, std = _MNIST
        if family != "mnist":
            mean, std = measured_statistics(_part(family, root, True)[0])
        upright = upright_examples(replace(images, description=description), mean, std)
        return replace(upright, pixels=pixels[:, None])
    if name == _ADDITION:
        return AddedDigits(pixels, labels, description)
    law = VARIANTS[variant]
    if family == "mnist" and law.clutter is None:
        made = DistortedDigits(pixels, labels, law, description)
    else:
        # Clutter is cut from training images, and the normalisation is theirs.
        training = whole if train else _part(family, root, True)[0]
        cut = _bytes(training)
        made = DistortedDigits(pixels, labels, law, description, cut=cut)
        if family != "mnist":
            of = replace(made, pixels=cut, targets=torch.as_tensor(training.labels))
            mean, std = measured_normalisation(of)
            return replace(made, mean=mean, std=std)
    return replace(made, mean=(law.mean,), std=(law.std,))


def upright_digits(
    name: str,
    canvas: Size,
    root: str | Path | None = None,
    number: int | None = None,
    seed: int | None = 0,
) -> ImageSet:
    """Return test images of a family as they are, in the middle of a canvas of (rows, columns) px.

    `name` is that of a data set of the family, such as "mnist-s": what its images are before they
    are distorted, without clutter, black all around. `root`, `number` and `seed` as in
    `load_examples`; without a root these are digits that no network of the package has trained on.
    Raises ProbeError for other data, a canvas that is smaller than the images, and as
    `load_examples`.

    >>> upright_digits("mnist-t", (60, 60), number=10).description
    '10 upright MNIST test images in the middle of 60x60, no clutter'
    """
    family = name.lower().partition("-")[0]
    if name.lower() not in digit_set_names() or name.lower() == _ADDITION:
        raise ProbeError(
            f"the upright images of '{name}' are not known; give a run on mnist-*, fashion-* or "
            "kmnist-* (without addition)"
        )
    whole, _ = _part(family, root, train=False)
    images = whole if number is None else whole.take(number, seed)
    pixels = _bytes(images).numpy()
    spare = [shown - side for shown, side in zip(canvas, pixels.shape[1:], strict=True)]
    if min(spare) < 0:
        raise ProbeError(
            f"a canvas of {size_text(canvas)} does not hold images of "
            f"{size_text(pixels.shape[1:])}; give a larger one"
        )
    around = [(0, 0), *((left // 2, left - left // 2) for left in spare)]
    placed = f"in the middle of {size_text(canvas)}, no clutter" if max(spare) else "as they are"
    return array_images(
        np.pad(pixels, around), background=0.0, labels=images.labels, names=images.names,
        description=f"{len(images):,} upright {_FAMILIES[family].title} test images {placed}",
    )  # fmt: skip


def _part(family: str, root: str | Path | None, train: bool) -> tuple[ImageSet, str]:
    """Return the training or test images, and in words what they are."""
    made = _FAMILIES[family]
    if root is not None:
        images = torchvision_images(made.of_torchvision, root, train)
        return images, f"the {len(images):,} {made.title} {'training' if train else 'test'} images"
    if family != "mnist":
        raise ProbeError(
            f"{made.title} does not come with the package: give the folder of its files as root "
            "(--data-root); fetch them with: "
            f'python -c "from torchvision.datasets import {made.of_torchvision}; '
            f"[{made.of_torchvision}('data', train=t, download=True) for t in (True, False)]\" "
            "and give data"
            + (f", or {_DEBIAN} and give /usr/share/datasets" if family == "fashion" else "")
        )
    digits = embedded_digits()
    there = f"of the package's {len(digits):,} MNIST test digits"
    if train:
        return digits.take(range(_EMBEDDED)), f"the first {_EMBEDDED:,} {there}"
    rest = digits.take(range(_EMBEDDED, len(digits)))
    return rest, f"the last {len(rest):,} {there}"


def _bytes(images: ImageSet) -> Tensor:
    pixels = np.empty((len(images), *images.source_size), dtype=np.uint8)
    for start in range(0, len(images), 8_192):
        part = range(start, min(start + 8_192, len(images)))
        read = images.batch(part)[:, 0]
        pixels[part.start : part.stop] = (read * 255).round().to(torch.uint8).numpy()
    return torch.from_numpy(pixels)
