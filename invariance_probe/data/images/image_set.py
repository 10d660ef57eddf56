"""A set of images as a value: indexable, decoded in batches, never all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ..sizes import Size, border_note, covers_rotation, size_text
from ._counted import notes_of

if TYPE_CHECKING:
    from hashlib import _Hash


class Source(Protocol):
    """Where the pixels come from: decodes the images it is asked for, and only those."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return (n, C, Hs, Ws) float32 in [0, 1]."""
        ...

    def feed(self, digest: _Hash, index: int) -> None:
        """Add the stored content of one image to a hash."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with names, optional labels, and what lies beyond their edge.

    A network sees the `canvas` (H, W), centred in the larger or equal `source_size` (Hs, Ws); the
    surplus is real content that rotations and shrinkings bring in. Both have the same parity, so
    the two centres coincide.

    Attributes
    ----------
    names : one text per image, used in tables.
    labels : int64 array (N,) or None; `classes` names them, in their order, when names are known.
    background : what lies beyond the source edge: C fill values in [0, 1] (before normalisation),
        or "reflect".
    notes : sentences a report on these images must carry.
    available : how many images there were, of which these are taken; None for all.

    Convention: canvas and source share their centre; sizes are (rows, columns) in pixels.
    """

    source: Source = field(repr=False)
    indices: np.ndarray
    names: tuple[str, ...]
    labels: np.ndarray | None
    channels: int
    source_size: Size
    canvas: Size
    background: tuple[float, ...] | str
    description: str
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    available: int | None = None

    def __post_init__(self) -> None:
        count = len(self.indices)
        if count == 0:
            raise ProbeError(f"{self.description}: no images; give at least one")
        if len(self.names) != count or (self.labels is not None and len(self.labels) != count):
            raise ProbeError(f"{self.description}: names and labels must be one per image")
        for source, canvas in zip(self.source_size, self.canvas, strict=True):
            if source < canvas or (source - canvas) % 2:
                raise ProbeError(
                    f"{self.description}: a source of {size_text(self.source_size)} cannot hold a "
                    f"canvas of {size_text(self.canvas)} centred on whole pixels; "
                    "give sizes of the same parity, the source at least as large"
                )
        if not isinstance(self.background, str) and len(self.background) != self.channels:
            raise ProbeError(
                f"{self.description}: background {self.background!r} for {self.channels} channels; "
                'give one value per channel, or "reflect"'
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        beyond = self.background
        edge = beyond if isinstance(beyond, str) else ",".join(f"{v:g}" for v in beyond)
        return (
            f"<ImageSet {self.description}: {len(self)} images, {self.channels} channel(s), "
            f"source {size_text(self.source_size)}, canvas {size_text(self.canvas)}, "
            f"background {edge}>"
        )

    @property
    def covers_rotation(self) -> bool:
        """Whether real content fills the canvas at every rotation about its centre."""
        return covers_rotation(self.source_size, self.canvas)

    @property
    def resized(self) -> bool:
        """Whether images of other sizes were resized, and cropped, to the source size."""
        return bool(getattr(self.source, "resizes", False))

    def batch(self, indices: Iterable[int]) -> Tensor:
        """Return the asked images as a float32 tensor (n, C, Hs, Ws) in [0, 1], not normalised.

        An image has the same values whatever the others of its batch. Raises ProbeError for an
        index outside 0 ... len - 1 and for a file that cannot be decoded.
        """
        asked = [int(i) for i in indices]
        self._check(asked)
        if not asked:
            return torch.empty((0, self.channels, *self.source_size))
        return self.source.read([int(self.indices[i]) for i in asked])

    def take(self, which: int | Iterable[int], seed: int | None = None) -> ImageSet:
        """Return a smaller set: the first `n`, `n` drawn with a seed, or the images of a list.

        A draw of 10 is the beginning of a draw of 20 with the same seed. Raises ProbeError when
        there are fewer images than asked for.

        >>> from invariance_probe.data import embedded_digits
        >>> embedded_digits().take([7, 3]).names
        ('t10k-00007', 't10k-00003')
        """
        if isinstance(which, int | np.integer):
            if not 1 <= which <= len(self):
                raise ProbeError(
                    f"{self.description}: {which} images asked for, {len(self)} there; "
                    f"ask for 1 to {len(self)}"
                )
            if seed is None:
                chosen = np.arange(which)
            else:
                chosen = np.random.default_rng(seed).permutation(len(self))[:which]
        else:
            chosen = np.asarray([int(i) for i in which], dtype=np.int64)
            self._check(chosen.tolist())
        return replace(
            self,
            indices=self.indices[chosen],
            names=tuple(self.names[i] for i in chosen),
            labels=None if self.labels is None else self.labels[chosen],
            notes=notes_of(self.notes, self.indices[chosen]),
            available=len(self) if self.available is None else self.available,
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of the stored content (pixels or file bytes), names, labels, order and sizes."""
        digest = hashlib.sha256()
        digest.update(f"{self.channels} {self.source_size} {self.canvas}".encode())
        for position, index in enumerate(self.indices):
            label = "" if self.labels is None else str(self.labels[position])
            digest.update(f"\0{self.names[position]}\0{label}\0".encode())
            self.source.feed(digest, int(index))
        return digest.hexdigest()

    def _check(self, asked: Sequence[int]) -> None:
        for i in asked:
            if not 0 <= i < len(self):
                raise ProbeError(
                    f"{self.description}: no image {i}; indices run from 0 to {len(self) - 1}"
                )


def with_border_note(
    notes: Iterable[str], source: Size, canvas: Size, background: tuple[float, ...] | str
) -> tuple[str, ...]:
    """Return the notes, and the one on the border where rotations look beyond the source."""
    border = border_note(source, canvas, background)
    return tuple(notes) if border is None else (*notes, border)


__all__ = ["ImageSet", "Source", "with_border_note"]
