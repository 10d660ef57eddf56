"""Centres of cells from the energy of gradients, for maps whose cells see the whole image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ProbeError
from ..layers.capture import run
from ..marking.support import like
from ._edges import Line, Maps

_DRAWS = 3
_CELLS = 7
_SNAP = 0.2


def gradient_lines(
    layer: str,
    cells: NDArray[np.float64],
    centres: NDArray[np.float64],
    canvas: tuple[int, int],
    implied: tuple[float | None, float | None],
) -> tuple[Line, Line]:
    """The (x, y) Lines through centroids, as `centroids` gives them.

    `implied` are the pixels per cell that sizes imply, where they do; else the centroids give
    them. They give the start, which is set to the nearest half pixel when it is within 0.2 px of
    one. The error of a Line is how far centroids lie off it, and at least half a cell: a random
    kernel moves all of them by as much. Raises ProbeError when the centroids
    do not move with the cells, so that the layer has no grid.
    """
    lines = []
    for axis in (0, 1):
        where, centre = cells[:, axis], centres[:, axis]
        pixels, number = canvas[1 - axis], int(where.max() - where.min()) + 1
        jump = implied[axis]
        if number > 1:
            slope = float(np.polyfit(where, centre, 1)[0])
            jump = _plain(slope) if jump is None else jump
            if not 0.4 < slope / jump < 1.6:
                raise no_grid(layer)
        jump = float(pixels) if jump is None else jump
        corner = float(np.median(centre - jump * where))
        scatter = float(np.median(abs(centre - jump * where - corner)))
        if scatter > jump:
            raise no_grid(layer)
        if abs(corner - round(2 * corner) / 2) < _SNAP:
            corner = round(2 * corner) / 2
        lines.append(Line(jump, corner, max(scatter, abs(jump) / 2)))
    return lines[0], lines[1]


def deviation(
    cells: NDArray[np.float64], centres: NDArray[np.float64], axis: int, line: Line
) -> float:
    """How far centroids lie off a Line of theirs (axis 0 is x), in cells; inf for another jump."""
    where, centre = cells[:, axis], centres[:, axis]
    if len(set(where)) > 1:
        slope = float(np.polyfit(where, centre, 1)[0])
        if not 0.6 < slope / line.jump < 1.4:
            return float("inf")
    return float(np.median(abs(centre - line.jump * where - line.corner)) / abs(line.jump))


def implied_jump(added: int | None) -> float | None:
    """Pixels per cell from the cells that 192 pixels add; None where the map does not grow."""
    return None if added is None else _plain(192 / added, 192 / added**2)


def _plain(ratio: float, spread: float = 0.0) -> float:
    """The whole number, or 1 over one, that is nearly a ratio; else the ratio."""
    if ratio <= 0:
        return ratio or 1.0
    whole = float(round(ratio)) if ratio >= 1 else 1 / round(1 / ratio)
    return whole if abs(whole - ratio) <= max(spread, 0.08 * ratio) else ratio


def centroids(
    reader: Maps, layer: str, canvas: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cells (n, 2) as (column, row) and the centroids (n, 2) of d map / d image, in pixels.

    Averaged over random images. Raises ProbeError where nothing has a gradient.
    """
    network, channels = reader.network, reader.channels
    layouts = reader.on(canvas, [layer])
    reference = like(network)
    generator = torch.Generator().manual_seed(0)
    energy: dict[tuple[int, int], Tensor] = {}
    for _ in range(_DRAWS):
        noise = torch.randn(1, channels, *canvas, generator=generator).to(reference)
        image = noise.requires_grad_()
        maps: list[Tensor] = []

        def take(name: str, output: object, maps: list[Tensor] = maps) -> None:
            maps.append(reader.read(layer, output, layouts))

        run(network, image * 1, [layer], take, grad=True)
        if not maps[0].requires_grad:
            raise no_grid(layer)
        weights = torch.randn(maps[0].shape[1], generator=generator).to(reference)
        projection = torch.einsum("nchw,c->hw", maps[0], weights)
        for column, row in _spread(*projection.shape):
            place = projection[row, column]
            (slope,) = torch.autograd.grad(place, image, retain_graph=True, allow_unused=True)
            if slope is None:
                raise no_grid(layer)
            power = slope[0].double().square().sum(0).cpu()
            energy[column, row] = energy.get((column, row), 0.0) + power
    centres = []
    for power in energy.values():
        # What every cell sees alike (attention) has no place; what stands out of it has.
        power = (power - power.median()).clamp(min=0)
        total = float(power.sum())
        if not 0 < total < float("inf"):
            raise no_grid(layer)
        rows, columns = (torch.arange(n, dtype=torch.float64) for n in power.shape)
        centres.append(
            (
                float((power.sum(0) * columns).sum()) / total,
                float((power.sum(1) * rows).sum()) / total,
            )
        )
    return np.array(list(energy), dtype=np.float64), np.array(centres)


def _spread(rows: int, columns: int) -> list[tuple[int, int]]:
    """Cells (column, row) that cover both axes, the border left out where there is an inside."""
    along = [
        np.linspace(n // 4, n - 1 - n // 4, _CELLS).round().astype(int) for n in (columns, rows)
    ]
    pairs = (
        np.concatenate([along[0], along[0]]),
        np.concatenate([along[1], np.roll(along[1], _CELLS // 2)]),
    )
    return sorted({(int(u), int(v)) for u, v in zip(*pairs, strict=True)})


def no_grid(layer: str) -> ProbeError:
    return ProbeError(
        f"layer {layer!r}: its cells have no regular places in the image (what they see does not "
        "move with them); choose a convolutional layer"
    )
