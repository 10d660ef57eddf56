"""Warping of images and feature maps: (T_h f)(x) = f(h⁻¹ x) on a grid of pixels or cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from .frames import Frame, image_frame
from .kernels import axis_weights, reflect, stretched_operator
from .transforms import Transform

Interpolation = Literal["bilinear", "bicubic"]
Beyond = Literal["fill", "nearest", "reflect"]

_PADDING = {"fill": "zeros", "nearest": "border", "reflect": "reflection"}
_EXACT = 1e-9


def source_matrix(
    transform: Transform, source: Frame, target: Frame | None = None
) -> NDArray[np.float64]:
    """The 3x3 matrix from cells of `target` to the cells of `source` that T_h reads there.

    Convention: acts on (column, row, 1); T_h reads content at h⁻¹ of a cell's position.
    """
    where = transform.inverse().matrix @ (target or source).matrix
    return source.inverse_matrix @ where


def warp(
    images: Tensor,
    transform: Transform,
    *,
    frame: Frame | None = None,
    size: tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
    antialias: bool = True,
    beyond: Beyond = "fill",
    fill: float | Sequence[float] = 0.0,
) -> Tensor:
    """Move the content of images or feature maps by a transformation.

    `images` has shape (N, C, H, W), any device; float32 and float64 are computed as such, half
    precision in float32. With `frame` they are feature maps on that grid; without, images on
    their own pixels, and `size` = (rows, columns) cuts or extends the canvas about its centre.
    Where a transformation shrinks, the interpolation kernel is widened by the same factor unless
    `antialias` is off. Whatever lies `beyond` the source is `fill` (one value, or one a channel),
    the "nearest" cell or the mirror image ("reflect"). Transformations that take grid points to
    grid points (flips, k·90°, whole-pixel shifts) copy values without interpolation.

    Convention: (T_h f)(x) = f(h⁻¹ x); pixel centres (`align_corners=False`), image coordinates
    centred, y down; bicubic is cubic convolution with a = −3/4, as in PyTorch and OpenCV.

    Raises ProbeError for tensors that are not (N, C, H, W) floating point, for unknown modes, for
    frames of another size and for `size` together with `frame`.

    >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> from invariance_probe.geometry import rotation
    >>> warp(image, rotation(90))[0, 0].tolist()
    [[1.0, 3.0], [0.0, 2.0]]
    """
    _check(images, frame, size, interpolation, beyond)
    rows, columns = images.shape[-2:]
    source = frame or image_frame(rows, columns)
    target = source if size is None else image_frame(*size)
    matrix = source_matrix(transform, source, target)
    if images.dtype in (torch.float16, torch.bfloat16):
        wide = images.float()
        moved = _resample(wide, matrix, target.size, interpolation, antialias, beyond, fill)
        return moved.to(images.dtype)
    return _resample(images, matrix, target.size, interpolation, antialias, beyond, fill)


def _resample(
    images: Tensor,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    interpolation: Interpolation,
    antialias: bool,
    beyond: Beyond,
    fill: float | Sequence[float],
) -> Tensor:
    level = images.new_tensor(fill).reshape(1, -1, 1, 1)
    if level.shape[1] not in (1, images.shape[1]):
        raise ProbeError(
            f"fill has {level.shape[1]} values for {images.shape[1]} channels; give one or all"
        )
    if _is_exact(matrix):
        return _copy(images, matrix, size, beyond, level)
    if beyond == "fill" and bool((level != 0).any()):  # outside is 0 for the samplers below
        inner = _resample(images - level, matrix, size, interpolation, antialias, beyond, 0.0)
        return inner + level
    # Rows of the linear part say how far apart neighbouring samples lie along x and y.
    stretch_x, stretch_y = np.linalg.norm(matrix[:2, :2], axis=1)
    if antialias and max(stretch_x, stretch_y) > 1 + 1e-6:
        return _shrink(images, matrix, size, interpolation, beyond)
    return _sample(images, matrix, size, interpolation, beyond)


def _sample(
    images: Tensor,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    interpolation: Interpolation,
    beyond: Beyond,
) -> Tensor:
    """Interpolate at the sample positions with PyTorch's sampler."""
    rows, columns = images.shape[-2:]
    x, y = sample_positions(matrix, size)
    # Normalised in float64: float32 arithmetic on pixel positions would cost 1e-4 px at 1,000 px.
    grid = np.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], axis=-1)
    tensor = torch.from_numpy(grid).to(images)
    return F.grid_sample(
        images,
        tensor.expand(len(images), *tensor.shape),
        mode=interpolation,
        padding_mode=_PADDING[beyond],
        align_corners=False,
    )


def _copy(
    images: Tensor,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    beyond: Beyond,
    level: Tensor,
) -> Tensor:
    """Every sample falls on a source cell: copy it, so that k·90° and flips are exact."""
    rows, columns = images.shape[-2:]
    x, y = (np.rint(part).astype(np.int64) for part in sample_positions(matrix, size))
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    if beyond == "reflect":
        x, y = reflect(x, columns), reflect(y, rows)
    index = np.clip(y, 0, rows - 1) * columns + np.clip(x, 0, columns - 1)
    taken = images.flatten(2)[:, :, torch.from_numpy(index.ravel()).to(images.device)]
    moved = taken.reshape(*images.shape[:2], *size)
    if beyond == "fill" and not inside.all():
        moved = torch.where(torch.from_numpy(inside).to(images.device), moved, level)
    return moved


def _shrink(
    images: Tensor,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    interpolation: Interpolation,
    beyond: Beyond,
) -> Tensor:
    """Interpolate with kernels widened by the spacing of the samples."""
    rows, columns = images.shape[-2:]
    if matrix[0, 1] == 0 and matrix[1, 0] == 0:  # separable: two small matrix products
        across = axis_weights(
            matrix[0, 0] * np.arange(size[1]) + matrix[0, 2],
            max(1.0, abs(matrix[0, 0])), columns, interpolation, beyond,
        )  # fmt: skip
        down = axis_weights(
            matrix[1, 1] * np.arange(size[0]) + matrix[1, 2],
            max(1.0, abs(matrix[1, 1])), rows, interpolation, beyond,
        )  # fmt: skip
        right = torch.from_numpy(across).to(images)
        left = torch.from_numpy(down).to(images)
        return left @ (images @ right.T)
    operator = stretched_operator(
        matrix, size, (rows, columns), interpolation, beyond, dtype=images.dtype
    ).to(images.device)
    flat = images.reshape(-1, rows * columns)
    return (operator @ flat.T).T.reshape(*images.shape[:2], *size)


def sample_positions(
    matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source columns and rows, each of shape `size`, at which the target cells are read."""
    u, v = np.arange(size[1])[None, :], np.arange(size[0])[:, None]
    x = matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]
    y = matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]
    return x, y


def _is_exact(matrix: NDArray[np.float64]) -> bool:
    """Whether the linear part permutes or flips the axes and all samples fall on cells."""
    linear = np.abs(matrix[:2, :2])
    whole = np.abs(matrix[:2] - np.rint(matrix[:2])).max() < _EXACT
    one_each = all((np.rint(linear).sum(axis) == 1).all() for axis in (0, 1))
    return bool(whole and one_each)


def _check(
    images: Tensor,
    frame: Frame | None,
    size: tuple[int, int] | None,
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
    if interpolation not in ("bilinear", "bicubic"):
        raise ProbeError(f"unknown interpolation {interpolation!r}; use 'bilinear' or 'bicubic'")
    if beyond not in _PADDING:
        raise ProbeError(f"unknown edge {beyond!r}; use {', '.join(map(repr, _PADDING))}")
