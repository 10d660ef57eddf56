"""Interpolation kernels as linear operators: weights along an axis, and sparse in the plane."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

# Keys' parameter a. Only −1/2 is third-order accurate: on a unit wave of 14 cells it is off by at
# most 0.0015, the −3/4 of PyTorch's and OpenCV's samplers by 0.020, the bilinear kernel by 0.025.
CUBIC = -0.5

_RADIUS = {"bilinear": 1.0, "bicubic": 2.0}
_SLACK = 1e-6  # rotations come with rows of norm 1 + 2e-16: those do not shrink


def kernel(distance: NDArray[np.float64], interpolation: str) -> NDArray[np.float64]:
    """Value of the interpolation kernel at a distance in cells.

    "bilinear" is the triangle, "bicubic" cubic convolution (Keys 1981, IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29(6), equation 15).
    """
    d = np.abs(distance)
    if interpolation == "bilinear":
        return np.maximum(0.0, 1.0 - d)
    near = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
    far = CUBIC * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def reflect(index: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Mirror indices at the outer edges of the first and last cell (… 1 0 | 0 1 … )."""
    turned = np.mod(index, 2 * number)
    return np.where(turned < number, turned, 2 * number - 1 - turned)


def taps(
    positions: NDArray[np.float64], stretch: float, number: int, interpolation: str, beyond: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Source cells and weights (P, K) for samples at `positions` (P) along one axis.

    The kernel is `stretch` times as wide as the interpolation's own and its weights sum to 1;
    cells beyond the edge are clamped ("nearest"), mirrored ("reflect") or weigh 0 ("fill").
    """
    radius = _RADIUS[interpolation] * stretch
    first = np.floor(positions - radius).astype(np.int64) + 1
    cells = first[:, None] + np.arange(int(np.ceil(2 * radius)))
    weights = kernel((cells - positions[:, None]) / stretch, interpolation)
    weights /= weights.sum(axis=1, keepdims=True)
    if beyond == "fill":
        weights = np.where((cells >= 0) & (cells < number), weights, 0.0)
    elif beyond == "reflect":
        cells = reflect(cells, number)
    return np.clip(cells, 0, number - 1), weights


def axis_weights(
    positions: NDArray[np.float64], stretch: float, number: int, interpolation: str, beyond: str
) -> NDArray[np.float64]:
    """Dense weights (P, number) of samples at `positions` along one axis."""
    cells, weights = taps(positions, stretch, number, interpolation, beyond)
    dense = np.zeros((len(positions), number))
    np.add.at(dense, (np.arange(len(positions))[:, None], cells), weights)
    return dense


def stretches(matrix: NDArray[np.float64], *, antialias: bool = True) -> tuple[float, float]:
    """How much wider the kernel is along x and along y of the source, for a sampling matrix.

    The norm of a row of the linear part says how far apart neighbouring samples lie along that
    axis; where it is below 1, and without `antialias`, the kernel keeps its own width.
    """
    x, y = np.linalg.norm(matrix[:2, :2], axis=1).tolist() if antialias else (1.0, 1.0)
    return (x if x > 1 + _SLACK else 1.0), (y if y > 1 + _SLACK else 1.0)


def stretched_operator(
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    source_size: tuple[int, int],
    interpolation: str,
    beyond: str,
    dtype: torch.dtype,
    *,
    antialias: bool = True,
) -> Tensor:
    """Sparse operator (target cells x source cells) that reads the source at the samples.

    The kernel is a product along the source axes, each widened by the spacing of the samples in
    that direction (`stretches`): for similarities the same low-pass as the separable case at
    angle 0.
    """
    rows, columns = source_size
    stretch = stretches(matrix, antialias=antialias)
    u, v = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    x = (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]).ravel()
    y = (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]).ravel()
    cells_x, weights_x = taps(x, stretch[0], columns, interpolation, beyond)
    cells_y, weights_y = taps(y, stretch[1], rows, interpolation, beyond)
    cells = cells_y[:, :, None] * columns + cells_x[:, None, :]
    weights = weights_y[:, :, None] * weights_x[:, None, :]
    starts = np.arange(len(x) + 1) * cells[0].size
    operator = csr_array((weights.ravel(), cells.ravel(), starts), shape=(len(x), rows * columns))
    operator.eliminate_zeros()  # before cells are merged: what lies outside shares the edge's
    operator.sum_duplicates()
    with warnings.catch_warnings():  # PyTorch announces its sparse layouts as beta on each process
        warnings.filterwarnings("ignore", message=".*(Sparse CSR|invariant checks).*")
        return torch.sparse_csr_tensor(
            torch.from_numpy(operator.indptr),
            torch.from_numpy(operator.indices),
            torch.from_numpy(operator.data).to(dtype),
            operator.shape,
            check_invariants=False,
        )
