"""Training on labelled upright images, epoch by epoch: the training loop for an image set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data import ImageSet
from ..data.examples.examples import Batch
from ._batches import Batches, device_of, labels_of
from .checks import probing_pass
from .evaluation import checked_logits
from .history import Row
from .loop import run
from .recipe import Recipe


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images: means over the batches as they were trained on."""

    number: int  # from 1
    loss: float
    accuracy: float
    learning_rate: float  # of the last step
    seconds: float


def fit(
    network: nn.Module,
    images: ImageSet,
    recipe: Recipe | None = None,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress_file: str | Path | None = None,
) -> tuple[Epoch, ...]:
    """Train a classifier in place, where its parameters are, on labelled upright images.

    The network returns logits (N, classes) for canvases (N, C, H, W), normalised by `mean` and
    `std` per channel; the loss is the cross-entropy. The same network, images and recipe give the
    same bits on the same CPU with the same number of threads; the global random state is left
    alone. The network is left in evaluation mode.

    With `progress_file` the state is written after every epoch (whole or not at all), and a file
    that is there is resumed to the same bits as an uninterrupted run.

    Raises ProbeError for images without labels, logits that do not fit them, a loss that is not
    finite, and a progress file of another network, recipe or set of images.
    """
    recipe = replace(recipe or Recipe(), report_every=None, validate_every=None)
    examples = ImageExamples(images, mean, std, device_of(network))
    first = examples.batch(range(min(recipe.batch_size, len(images))))
    logits = probing_pass(network, first.images, images.description)
    # All labels at once: none of them is looked at again while training.
    checked_logits(logits[:1].expand(len(images), *logits.shape[1:]), examples.labels)
    identity = {}
    if progress_file is not None:
        # Hashing reads all images once, so only where it is needed.
        identity = {**recipe.as_dict(), "images": images.sha256, "mean": mean, "std": std}

    def on_row(row: Row) -> None:
        if on_epoch is not None:
            on_epoch(_epoch(row))

    rows = run(
        network, examples, recipe, identity=identity, progress_file=progress_file, on_row=on_row,
        save_every_steps=recipe.per_epoch(len(images)),
    )  # fmt: skip
    return tuple(_epoch(row) for row in rows)


def _epoch(row: Row) -> Epoch:
    return Epoch(row.epoch, row.loss, row.accuracy, row.learning_rate, row.seconds)


class ImageExamples:
    """Labelled upright images as examples whose draws are all the same."""

    positions = 1
    fresh = False

    def __init__(
        self,
        images: ImageSet,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        device: torch.device | str,
    ) -> None:
        self.labels = labels_of(images).to(device)
        self._images, self._given = images, (mean, std)
        self._batches = Batches(images, mean, std, device)
        self.mean, self.std = self._batches.normalisation
        self.description, self.sha256 = images.description, ""
        self.channels, self.canvas = images.channels, images.canvas
        self.classes = int(self.labels.max()) + 1
        self.background = tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))

    def __len__(self) -> int:
        return len(self._images)

    def draw(self, seed: int) -> ImageExamples:
        """Return the images as they are."""
        return self

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked images, normalised."""
        asked = indices.tolist() if isinstance(indices, Tensor) else list(indices)
        return Batch(self._batches.read(asked), self.labels[asked])

    def to(self, device: torch.device | str) -> ImageExamples:
        """Return the same examples with batches made on a device."""
        return ImageExamples(self._images, *self._given, device)
