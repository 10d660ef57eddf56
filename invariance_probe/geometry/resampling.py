"""Warping of images and feature maps: (T_h f)(x) = f(h⁻¹ x) on a grid of pixels or cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from .frames import Frame, image_frame
from .kernels import axis_weights, reflect, stretched_operator, stretches
from .transforms import Transform

Interpolation = Literal["bilinear", "bicubic"]
Beyond = Literal["fill", "nearest", "reflect"]

_PADDING = {"fill": "zeros", "nearest": "border", "reflect": "reflection"}
_EXACT = 1e-9
_TAPS = 4_000_000  # weights of a sparse operator at a time: some 200 MB while it is built


@dataclass(frozen=True)
class _Reading:
    """Where and how the cells of the target are read from the source."""

    matrix: NDArray[np.float64]  # from target cells to source cells
    size: tuple[int, int]
    interpolation: Interpolation
    antialias: bool
    beyond: Beyond

    @property
    def stretch(self) -> tuple[float, float]:
        """Width of the kernel along x and y, in units of its own."""
        return stretches(self.matrix, antialias=self.antialias)

    @property
    def is_copy(self) -> bool:
        """Whether the linear part permutes or flips the axes and all samples fall on cells."""
        linear = np.abs(self.matrix[:2, :2])
        whole = np.abs(self.matrix[:2] - np.rint(self.matrix[:2])).max() < _EXACT
        one_each = all((np.rint(linear).sum(axis) == 1).all() for axis in (0, 1))
        return bool(whole and one_each)


def source_matrix(
    transform: Transform, source: Frame, target: Frame | None = None
) -> NDArray[np.float64]:
    """The 3x3 matrix from cells of `target` to the cells of `source` that T_h reads there.

    Convention: acts on (column, row, 1); T_h reads content at h⁻¹ of a cell's position.
    """
    where = transform.inverse().matrix @ (target or source).matrix
    return source.inverse_matrix @ where


def sampling_operator(
    transform: Transform, frame: Frame, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """T_g on maps of a frame as a dense float64 matrix (cells, cells): what `warp` multiplies by.

    Convention: rows are target cells row by row; point samples, the nearest cell beyond the edge.
    """
    cells = frame.size[0] * frame.size[1]
    basis = torch.eye(cells, dtype=torch.float64).reshape(1, cells, *frame.size)
    moved = warp(
        basis, transform, frame=frame, interpolation=interpolation, antialias=False,
        beyond="nearest",
    )  # fmt: skip
    return moved.reshape(cells, cells).T


def warp(
    images: Tensor,
    transform: Transform,
    *,
    frame: Frame | None = None,
    size: tuple[int, int] | None = None,
    onto: Frame | None = None,
    interpolation: Interpolation = "bilinear",
    antialias: bool = True,
    beyond: Beyond = "fill",
    fill: float | Sequence[float] = 0.0,
) -> Tensor:
    """Move the content of images or feature maps by a transformation.

    `images` has shape (N, C, H, W), any device; float32 and float64 are computed as such, half
    precision in float32. With `frame` they are feature maps on that grid; without, images on
    their own pixels, and `size` = (rows, columns) cuts or extends the canvas about its centre.
    `onto` is the grid on which the result is wanted, where that is neither of the two, such as
    `frame.part(...)`: only its cells are computed.
    Where samples lie more than a cell apart, the interpolation kernel is widened unless `antialias`
    is off: along each axis of the source by the norm of that row of the sampling matrix. For
    similarities this is the factor of shrinking; a shear, though it keeps areas, spaces its
    samples further along one axis and is widened a little there. Whatever lies `beyond` the source
    is `fill` (one value, or one a channel), the "nearest" cell or the mirror image ("reflect"), for
    each tap of the kernel. Transformations that take grid points to grid points (flips, k·90°,
    whole-pixel shifts) copy values without interpolation.

    Convention: (T_h f)(x) = f(h⁻¹ x); pixel centres (`align_corners=False`), image coordinates
    centred, y down; bicubic is Keys' cubic convolution with a = −1/2, the third-order accurate one.

    Raises ProbeError for tensors that are not (N, C, H, W) floating point, for unknown modes, for
    frames of another size, for `size` together with `frame`, and for a fill that is not finite or
    fits neither one nor all channels.

    >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> from invariance_probe.geometry import rotation
    >>> warp(image, rotation(90))[0, 0].tolist()
    [[1.0, 3.0], [0.0, 2.0]]
    """
    _check(images, frame, size, onto, interpolation, beyond)
    rows, columns = images.shape[-2:]
    source = frame or image_frame(rows, columns)
    target = onto or (source if size is None else image_frame(*size))
    matrix = source_matrix(transform, source, target)
    reading = _Reading(matrix, target.size, interpolation, antialias, beyond)
    wide = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
    return _resample(wide, reading, _level(wide, fill)).to(images.dtype)


def _level(images: Tensor, fill: float | Sequence[float]) -> Tensor:
    """The fill as a tensor (1, 1 or C, 1, 1)."""
    level = images.new_tensor(fill).reshape(1, -1, 1, 1)
    if level.shape[1] not in (1, images.shape[1]):
        raise ProbeError(
            f"fill has {level.shape[1]} values for {images.shape[1]} channels; give one or all"
        )
    if not bool(level.isfinite().all()):
        raise ProbeError(f"fill={fill!r} is not finite; give the background as finite numbers")
    return level


def _resample(images: Tensor, reading: _Reading, level: Tensor) -> Tensor:
    if reading.is_copy:
        return _copy(images, reading, level)
    if reading.beyond == "fill" and bool((level != 0).any()):  # outside is 0 for what follows
        return _resample(images - level, reading, torch.zeros_like(level)) + level
    # PyTorch's sampler has no widened kernel, and no bicubic one but a = −3/4.
    if reading.interpolation == "bilinear" and reading.stretch == (1.0, 1.0):
        return _sample(images, reading)
    if reading.matrix[0, 1] == 0 and reading.matrix[1, 0] == 0:
        return _weigh_axes(images, reading)
    return _weigh(images, reading)


def _sample(images: Tensor, reading: _Reading) -> Tensor:
    """Interpolate bilinearly at the sample positions with PyTorch's sampler."""
    rows, columns = images.shape[-2:]
    x, y = sample_positions(reading.matrix, reading.size)
    # Normalised in float64: float32 arithmetic on pixel positions would cost 1e-4 px at 1,000 px.
    grid = np.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], axis=-1)
    tensor = torch.from_numpy(grid).to(images)
    return F.grid_sample(
        images,
        tensor.expand(len(images), *tensor.shape),
        mode="bilinear",
        padding_mode=_PADDING[reading.beyond],
        align_corners=False,
    )


def _copy(images: Tensor, reading: _Reading, level: Tensor) -> Tensor:
    """Every sample falls on a source cell: copy it, so that k·90° and flips are exact."""
    rows, columns = images.shape[-2:]
    positions = sample_positions(reading.matrix, reading.size)
    x, y = (np.rint(part).astype(np.int64) for part in positions)
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    if reading.beyond == "reflect":
        x, y = reflect(x, columns), reflect(y, rows)
    index = np.clip(y, 0, rows - 1) * columns + np.clip(x, 0, columns - 1)
    taken = images.flatten(2)[:, :, torch.from_numpy(index.ravel()).to(images.device)]
    moved = taken.reshape(*images.shape[:2], *reading.size)
    if reading.beyond == "fill" and not inside.all():
        moved = torch.where(torch.from_numpy(inside).to(images.device), moved, level)
    return moved


def _weigh_axes(images: Tensor, reading: _Reading) -> Tensor:
    """Samples in rows and columns along the axes: two small matrix products."""
    factors = []
    for axis in (0, 1):  # x, y: sizes and shapes count the other way
        jump, start = reading.matrix[axis, axis], reading.matrix[axis, 2]
        weights = axis_weights(
            jump * np.arange(reading.size[1 - axis]) + start,
            reading.stretch[axis],
            images.shape[3 - axis],
            reading.interpolation,
            reading.beyond,
        )
        factors.append(torch.from_numpy(weights).to(images))
    across, down = factors
    return down @ (images @ across.T)


def _weigh(images: Tensor, reading: _Reading) -> Tensor:
    """Samples anywhere: a sparse matrix product, in bands of rows that bound its memory."""
    rows, columns = reading.size
    flat = images.flatten(2).flatten(0, 1).T
    taps = 16 * math.prod(reading.stretch)
    step = max(1, int(_TAPS / (taps * columns)))
    bands = []
    for first in range(0, rows, step):
        down = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, first], [0.0, 0.0, 1.0]])
        operator = stretched_operator(
            reading.matrix @ down,
            (min(step, rows - first), columns),
            (images.shape[2], images.shape[3]),
            reading.interpolation,
            reading.beyond,
            images.dtype,
            antialias=reading.antialias,
        )
        bands.append(operator.to(images.device) @ flat)
    moved = bands[0] if len(bands) == 1 else torch.cat(bands)
    return moved.T.reshape(*images.shape[:2], rows, columns)


def sample_positions(
    matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source columns and rows, each of shape `size`, at which the target cells are read."""
    u, v = np.arange(size[1])[None, :], np.arange(size[0])[:, None]
    x = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
    y = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
    return x, y


def _check(
    images: Tensor,
    frame: Frame | None,
    size: tuple[int, int] | None,
    onto: Frame | None,
    interpolation: str,
    beyond: str,
) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ProbeError(
            f"warp needs a floating-point tensor (N, C, H, W), not {images.dtype} of shape "
            f"{tuple(images.shape)}; convert with .float() and add the missing axes"
        )
    if frame is not None and frame.size != tuple(images.shape[-2:]):
        raise ProbeError(
            f"a frame of {frame.size} cells does not fit maps of {tuple(images.shape[-2:])} cells; "
            "measure the frame at this input size"
        )
    if frame is not None and size is not None:
        raise ProbeError("a map on a frame keeps its grid; give `size` for images without a frame")
    if onto is not None and size is not None:
        raise ProbeError("the result has one grid; give `onto` or `size`, not both")
    if interpolation not in ("bilinear", "bicubic"):
        raise ProbeError(f"unknown interpolation {interpolation!r}; use 'bilinear' or 'bicubic'")
    if beyond not in _PADDING:
        raise ProbeError(f"unknown edge {beyond!r}; use {', '.join(map(repr, _PADDING))}")
