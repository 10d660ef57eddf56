"""The window of compared cells: the numbers of whole maps, and a stated sub-grid of large ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import convolution, smooth

from invariance_probe.geometry import Frame, image_frame, rotation, scaling, shear, warp
from invariance_probe.probing import probe
from invariance_probe.probing.ladder.compared import Compared


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, 3, 13, 17, generator=torch.Generator().manual_seed(0))


FRAME = Frame((2.0, 3.0), (-15.0, -19.0), (13, 17))


def disc() -> np.ndarray:
    x, y = FRAME.positions().T
    return (np.hypot(x / 12, y / 13) < 1).reshape(13, 17)


def placed(compared: Compared, window: torch.Tensor) -> torch.Tensor:
    """A window on the whole map, 0 around it."""
    whole = torch.zeros(*window.shape[:2], *compared.frame.size)
    whole[..., compared.rows, compared.columns] = window
    return whole


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("h", [rotation(30), rotation(90), scaling(0.6), scaling(1.7), shear(0.4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_window_holds_what_the_whole_map_holds(maps, interpolation, h, weighted):
    cells = disc()
    compared = Compared(FRAME, cells, interpolation)
    scale = torch.tensor([1.0, 0.5, 3.0]) if weighted else torch.ones(3)
    compared.weights = scale if weighted else None
    kept = torch.from_numpy(cells) * scale[:, None, None]
    before = maps.clone()

    def on_map(values, g, antialias=False):
        return warp(
            values, g, frame=FRAME, interpolation=interpolation, antialias=antialias,
            beyond="nearest",
        )  # fmt: skip

    torch.testing.assert_close(placed(compared, compared.take(maps)), maps * kept)
    for window, whole in (
        (compared.moved(maps, h), on_map(maps, h)),
        (compared.there_and_back(maps, h), on_map(on_map(maps, h, True), h.inverse())),
    ):
        torch.testing.assert_close(placed(compared, window), whole * kept, rtol=1e-5, atol=2e-5)
    assert compared.number == cells.sum()
    assert compared.step == 1
    torch.testing.assert_close(maps, before, rtol=0, atol=0)


def test_more_cells_than_the_limit_are_compared_on_a_sub_grid(monkeypatch):
    monkeypatch.setattr("invariance_probe.probing.ladder.compared.MOST_CELLS", 16_384)
    frame = image_frame(200, 160)
    compared = Compared(frame, np.ones(frame.size, dtype=bool), "bilinear")
    assert compared.step == 2
    assert compared.number == 100 * 80
    maps = torch.randn(1, 2, 200, 160)
    torch.testing.assert_close(compared.take(maps), maps[..., 1::2, 1::2])
    g = rotation(20)
    whole = warp(maps, g, frame=frame, beyond="nearest", antialias=False)
    torch.testing.assert_close(
        compared.moved(maps, g), whole[..., 1::2, 1::2], rtol=1e-5, atol=2e-5
    )


@pytest.mark.slow
def test_large_maps_say_what_was_compared_and_agree_with_all_cells(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    network = convolution(torch.randn(4, 1, 5, 5, generator=generator), padding=2)
    network = torch.nn.Sequential(network, torch.nn.ReLU())
    images, moves = smooth(8, 220, 160), [rotation(25)]
    monkeypatch.setattr("invariance_probe.probing.ladder.compared.MOST_CELLS", 8_000)
    result = probe(network, ["1"], moves, images, resamples=20, erode=4)
    layer = result.layers.iloc[0]
    assert layer["cell_step"] == 2
    assert layer["compared_cells"] <= 8_000
    assert any("one in 2 along both axes" in text for text in result.provenance["warnings"])
    assert result.alignments["method"].tolist() == ["pyramid 6x6"]
    monkeypatch.setattr("invariance_probe.probing.ladder.compared.MOST_CELLS", 10**6)
    whole = probe(network, ["1"], moves, images, resamples=20, erode=4, search="exact")
    assert whole.layers["cell_step"].tolist() == [1]
    assert whole.alignments["method"].tolist() == ["exact"]
    columns = ["unaligned", "inverse", "best", "inverse_linear", "input_aligned", "other_image"]
    thin, full = (r.summary[columns].iloc[0].to_numpy(float) for r in (result, whole))
    np.testing.assert_allclose(thin, full, rtol=0.02, atol=1e-3)
