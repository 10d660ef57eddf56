"""Images that are known at every point, so that their transforms need no interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invariance_probe.geometry import Frame, Transform, identity


class Scene:
    """A sum of plane waves no shorter than `wavelength` pixels, in image coordinates."""

    def __init__(self, wavelength: float = 10.0, waves: int = 6, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        angles = random.uniform(0, 2 * np.pi, waves)
        rates = 2 * np.pi / (wavelength * random.uniform(1, 2, waves))
        self.rates = np.stack([rates * np.cos(angles), rates * np.sin(angles)])
        self.phases = random.uniform(0, 2 * np.pi, waves)
        self.heights = random.normal(size=waves) / np.sqrt(waves)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.cos(points @ self.rates + self.phases) @ self.heights

    def on(self, frame: Frame, transform: Transform | None = None) -> torch.Tensor:
        """T_h of the scene on a grid, shape (1, 1, rows, columns), by its definition f(h⁻¹ x)."""
        matrix = np.linalg.inv((transform or identity()).matrix)
        points = frame.positions() @ matrix[:2, :2].T + matrix[:2, 2]
        return torch.from_numpy(self(points)).reshape(1, 1, *frame.size)


@pytest.fixture
def make_scene() -> type[Scene]:
    return Scene
