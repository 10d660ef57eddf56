"""Generated street numbers, in place of SVHN where that cannot be had."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from ...errors import ProbeError
from ..examples.fixed import FixedExamples, LazyPixels
from .glyphs import street_glyphs
from .painting import paint_numbers
from .plans import NO_DIGIT, SIDE, Plan, plan_numbers

_VERSION = "generated street numbers 1"
_TOGETHER = 50
# Of 20,000 training images with seed 0; all seeds share them, so that sets can be exchanged.
_MEAN = (0.4344, 0.4344, 0.4344)
_STD = (0.2346, 0.2346, 0.2346)


def street_numbers(train: bool = True, number: int | None = None, seed: int = 0) -> FixedExamples:
    """Return generated street numbers: 64x64 colour, five positions of eleven classes.

    House numbers of 1 to 5 digits, in the fonts of matplotlib or the handwriting of the package's
    MNIST digits, at any place, turned by up to 15 degrees, slanted and stretched, on walls and
    plates of random colour, with parts of other digits at the edges, uneven light, blur and noise.
    Position k holds the k-th digit, and class 10 after the last, as in `svhn_examples`.

    A fixed set per seed: image i is the same whatever `number` (default 20,000 for training, 4,000
    for testing) and in whatever order images are asked for. Images are painted when first asked
    for and kept in memory. Training and test sets have no handwritten digit and no random choice
    in common. The transformations of a batch are the poses of the numbers.

    Raises ProbeError for a number below 1 and a negative seed.

    Convention: a pose takes the upright number, digits 24 px high and centred, to the image.

    >>> batch = street_numbers(number=4).batch([0, 1])
    >>> batch.images.shape, batch.targets.shape
    (torch.Size([2, 3, 64, 64]), torch.Size([2, 5]))
    """
    part = "train" if train else "test"
    count = (20_000 if train else 4_000) if number is None else number
    if count < 1:
        raise ProbeError(f"generated street numbers: {count} images asked for; ask for 1 or more")
    if seed < 0:
        raise ProbeError(f"generated street numbers: seed {seed}; give 0 or more")
    glyphs = street_glyphs(train)

    def generator(kind: str, start: int) -> torch.Generator:
        name = f"{_VERSION}/{kind}/{part}/{seed}/{start}"
        drawn = hashlib.sha256(name.encode()).digest()[:8]
        return torch.Generator().manual_seed(int.from_bytes(drawn, "big") >> 1)

    def plan(start: int) -> Plan:
        return plan_numbers(_TOGETHER, glyphs, generator("plan", start))

    def paint(start: int, stop: int) -> Tensor:
        images = paint_numbers(plan(start), glyphs, generator("paint", start))
        return images[: stop - start]

    # Whole chunks are planned and painted even where the last is cut: an image does not depend on
    # how many there are.
    plans = [plan(start) for start in range(0, count, _TOGETHER)]
    identity = f"{_VERSION} {part} {seed} {count} {glyphs.sha256} {_MEAN} {_STD}"
    return FixedExamples(
        pixels=LazyPixels((count, 3, SIDE, SIDE), _TOGETHER, paint),
        targets=torch.cat([p.labels for p in plans])[:count],
        classes=NO_DIGIT + 1,
        description=f"generated street numbers, {part}: {count} images, seed {seed}",
        mean=_MEAN,
        std=_STD,
        background=(0.0, 0.0, 0.0),
        sha256=hashlib.sha256(identity.encode()).hexdigest(),
        transforms=torch.cat([p.poses for p in plans])[:count],
    )
