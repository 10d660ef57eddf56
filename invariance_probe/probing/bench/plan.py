"""What a probe resolves before it runs: halves of the images, transformations, what fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...data import AnyImages, ImageSet, as_images
from ...errors import ProbeError
from ...geometry import Transform, parse_transforms
from ...networks import Network
from ...networks.keeping import evaluating, keeping
from ...networks.zoo import first_planes, taken, takes

T = TypeVar("T")


def split(number: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the fit half and of the evaluation half, drawn once from the seed.

    Raises ProbeError for fewer than 4 images: 2 to compare with another one, 2 to fit.
    """
    if number < 4:
        raise ProbeError(
            f"{number} image{'s' * (number != 1)} cannot be split into a fit half and an "
            "evaluation half of at least 2 each; give 4 or more"
        )
    order = np.random.default_rng(seed).permutation(number).tolist()
    # In drawn order neighbours, which the ledger takes for unrelated, are so even where a folder is
    # sorted by class.
    return order[: number // 2], order[number // 2 :]


def spaced(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly spaced from the first to the last.

    >>> spaced("abcdefg", 3), spaced("ab", 3), spaced("", 3)
    (['a', 'd', 'g'], ['a', 'b'], [])
    """
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def images_for(network: nn.Module | Network, images: AnyImages) -> ImageSet:
    """What was given as images, as an image set; paths are opened at the network's own size."""
    if isinstance(network, Network):
        return as_images(images, network.canvas, network.fixed_channels)
    return as_images(images)


def as_transforms(given: str | Transform | Iterable[str | Transform]) -> tuple[Transform, ...]:
    """Transformations from values or texts, each once."""
    moves: list[Transform] = []
    for one in [given] if isinstance(given, (str, Transform)) else given:
        moves += parse_transforms(one) if isinstance(one, str) else [one]
    if not moves or not all(isinstance(move, Transform) for move in moves):
        raise ProbeError(
            "no transformations to probe; give for example rotations(-180, 180, step=15)"
        )
    return tuple(dict.fromkeys(moves))


def check_channels(module: nn.Module, example: Tensor) -> None:
    """Refuse images of another number of channels than the network takes.

    Where the first convolution suits the images nothing is tried; where nothing suits, what the
    network says of them is said by the pass that fails.
    """
    has, canvas = example.shape[1], (example.shape[2], example.shape[3])
    if first_planes(module) == has or takes(module, has, canvas):
        return
    if (planes := taken(module, canvas)) is not None:
        raise ProbeError(
            f"the network takes {planes} channels, the images have {has}; "
            f"load them with channels={planes}"
        )


def check_shares(number: int, world: int) -> None:
    """Refuse more processes than a half has images."""
    if number // 2 < world:
        raise ProbeError(
            f"{world} processes cannot share {number // 2} images, half of {number}; start fewer "
            "processes or give more images"
        )


def batches(indices: list[int], size: int) -> Iterator[list[int]]:
    """The indices in order, `size` at a time."""
    for first in range(0, len(indices), size):
        yield indices[first : first + size]


@contextmanager
def measuring(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and full float32 precision; the module is left as it came.

    Raises ProbeError for a module without weights.
    """
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(value):
            raise ProbeError(
                f"{name!r} of the network has no value yet (a lazy module makes it from its first "
                "input); run the network once on images, or load its weights"
            )
    tf32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with keeping(module), evaluating(module):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
