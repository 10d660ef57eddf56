"""Where the cells of a map sit in the image: the affine frame of a grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError


@dataclass(frozen=True)
class Frame:
    """The affine map from the cells of a grid to image coordinates.

    Convention: cell (column u, row v) sits at x = jump_x·u + start_x, y = jump_y·v + start_y;
    origin at the image centre, unit one image pixel, x right, y down. `jump` and `start` are
    (x, y) pairs, `size` is (rows, columns) as in a tensor's shape. `margin` is by how many pixels
    a sample must keep from the canvas' edge to be compared.

    >>> Frame(jump=(32, 32), start=(-111.5, -111.5), size=(7, 7)).centre_offset
    (-15.5, -15.5)
    """

    jump: tuple[float, float]
    start: tuple[float, float]
    size: tuple[int, int]
    margin: float = field(default=0.0, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if min(self.size) < 1 or 0 in self.jump:
            raise ProbeError(f"{self} is no grid; sizes must be >= 1 and jumps other than 0")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """3x3 matrix taking (column, row, 1) to (x, y, 1)."""
        (jx, jy), (sx, sy) = self.jump, self.start
        return np.array([[jx, 0.0, sx], [0.0, jy, sy], [0.0, 0.0, 1.0]])

    @property
    def inverse_matrix(self) -> NDArray[np.float64]:
        """3x3 matrix taking (x, y, 1) to (column, row, 1)."""
        (jx, jy), (sx, sy) = self.jump, self.start
        return np.array([[1 / jx, 0.0, -sx / jx], [0.0, 1 / jy, -sy / jy], [0.0, 0.0, 1.0]])

    @property
    def centre_offset(self) -> tuple[float, float]:
        """(dx, dy) in pixels from the image centre to the centre of the map."""
        rows, columns = self.size
        return (
            self.jump[0] * (columns - 1) / 2 + self.start[0],
            self.jump[1] * (rows - 1) / 2 + self.start[1],
        )

    def positions(self) -> NDArray[np.float64]:
        """Image coordinates (rows·columns, 2) of all cells, row by row."""
        rows, columns = self.size
        x = self.jump[0] * np.arange(columns) + self.start[0]
        y = self.jump[1] * np.arange(rows) + self.start[1]
        return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)

    def carried_over(self, matrix: NDArray[np.float64], onto: Frame | None = None) -> bool:
        """Whether a 3x3 matrix on image coordinates takes cells onto cells, none between them.

        Onto those of the frame itself, or of `onto`. It is about the endless grid; cells may leave
        the map, and none is shared by two.

        >>> quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
        >>> image_frame(4, 4).carried_over(quarter), image_frame(4, 5).carried_over(quarter)
        (True, False)
        """
        matrix = np.asarray(matrix, dtype=float)
        cells = (onto or self).inverse_matrix @ matrix @ self.matrix
        whole = np.abs(cells - np.round(cells)).max() < 1e-6
        return bool(whole and abs(abs(np.linalg.det(matrix[:2, :2])) - 1) < 1e-6)

    def pooled(self, factor: int) -> Frame:
        """The frame after averaging blocks of factor x factor cells (a rest at the end is cut)."""
        half = (factor - 1) / 2
        return Frame(
            jump=(self.jump[0] * factor, self.jump[1] * factor),
            start=(self.start[0] + half * self.jump[0], self.start[1] + half * self.jump[1]),
            size=(self.size[0] // factor, self.size[1] // factor),
            margin=self.margin,
        )

    def finer(self, factor: int) -> Frame:
        """The frame of a grid `factor` times finer, of which every `factor`-th cell is one of this.

        Cell (u, v) is cell (factor·u + n, factor·v + n) of it, n = factor // 2, so that it covers
        the footprint of the map and not only what lies between the outermost cells.

        >>> image_frame(2, 2).finer(2)
        Frame(jump=(0.5, 0.5), start=(-1.0, -1.0), size=(4, 4))
        """
        if factor == 1:
            return self
        before = (factor // 2) / factor
        return Frame(
            jump=(self.jump[0] / factor, self.jump[1] / factor),
            start=(self.start[0] - before * self.jump[0], self.start[1] - before * self.jump[1]),
            size=(self.size[0] * factor, self.size[1] * factor),
            margin=self.margin,
        )

    def part(self, rows: slice, columns: slice) -> Frame:
        """The frame of a part of the map, `maps[..., rows, columns]`; steps must be positive.

        >>> image_frame(4, 4).part(slice(1, 4, 2), slice(0, 2))
        Frame(jump=(1.0, 2.0), start=(-1.5, -0.5), size=(2, 2))
        """
        across = range(self.size[1])[columns]
        down = range(self.size[0])[rows]
        return Frame(
            jump=(self.jump[0] * across.step, self.jump[1] * down.step),
            start=(
                self.start[0] + self.jump[0] * across.start,
                self.start[1] + self.jump[1] * down.start,
            ),
            size=(len(down), len(across)),
            margin=self.margin,
        )


def image_frame(rows: int, columns: int) -> Frame:
    """The frame of an image's own pixels: jump 1, centred.

    >>> image_frame(28, 28).start
    (-13.5, -13.5)
    """
    return Frame((1.0, 1.0), (-(columns - 1) / 2, -(rows - 1) / 2), (rows, columns))
