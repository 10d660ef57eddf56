"""Digits, distorted afresh in every pass."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from ...errors import ProbeError
from ..examples.examples import Batch
from ..examples.fixed import checked_indices
from ..sizes import Size, size_text
from .clutter import Clutter, add_clutter
from .parameters import DIGIT
from .poses import Poses
from .variants import Variant

_MEASURED = 2_000


@dataclass(frozen=True, eq=False)
class DistortedDigits:
    """Digits (or other 28x28 grey images on black), distorted: an `Examples`.

    Every draw has a new transformation for each image, and new clutter. All are drawn at once on
    the CPU, so that an image of a pass does not depend on its batch, the device or the order.
    Images are warped bilinearly without anti-aliasing, clutter is added, values are cut off at 1,
    and only then normalised: beyond the edge lies black.

    Attributes
    ----------
    pixels : (N, 28, 28) uint8, held on the device where batches are made.
    targets : (N,) int64.
    cut : (M, 28, 28) uint8, the training digits that clutter is cut from.
    """

    pixels: Tensor = field(repr=False)
    targets: Tensor = field(repr=False)
    variant: Variant
    description: str
    cut: Tensor | None = field(default=None, repr=False)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    classes: int = 10

    def __post_init__(self) -> None:
        check_digits(self.pixels, self.targets, self.description)
        if self.variant.clutter is not None and self.cut is None:
            raise ProbeError(
                f"{self.description}: clutter is cut from training digits; give them as cut="
            )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def channels(self) -> int:
        return 1

    @property
    def canvas(self) -> Size:
        return self.variant.canvas

    @property
    def positions(self) -> int:
        return 1

    @property
    def background(self) -> tuple[float, ...]:
        return (-self.mean[0] / self.std[0],)

    @property
    def fresh(self) -> bool:
        return True

    @cached_property
    def sha256(self) -> str:
        """Hash of the digits, the labels, what clutter is cut from, and the distribution."""
        about = f"{self.variant.summary} {self.variant.canvas} {self.mean} {self.std}"
        parts = [self.pixels, self.targets]
        if self.variant.clutter is not None and self.cut is not None:
            parts.append(self.cut)
        return hash_of(about, parts)

    def draw(self, seed: int) -> DigitPass:
        """Return one pass; the same seed gives the same pass on every device."""
        generator = generator_of(self.variant.name, seed)
        device = self.pixels.device
        poses = self.variant.law(len(self), generator)
        clutter = None
        if self.variant.clutter is not None and self.cut is not None:
            clutter = self.variant.clutter(len(self), len(self.cut), generator).to(device)
        return DigitPass(self, poses.to(device), clutter)

    def to(self, device: torch.device | str) -> DistortedDigits:
        """Return the same examples, held on a device."""
        cut = None if self.cut is None else self.cut.to(device)
        moved = replace(
            self, pixels=self.pixels.to(device), targets=self.targets.to(device), cut=cut
        )
        if "sha256" in vars(self):
            vars(moved)["sha256"] = self.sha256
        return moved


@dataclass(frozen=True, eq=False)
class DigitPass:
    """One pass over distorted digits."""

    examples: DistortedDigits
    poses: Poses
    clutter: Clutter | None

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked examples; ProbeError for an index that is not there."""
        held = self.examples
        asked = checked_indices(indices, len(held), held.description).to(held.pixels.device)
        poses = self.poses[asked]
        images = poses.show(held.pixels[asked], held.canvas)
        if self.clutter is not None and held.cut is not None:
            images = add_clutter(images, self.clutter[asked], held.cut)
        images = images.sub_(held.mean[0]).div_(held.std[0])
        return Batch(images, held.targets[asked], poses.transforms, poses.displacements)


def measured_normalisation(
    examples: DistortedDigits,
) -> tuple[tuple[float], tuple[float]]:
    """Return mean and standard deviation of distorted digits in [0, 1], to four decimals.

    Of the first 2,000 digits in the pass with seed 0.
    """
    plain = replace(examples, mean=(0.0,), std=(1.0,)).draw(0)
    parts = torch.arange(min(_MEASURED, len(examples))).split(250)
    images = torch.cat([plain.batch(part).images for part in parts]).double()
    return (round(float(images.mean()), 4),), (round(float(images.std()), 4),)


def check_digits(pixels: Tensor, targets: Tensor, description: str) -> None:
    """Raise ProbeError unless there are 28x28 images of bytes with one target each."""
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (DIGIT, DIGIT):
        raise ProbeError(
            f"{description}: pixels are {pixels.dtype} of shape {tuple(pixels.shape)}; distortions "
            f"are defined for uint8 images (N, {DIGIT}, {DIGIT})"
        )
    if targets.shape != (len(pixels),):
        raise ProbeError(
            f"{description}: targets of shape {tuple(targets.shape)} for {len(pixels)} images of "
            f"{size_text((DIGIT, DIGIT))}; give one each"
        )


def generator_of(name: str, seed: int) -> Generator:
    """Return the generator of a pass.

    Its numbers are unrelated to those of a generator seeded with `seed` itself, which may well
    decide on the order of the images.
    """
    drawn = hashlib.sha256(f"{name}/{int(seed)}".encode()).digest()[:8]
    return torch.Generator().manual_seed(int.from_bytes(drawn, "big") >> 1)


def hash_of(about: str, parts: Sequence[Tensor]) -> str:
    """Return the hash of a text and the bytes of tensors."""
    digest = hashlib.sha256(about.encode())
    for part in parts:
        digest.update(f"\0{tuple(part.shape)} {part.dtype}\0".encode())
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
