"""Images that are already in memory, as a set."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import ProbeError
from ..sizes import Size, as_size, fit_parity, size_text
from ._depth import depth_notes, faint_notes
from ._keys import WIDEST, check_several
from ._labels import check_labels
from .image_set import ImageSet, with_border_note

if TYPE_CHECKING:
    from hashlib import _Hash

_TOGETHER = 64  # images whose range is checked at a time, of at most so many bytes
_BLOCK = 1 << 26
_LOOKED = 64  # images of 8 bits in which the largest value is looked for
_ROUNDING = 1e-6  # by which computed values may leave [0, 1]


class Rows(Protocol):
    """A (N, C, H, W) array, or what reads one piece by piece from a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


# ITU-R 601 luma, the weights of Pillow's conversion to grey.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class _ArraySource:
    """Pixels of a (N, C, H, W) array: uint8 or uint16, or floats in [0, 1]."""

    array: Rows
    channels: int
    size: Size  # of the images handed out; larger than the array's: enlarged

    def __len__(self) -> int:
        return self.array.shape[0]

    def read(self, indices: Sequence[int]) -> Tensor:
        chosen = np.ascontiguousarray(self.array[list(indices)])
        pixels = torch.from_numpy(chosen.astype(np.float32))
        if self.array.dtype.kind == "u":
            pixels = pixels / np.iinfo(self.array.dtype).max
        pixels = _to_channels(pixels, self.channels)
        height, width = pixels.shape[2:]
        enlarge = max(self.size[0] / height, self.size[1] / width)
        if enlarge > 1:
            grown = (
                max(self.size[0], round(height * enlarge)),
                max(self.size[1], round(width * enlarge)),
            )
            # With antialias the kernel is Keys' (a = -0.5), which keeps straight ramps straight;
            # without, PyTorch takes a = -0.75.
            pixels = torch.nn.functional.interpolate(
                pixels, size=grown, mode="bicubic", align_corners=False, antialias=True
            ).clamp_(0, 1)
        top = (pixels.shape[2] - self.size[0]) // 2
        left = (pixels.shape[3] - self.size[1]) // 2
        return pixels[:, :, top : top + self.size[0], left : left + self.size[1]].contiguous()

    def feed(self, digest: _Hash, index: int) -> None:
        image = np.ascontiguousarray(self.array[index])
        digest.update(f"{image.dtype.str} {image.shape}".encode())
        digest.update(image.tobytes())


def array_images(
    array: np.ndarray | Tensor,
    canvas: int | Sequence[int] | None = None,
    *,
    channels: int | None = None,
    background: float | Sequence[float] | str = "reflect",
    labels: Sequence[int] | np.ndarray | Tensor | None = None,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    description: str = "array",
) -> ImageSet:
    """Return the images of an array (N, C, H, W) or (N, H, W): uint8, uint16, or floats in [0, 1].

    The array is held, not copied. Whole numbers count by the full range of their type. `canvas`
    (default: the size of the images) is what the network sees; larger images keep the rest as
    margin, smaller ones are enlarged (bicubic) to cover it. `channels` 3 repeats grey images, 1
    takes the luma of colour images. `background` is what lies beyond the edge: a fill value, one
    per channel, or "reflect".

    Raises ProbeError for another shape, type or range, naming the first image at fault.

    >>> import numpy
    >>> array_images(numpy.zeros((2, 9, 9), numpy.uint8), canvas=5).batch([0]).shape
    torch.Size([1, 1, 9, 9])
    """
    pixels = _pixels(array)
    notes = check_values(pixels)
    return rows_images(
        pixels, canvas, channels=channels, background=background, labels=labels,
        names=names, classes=classes, description=description, notes=notes,
    )  # fmt: skip


def rows_images(
    pixels: Rows,
    canvas: int | Sequence[int] | None = None,
    *,
    channels: int | None = None,
    background: float | Sequence[float] | str = "reflect",
    labels: Any = None,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    description: str = "array",
    notes: Sequence[str] = (),
) -> ImageSet:
    """Return the images of checked rows (N, C, H, W); see `array_images`."""
    count, own_channels, height, width = pixels.shape
    channels = own_channels if channels is None else int(channels)
    if channels != own_channels and {channels, own_channels} != {1, 3}:
        raise ProbeError(
            f"{description}: {own_channels} channels cannot become {channels}; "
            "only grey (1) and colour (3) convert to each other"
        )
    shown = (height, width) if canvas is None else as_size(canvas)
    size = (fit_parity(height, shown[0]), fit_parity(width, shown[1]))
    edge = _background(background, channels)
    said = list(notes)
    if height < shown[0] or width < shown[1]:
        said.append(
            f"images of {size_text((height, width))} were enlarged to cover {size_text(shown)}"
        )
        # One factor for both axes: what the longer axis then has to spare is cut off, no margin.
        size = shown
    return ImageSet(
        source=_ArraySource(pixels, channels, size),
        indices=np.arange(count),
        names=_names(names, count, description),
        labels=_labels(labels, count, description),
        channels=channels,
        source_size=size,
        canvas=shown,
        background=edge,
        description=description,
        notes=with_border_note(said, size, shown, edge),
        classes=None if classes is None else tuple(classes),
    )


def _pixels(array: Any) -> np.ndarray:
    """Return a checked (N, C, H, W) view."""
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    if not isinstance(array, np.ndarray):
        raise ProbeError(f"images must be a NumPy array or a tensor, not {type(array).__name__}")
    check_several(array.shape, f"images of shape {array.shape}")
    pixels = array[:, None] if array.ndim == 3 else array
    if pixels.ndim != 4:
        raise ProbeError(f"images of shape {array.shape}; give (N, C, H, W) or (N, H, W)")
    if 0 in pixels.shape:
        raise ProbeError(f"images of shape {array.shape} are empty; give at least one")
    if pixels.shape[3] <= WIDEST < pixels.shape[1]:
        raise ProbeError(
            f"images of shape {array.shape} look like (N, H, W, C); "
            "put channels first: array.transpose(0, 3, 1, 2)"
        )
    return pixels


def check_values(pixels: Rows, what: str = "") -> list[str]:
    """Refuse types and ranges that are no images; return what is to be said of the range.

    `what` is put before the message.
    """
    deep = pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2
    if pixels.dtype != np.uint8 and not deep and pixels.dtype.kind != "f":
        raise ProbeError(
            f"{what}images of type {pixels.dtype}; give uint8 (0 to 255) or floats in [0, 1]"
        )
    if pixels.dtype == np.uint8:
        looked = np.linspace(0, pixels.shape[0] - 1, min(_LOOKED, pixels.shape[0])).astype(int)
        return faint_notes(max(int(pixels[i : i + 1].max()) for i in looked), what)
    most = 0
    each = max(1, math.prod(pixels.shape[1:]) * pixels.dtype.itemsize)
    step = max(1, min(_TOGETHER, _BLOCK // each))
    for start in range(0, pixels.shape[0], step):
        block = pixels[start : start + step]
        if deep:
            most = max(most, int(block.max()))
        else:
            _check_range(block, start, what)
    return depth_notes(most, what) if deep else []


def _check_range(pixels: np.ndarray, first: int, what: str) -> None:
    for index, image in enumerate(pixels, first):
        low, high = float(image.min()), float(image.max())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # also true for NaN
            raise ProbeError(
                f"{what}image {index} has values from {low:.9g} to {high:.9g}; "
                "give floats in [0, 1] before normalisation, or uint8"
            )


def _background(value: float | Sequence[float] | str, channels: int) -> tuple[float, ...] | str:
    if isinstance(value, str):
        if value != "reflect":
            raise ProbeError(f'background {value!r}; give "reflect" or fill values in [0, 1]')
        return value
    given = [value] * channels if isinstance(value, numbers.Real) else list(value)  # type: ignore[arg-type]
    if len(given) == 1:
        given = given * channels
    fill = tuple(float(v) for v in given)
    if len(fill) != channels or not all(0 <= v <= 1 for v in fill):
        raise ProbeError(
            f"background {value!r} for {channels} channel(s); "
            'give one value per channel in [0, 1], or "reflect"'
        )
    return fill


def _names(names: Sequence[str] | None, count: int, description: str) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{i:05d}" for i in range(count))
    if len(names) != count:
        raise ProbeError(f"{description}: {len(names)} names for {count} images; give one each")
    return tuple(str(name) for name in names)


def _labels(labels: Any, count: int, description: str) -> np.ndarray | None:
    if labels is None:
        return None
    values = labels.detach().cpu() if isinstance(labels, Tensor) else labels
    return check_labels(values, count, f"{description}: ")


def _to_channels(pixels: Tensor, channels: int) -> Tensor:
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return pixels.expand(-1, 3, -1, -1)
    red, green, blue = pixels.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]
