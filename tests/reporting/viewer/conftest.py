"""Pictures made up from known numbers, quick to make and hostile in every name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from invariance_probe.geometry import parse_transforms
from invariance_probe.probing.pictures.values import LayerPictures, Pictures, quantised

HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>&amp;'


PASSES = 6


def soft(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Noise whose neighbours are alike, as in maps of photographs."""
    values = random.standard_normal(shape)
    for axis in (-1, -2):
        for _ in range(PASSES):
            values = values + np.roll(values, 1, axis)
    return (values / values.std()).astype(np.float32)


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., Pictures]:
    def make(
        transforms: str = "rotation:-180:180:45",
        layers: dict[str, tuple[int, int]] | None = None,
        images: tuple[str, ...] = ("first", "second"),
        channels: int = 2,
        canvas: tuple[int, int] = (28, 28),
        planes: int = 1,
    ) -> Pictures:
        random = np.random.default_rng(0)
        moves = parse_transforms(transforms)
        n, t = len(images), len(moves)
        made = []
        for name, size in (layers or {"conv1": (20, 20), "conv2": (4, 4)}).items():
            original = soft(random, n, channels, *size).clip(0)
            moved, back = soft(random, 2, n, t, channels, *size).clip(0)
            back[:, [move.is_identity for move in moves]] = original[:, None]
            rows, columns = np.indices(size)
            cells = np.hypot(rows / (size[0] - 1) - 0.5, columns / (size[1] - 1) - 0.5) < 0.6
            residuals = random.uniform(0, 2, (n, t, 1 + channels, 3))
            residuals[-1, 0, -1] = np.nan
            made.append(
                LayerPictures(
                    name, tuple(range(3, 3 + channels)), 64, canvas, 1, cells=cells,
                    residuals=residuals, **quantised(original, moved, back, cells),
                )
            )  # fmt: skip
        shown = (soft(random, n, t + 1, planes, *canvas) * 50 + 128).clip(0, 255).astype(np.uint8)
        shown = np.moveaxis(shown, 2, -1)
        return Pictures(
            images, tuple(move.text for move in moves), shown[:, 0], shown[:, 1:], tuple(made),
            "net: a network", "made-up images", (),
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def pictures(make_pictures: Callable[..., Pictures]) -> Pictures:
    return make_pictures()


@pytest.fixture(scope="session")
def hostile(make_pictures: Callable[..., Pictures]) -> Pictures:
    return make_pictures(
        "rotation:0:90:30 scaling:0.5:2:3 reflection:90",
        {HOSTILE: (10, 12)},
        (HOSTILE, "\u2028" + HOSTILE),
    )
