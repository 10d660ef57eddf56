"""Maps whose errors can be counted by hand, and scenes whose pose is known exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from invariance_probe.alignment import SpatialMoments
from invariance_probe.geometry import Frame, Transform, identity, image_frame, valid_cells, warp

REACH = {"bilinear": 1, "bicubic": 3}


def _filled(moved, original, *, frame=None, cells=None, interpolation="bilinear", **options):
    frame = frame or image_frame(*original.shape[-2:])
    cells = np.ones(frame.size, dtype=bool) if cells is None else cells
    moments = SpatialMoments(frame, cells, reach=REACH[interpolation], **options)
    moments.update(moved, original)
    return moments


def _direct_error(moved, original, g, frame, cells, interpolation="bilinear", weights=None):
    aligned = warp(
        moved, g, frame=frame, interpolation=interpolation, beyond="nearest", antialias=False
    )
    squares = (aligned.double() - original.double()).square()
    if weights is not None:
        squares = squares * weights.double()[:, None, None] ** 2
    return float(squares.sum((0, 1))[torch.from_numpy(cells)].sum())


class Blobs:
    """`images` sums of Gaussians at least `narrowest` pixels wide: known at every point."""

    def __init__(self, seed: int, images: int = 6, narrowest: float = 2.0, radius: float = 9.0):
        random = np.random.default_rng(seed)
        self.centres = random.uniform(-radius, radius, (images, 12, 2))
        self.widths = random.uniform(narrowest, 2 * narrowest, (images, 12))
        self.heights = random.normal(size=(images, 12))

    def on(self, frame: Frame, transform: Transform | None = None) -> torch.Tensor:
        """T_h of the scenes on a grid (images, 1, rows, columns), by its definition f(h⁻¹ x)."""
        matrix = np.linalg.inv((transform or identity()).matrix)
        points = frame.positions() @ matrix[:2, :2].T + matrix[:2, 2]
        squares = ((points[None, :, None] - self.centres[:, None]) ** 2).sum(-1)
        values = (np.exp(-squares / 2 / self.widths[:, None] ** 2) * self.heights[:, None]).sum(-1)
        return torch.from_numpy(values).reshape(-1, 1, *frame.size)


def _posed(scene: Blobs, h: Transform, frame: Frame, canvas: tuple[int, int], **options):
    """Moments of a scene at pose h against the scene upright, where both are seen."""
    cells = valid_cells(frame, [h], canvas)
    dtype = options.pop("dtype", torch.float32)
    moved, original = scene.on(frame, h).to(dtype), scene.on(frame).to(dtype)
    return _filled(moved, original, frame=frame, cells=cells, **options)


@pytest.fixture(scope="session")
def fill() -> Callable[..., SpatialMoments]:
    return _filled


@pytest.fixture(scope="session")
def direct_error() -> Callable[..., float]:
    return _direct_error


@pytest.fixture(scope="session")
def blobs() -> type[Blobs]:
    return Blobs


@pytest.fixture(scope="session")
def pose() -> Callable[..., SpatialMoments]:
    return _posed
