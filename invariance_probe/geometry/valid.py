"""Which cells of a map can be compared: those whose samples stay inside the image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError
from .frames import Frame
from .transforms import Transform

_SLACK = 1e-6  # pixels; positions on the very edge count as inside


def valid_cells(
    frame: Frame,
    transforms: Iterable[Transform],
    canvas: tuple[int, int],
    *,
    erode: float | None = None,
) -> NDArray[np.bool_]:
    """Cells V, shape (rows, columns), that every transformation of a run leaves comparable.

    A cell at x belongs to V if for each h both h(x) and h⁻¹(x) lie on the canvas, `erode` pixels
    or more from its edge (by default the frame's margin), and on the footprint of the map (half a
    cell beyond the outermost cell centres). h(x) is where an aligned map reads the map of the
    transformed image, h⁻¹(x) is where that image's content at x came from.

    Convention: `canvas` is (H, W); image coordinates, the canvas covers ±W/2 by ±H/2 pixels.

    Raises ProbeError when no cell is left, naming the transformation that excludes the most, or
    the erosion where it leaves none by itself.
    """
    erode = frame.margin if erode is None else erode
    points = np.concatenate([frame.positions(), np.ones((frame.size[0] * frame.size[1], 1))], 1)
    still = _inside(points, frame, canvas, erode)
    valid = still.copy()
    rows, columns = frame.size
    if not valid.any():
        raise ProbeError(
            f"no cell of the {rows}x{columns} map lies on the {canvas[0]}x{canvas[1]} canvas and "
            f"erode={erode:g} px from its edge; use less erosion or an earlier layer"
        )
    worst: tuple[int, Transform | None] = (len(points) + 1, None)
    for transform in transforms:
        here = still.copy()
        for h in (transform, transform.inverse()):
            here &= _inside(points @ h.matrix.T, frame, canvas, erode)
        worst = min(worst, (int(here.sum()), transform), key=lambda item: item[0])
        valid &= here
    if not valid.any():
        together = ", together none" if worst[0] else ""
        raise ProbeError(
            f"no cell of the {rows}x{columns} map stays inside the {canvas[0]}x{canvas[1]} canvas "
            f"under all transformations ({worst[1]} alone leaves {worst[0]} of {len(points)}"
            f"{together}; erode={erode:g} px); use milder ones, less erosion or an earlier layer"
        )
    return valid.reshape(frame.size)


def coverage(frame: Frame, transform: Transform, cells: NDArray[np.bool_] | None = None) -> float:
    """Share of the (chosen) cells that T_g reads on the footprint of the map.

    Convention: T_g reads at g⁻¹ of a cell's position; beyond the footprint it repeats the edge.
    """
    points = np.concatenate([frame.positions(), np.ones((frame.size[0] * frame.size[1], 1))], 1)
    inside = _on_map(points @ transform.inverse().matrix.T, frame)
    return float(inside[cells.ravel()].mean() if cells is not None else inside.mean())


def _inside(
    points: NDArray[np.float64], frame: Frame, canvas: tuple[int, int], erode: float
) -> NDArray[np.bool_]:
    x, y = points[:, 0], points[:, 1]
    on_canvas = (np.abs(x) <= canvas[1] / 2 - erode + _SLACK) & (
        np.abs(y) <= canvas[0] / 2 - erode + _SLACK
    )
    return on_canvas & _on_map(points, frame)


def _on_map(points: NDArray[np.float64], frame: Frame) -> NDArray[np.bool_]:
    cells = points @ frame.inverse_matrix.T
    rows, columns = frame.size
    slack = 0.5 + _SLACK
    return (
        (cells[:, 0] >= -slack)
        & (cells[:, 0] <= columns - 1 + slack)
        & (cells[:, 1] >= -slack)
        & (cells[:, 1] <= rows - 1 + slack)
    )
