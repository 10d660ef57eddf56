"""Street View House Numbers for training: whole numbers, and single digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from ..examples.fixed import FixedExamples, first_of
from ..images.torchvision import torchvision_images
from .decoding import NO_DIGIT, load_crops
from .digit_struct import Progress

# Per channel, of the published training digits.
_DIGIT_MEAN = (0.4377, 0.4438, 0.4728)
_DIGIT_STD = (0.1980, 0.2010, 0.1970)


def svhn_examples(
    root: str | Path,
    train: bool = True,
    number: int | None = None,
    extra: bool = False,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> FixedExamples:
    """Return the full numbers of SVHN: 64x64 colour, five positions of eleven classes.

    `root` holds the published train.tar.gz, test.tar.gz and extra.tar.gz, or the folders they
    extract to. The box around all digits, 30 % larger, is cut out and resized. Position k holds
    the k-th digit, and class 10 after the last; numbers of more than five digits are left out and
    counted in the description. With `extra`, the training set is train and extra together; the
    test set is the same either way. `number` takes the first images.

    Decoding takes minutes and happens once: the crops are kept in the folder `cache` (default:
    root), in a file named after the hash of the archive. `progress` is called with pictures done,
    pictures in all and what is being done. Normalised by mean and standard deviation per channel
    of the train part, which the test set therefore needs too.

    Raises ProbeError for a part that is not there (with what to download), damaged or hostile
    archives, where h5py is not installed, and for a cache that cannot be written.

    Source: Netzer et al., Reading Digits in Natural Images, 2011; Goodfellow et al., 2013, section
    5.1; Jaderberg et al., Spatial Transformer Networks, 2015, appendix A.5.
    """
    place = Path(root)
    kept = place if cache is None else Path(cache)
    base = load_crops(place, "train", kept, progress)
    if not train:
        parts = [load_crops(place, "test", kept, progress)]
    else:
        parts = [base, load_crops(place, "extra", kept, progress)] if extra else [base]
    title = "SVHN numbers, " + ("test" if not train else "train and extra" if extra else "train")
    there = sum(len(part.labels) for part in parts)
    left_out = sum(part.left_out for part in parts)
    count = first_of(there, number, title)
    images, labels = parts[0].images, parts[0].labels
    if len(parts) > 1 and count > len(labels):
        images = torch.cat([part.images for part in parts])
        labels = torch.cat([part.labels for part in parts])
    identity = f"{[part.key for part in parts]} {count} {base.mean} {base.std}"
    return FixedExamples(
        pixels=images[:count],
        targets=labels[:count].long(),
        classes=NO_DIGIT + 1,
        description=f"{title}: {count} of {there} images, "
        f"{left_out} of more than five digits left out",
        mean=base.mean,
        std=base.std,
        background=(0.0, 0.0, 0.0),
        sha256=hashlib.sha256(identity.encode()).hexdigest(),
    )


def svhn_digits(root: str | Path, train: bool = True, number: int | None = None) -> FixedExamples:
    """Return the cropped digits of SVHN (train_32x32.mat, test_32x32.mat): 32x32, ten classes.

    The files that torchvision fetches, under `root`. `number` takes the first images. Normalised
    by mean and standard deviation per channel of the published training digits. Raises ProbeError
    as `torchvision_images`.
    """
    digits = torchvision_images("SVHN", root, train)
    title = f"SVHN digits, {'train' if train else 'test'}"
    count = first_of(len(digits), number, title)
    pixels = torch.empty((count, 3, *digits.source_size), dtype=torch.uint8)
    for start in range(0, count, 4096):
        chosen = range(start, min(start + 4096, count))
        pixels[chosen.start : chosen.stop] = (digits.batch(chosen) * 255).round().to(torch.uint8)
    labels = torch.as_tensor(digits.labels)[:count].clone()
    content = hashlib.sha256(pixels.numpy().tobytes() + labels.numpy().tobytes())
    return FixedExamples(
        pixels=pixels,
        targets=labels,
        classes=10,
        description=f"{title}: {count} of {len(digits)} images",
        mean=_DIGIT_MEAN,
        std=_DIGIT_STD,
        background=(0.0, 0.0, 0.0),
        sha256=content.hexdigest(),
    )
