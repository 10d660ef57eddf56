"""Centres of cells from the energy of gradients, for maps whose cells see the whole image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ProbeError
from ._capture import run
from ._edges import Line, Maps
from ._support import like

_DRAWS = 3
_CELLS = 7
_SNAP = 0.2


def gradient_lines(
    maps: Maps, layer: str, canvas: tuple[int, int], jumps: tuple[float, float]
) -> tuple[Line, Line]:
    """The (x, y) Lines through the centroids of d map / d image, averaged over random images.

    `jumps` are the pixels per cell that the sizes imply; centroids only give the start, which is
    set to the nearest half pixel when it is within 0.2 px of one. Raises ProbeError when the
    centroids do not move with the cells, so that the layer has no grid.
    """
    cells, centres = _centroids(maps, layer, canvas)
    lines = []
    for axis, jump in enumerate(jumps):
        where, centre = cells[:, axis], centres[:, axis]
        if len(set(where)) > 1:
            slope = float(np.polyfit(where, centre, 1)[0])
            if not 0.4 < slope / jump < 1.6:
                raise _no_grid(layer)
        corner = float(np.median(centre - jump * where))
        if np.median(abs(centre - jump * where - corner)) > jump:
            raise _no_grid(layer)
        if abs(corner - round(2 * corner) / 2) < _SNAP:
            corner = round(2 * corner) / 2
        lines.append(Line(jump, corner))
    return lines[0], lines[1]


def implied_jump(pixels: int, cells: int, added: int | None) -> float:
    """Pixels per cell, a whole number (or 1 over one), from how the map's size follows."""
    ratio = 192 / added if added else pixels / cells
    return float(round(ratio)) if ratio >= 1 else 1.0 / round(1 / ratio)


def _centroids(
    reader: Maps, layer: str, canvas: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cells (n, 2) as (column, row) and the centres (n, 2) of what they see, in pixels."""
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
            raise _no_grid(layer)
        weights = torch.randn(maps[0].shape[1], generator=generator).to(reference)
        projection = torch.einsum("nchw,c->hw", maps[0], weights)
        for column, row in _spread(*projection.shape):
            (slope,) = torch.autograd.grad(projection[row, column], image, retain_graph=True)
            power = slope[0].double().square().sum(0).cpu()
            energy[column, row] = energy.get((column, row), 0.0) + power
    centres = []
    for power in energy.values():
        # What every cell sees alike (attention) has no place; what stands out of it has.
        power = (power - power.median()).clamp(min=0)
        total = float(power.sum())
        if not 0 < total < float("inf"):
            raise _no_grid(layer)
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


def _no_grid(layer: str) -> ProbeError:
    return ProbeError(
        f"layer {layer!r}: its cells have no regular places in the image (what they see does not "
        "move with them); choose a convolutional layer"
    )
