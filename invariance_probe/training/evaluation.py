"""How well a classifier does on a set of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..data import ImageSet
from ..errors import ProbeError
from ..networks.keeping import evaluating
from ._batches import Batches, device_of, labels_of


@dataclass(frozen=True)
class Evaluation:
    """Accuracy in [0, 1] and mean cross-entropy (nats) over `number` images, `correct` of them."""

    accuracy: float
    loss: float
    correct: int
    number: int


def evaluate(
    network: nn.Module,
    images: ImageSet,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    batch_size: int = 500,
) -> Evaluation:
    """Return accuracy and loss of a classifier on labelled images, each seen once, upright.

    `mean` and `std` (per channel, of pixels in [0, 1]) normalise the canvas (N, C, H, W) before the
    network, which must return logits (N, classes). The network is in evaluation mode meanwhile and
    gets its mode back. Raises ProbeError for images without labels and for logits of another shape.
    """
    labels = labels_of(images)
    device = device_of(network)
    batches = Batches(images, mean, std, device)
    correct, loss = 0, 0.0
    with evaluating(network), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            chosen = range(start, min(start + batch_size, len(images)))
            target = labels[start : chosen.stop].to(device)
            logits = checked_logits(network(batches.read(chosen)), target)
            correct += int((logits.argmax(1) == target).sum())
            loss += float(functional.cross_entropy(logits, target, reduction="sum"))
    return Evaluation(correct / len(images), loss / len(images), correct, len(images))


def checked_logits(logits: object, target: torch.Tensor) -> torch.Tensor:
    """Return logits (n, classes) that fit the labels, or raise ProbeError."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(target):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ProbeError(f"the network returns {shape}, not logits (n, classes); give a classifier")
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= logits.shape[1]:
        raise ProbeError(
            f"labels run from {low} to {high} but the network has {logits.shape[1]} classes; "
            "give the labels it was built for"
        )
    return logits
