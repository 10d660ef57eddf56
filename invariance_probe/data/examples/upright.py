"""Image sets as they are, and folders with a sub-folder per class, as labelled examples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ..images.folders import class_numbers, image_folder
from ..images.image_set import ImageSet
from .fixed import FixedExamples, LazyPixels, channel_statistics

_KEPT = 2_000_000_000  # bytes of decoded images that are kept in memory
_MEASURED = 500
_HELD_OUT = 5


def upright_examples(
    images: ImageSet, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> FixedExamples:
    """Return the canvases of a labelled image set as examples, the same in every pass.

    `mean` and `std`, one per channel, default to those of up to 500 of its images, to four
    decimals. Images are decoded when first asked for and kept as bytes, unless all together take
    more than 2 GB. The transformations of a batch are identities; a reflected background counts as
    one of mean brightness. Raises ProbeError for a set without labels and for mean or std of
    another number of channels.
    """
    if images.labels is None:
        raise ProbeError(
            f"{images.description}: no labels; give images with labels (class sub-folders, labels=)"
        )
    canvases = _Canvases(images)
    pixels: _Canvases | LazyPixels = canvases
    if len(images) * images.channels * images.canvas[0] * images.canvas[1] <= _KEPT:
        pixels = LazyPixels(canvases.shape, 1, lambda a, b: canvases[torch.arange(a, b)])
    if mean is None or std is None:
        own_mean, own_std = measured_statistics(images)
        mean, std = own_mean if mean is None else mean, own_std if std is None else std
    for values, what in ((mean, "mean"), (std, "std")):
        if len(values) != images.channels:
            raise ProbeError(
                f"{images.description}: {len(values)} values of {what} for {images.channels} "
                "channels; give one each"
            )
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    beyond = images.background
    fill = mean if isinstance(beyond, str) else beyond
    labels = torch.as_tensor(images.labels)
    return FixedExamples(
        pixels=pixels,
        targets=labels,
        classes=len(images.classes) if images.classes else int(labels.max()) + 1,
        description=images.description,
        mean=mean,
        std=std,
        background=tuple((f - m) / s for f, m, s in zip(fill, mean, std, strict=True)),
        sha256=hashlib.sha256(f"{images.sha256} {mean} {std}".encode()).hexdigest(),
        transforms=torch.eye(3, dtype=torch.float64).expand(len(images), 3, 3),
    )


def folder_examples(
    path: str | Path,
    train: bool = True,
    number: int | None = None,
    seed: int | None = 0,
    *,
    canvas: int | Sequence[int] = 64,
    channels: int = 3,
) -> FixedExamples:
    """Return photographs in one sub-folder per class, shrunk and cut to the canvas.

    Where `path` holds folders train and test (or val), these are the parts. Else every fifth image
    of each class, in natural order of names, is for testing, and the others for training.
    Normalised by mean and standard deviation of up to 500 training images. `number` takes as many,
    drawn with the seed, or the first ones when it is None.

    Raises ProbeError as `image_folder`, for a folder without class sub-folders, classes that
    differ between the parts, and a number that is not there.
    """
    folder = Path(path)
    parts = _parts(folder)
    if parts is None:
        images = _labelled(image_folder(folder, canvas, channels, margin=1), folder)
        held_out = _held_out(images)
        training, testing = (images.take(torch.nonzero(part)[:, 0].tolist()) for part in held_out)
    else:
        training, testing = (
            _labelled(image_folder(part, canvas, channels, margin=1), part) for part in parts
        )
        if training.classes != testing.classes:
            other = sorted(set(training.classes or ()) ^ set(testing.classes or ()))
            raise ProbeError(
                f"'{parts[0]}' and '{parts[1]}' do not have the same classes ({other[0]!r} is in "
                "one only); give both the same sub-folders"
            )
    mean, std = measured_statistics(training)
    chosen = training if train else testing
    described = f"folder {folder.resolve().name}, {'training' if train else 'testing'}"
    if parts is None:
        described += f" (every {_HELD_OUT}th image of a class is for testing)"
    if number is not None:
        chosen = chosen.take(number, seed)
    examples = upright_examples(chosen, mean, std)
    return replace(examples, description=f"{described}: {len(examples)} images")


def measured_statistics(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel of up to 500 images, drawn, to four decimals."""
    some = images.take(min(_MEASURED, len(images)), seed=0)
    canvases = _Canvases(some)[torch.arange(len(some))]
    mean, std = channel_statistics(canvases)
    if min(std) == 0:
        raise ProbeError(f"{images.description}: all pixels are alike; give other images, or std")
    return tuple(round(v, 4) for v in mean), tuple(max(round(v, 4), 1e-4) for v in std)


@dataclass(frozen=True)
class _Canvases:
    """The canvases of an image set as bytes (N, C, H, W), by index."""

    images: ImageSet

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.images), self.images.channels, *self.images.canvas

    def __getitem__(self, indices: Tensor) -> Tensor:
        source, (height, width) = self.images.source_size, self.images.canvas
        top, left = (source[0] - height) // 2, (source[1] - width) // 2
        read = self.images.batch(indices.tolist())[:, :, top : top + height, left : left + width]
        return (read * 255).round().to(torch.uint8)


def _parts(folder: Path) -> tuple[Path, Path] | None:
    if not (folder / "train").is_dir():
        return None
    for name in ("test", "val"):
        if (folder / name).is_dir():
            return folder / "train", folder / name
    raise ProbeError(
        f"folder '{folder}' holds train but neither test nor val; add one, or give "
        f"'{folder / 'train'}', of which a fifth is then for testing"
    )


def _labelled(images: ImageSet, folder: Path) -> ImageSet:
    if images.labels is None:
        raise ProbeError(
            f"folder '{folder}' holds images but no class sub-folders; "
            "put the images of each class in a folder of its own"
        )
    # Folders called by numbers are classes in the order of these: a network has no others.
    values = sorted(class_numbers(images.classes or ()).values())
    return replace(images, labels=np.searchsorted(values, images.labels))


def _held_out(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Return which images are for training, and which for testing."""
    labels = torch.as_tensor(images.labels)
    rank = torch.empty_like(labels)
    for label in labels.unique():
        own = labels == label
        rank[own] = torch.arange(int(own.sum()))
    testing = rank % _HELD_OUT == _HELD_OUT - 1
    if not bool(testing.any()):
        raise ProbeError(
            f"{images.description}: no class has {_HELD_OUT} images, so none are left for testing; "
            "give more, or folders train and test"
        )
    return ~testing, testing


__all__ = ["folder_examples", "measured_statistics", "upright_examples"]
