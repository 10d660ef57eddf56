"""Labels of images as numbers of a network's classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...data import ImageSet
from ...data.images.folders import called_by_numbers
from ...errors import ProbeError
from ...networks import Network
from ...networks.building.class_names import class_names, plain_name

Labels = NDArray[np.int64]


def network_labels(
    images: ImageSet, network: nn.Module | Network, classes: int
) -> tuple[Labels | None, list[str]]:
    """Return labels that number the network's classes, and warnings on what they rest on.

    Classes of the images that are called as the network's classes take the numbers of these. Where
    the names are not known, labels stay as they are, and are doubted where the images have fewer
    classes than the network.
    """
    if images.labels is None or images.classes is None:
        return images.labels, []
    names, values = list(images.classes), np.unique(images.labels)
    if called_by_numbers(names):
        return images.labels, []
    found: dict[str, int] = {}
    for known in class_names(network, classes):
        met = {name: known[plain_name(name)] for name in names if plain_name(name) in known}
        found = max(found, met, key=len)
    if len(found) == len(names) and len(set(found.values())) == len(names):
        # Labels number the names in their order.
        table = np.array([found[name] for name in names], dtype=np.int64)
        changed = bool((table != np.arange(len(names))).any())
        said = f"labels: the {len(names)} classes are numbered as the network's of the same names"
        return table[images.labels], [said] if changed else []
    if found and len(found) < len(names):
        missing = [name for name in names if name not in found]
        return images.labels, [
            f"labels: {len(found)} of {len(names)} classes are called as classes of the network, "
            f"{_few(missing)} not; all are numbered from 0 in the order of their names, and "
            "accuracy means nothing unless this is the network's order"
        ]
    if len(names) < classes:
        return images.labels, [
            f"labels: the {len(names)} classes ({_few(names)}) are numbered from {values[0]} to "
            f"{values[-1]}, the network has {classes}; accuracy means nothing unless the numbers "
            "are the network's (folders may be called by them)"
        ]
    return images.labels, []


def check_labels(
    images: ImageSet, labels: Labels | None, indices: Sequence[int], classes: int
) -> None:
    """ProbeError, naming the first image, for a label that is no class of the network."""
    for index in [] if labels is None else indices:
        label = int(labels[index])  # type: ignore[index]
        if not 0 <= label < classes:
            raise ProbeError(
                f"image {images.names[index]!r} has label {label}, the network {classes} classes; "
                f"give labels from 0 to {classes - 1}, or images without labels"
            )


def doubted_labels(right: int, number: int, classes: int) -> list[str]:
    """The warning where labels fit what the network says of the originals no better than chance."""
    chance = number / classes
    if right > chance + 2 * math.sqrt(chance * (1 - 1 / classes)):
        return []
    return [
        f"labels: the network gives {right} of {number} untouched images the class of their label, "
        f"no more than chance with {classes} classes; accuracy means nothing unless the labels are "
        "the network's numbers"
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


__all__ = ["check_labels", "doubted_labels", "network_labels"]
