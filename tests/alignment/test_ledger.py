"""The ledger: planted relations between maps, explicit least squares, and what comes by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invariance_probe.alignment import (
    FOLDS,
    PARTS,
    LedgerMoments,
    fit_ledger,
    leading,
    ridge,
)
from invariance_probe.errors import ProbeError

C, SIDE, IMAGES = 3, 7, 60
ALL = torch.ones(SIDE, SIDE)
BASIS = torch.eye(C)


def maps(seed: int, images: int = IMAGES, dtype: torch.dtype = torch.float64) -> Tensor:
    """Maps whose cells and channels are correlated, about a mean map of their own."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images, C, SIDE, SIDE, generator=generator, dtype=torch.float64)
    smooth = F.avg_pool2d(noise, 3, stride=1, padding=1)
    shared = torch.Generator().manual_seed(99)  # of one network, whatever the images
    mixing = torch.randn(C, C, generator=shared, dtype=torch.float64)
    mean_map = torch.randn(C, SIDE, SIDE, generator=shared, dtype=torch.float64)
    mixed = torch.einsum("dc,nchw->ndhw", mixing, 3 * smooth)
    return (mixed + mean_map + 5).to(dtype)


def folds(images: int = IMAGES) -> list[int]:
    return [number % FOLDS for number in range(images)]


def shares(x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor, cells: Tensor = ALL) -> Tensor:
    """What each part leaves of the variance of new images."""
    moments = LedgerMoments(cells, BASIS)
    moments.update(x * cells, y * cells, folds(len(x)))
    errors = fit_ledger(moments).errors(new_x * cells, new_y * cells, cells)
    mean = (new_y * cells).sum((0, 2, 3), keepdim=True) / (len(new_y) * cells.sum())
    about = (new_y - mean) * cells
    return errors.sum(0) / about.square().sum()


def test_the_same_maps_are_predicted_by_one_gain_per_channel() -> None:
    x, new = maps(0), maps(1)
    left = shares(x, x, new, new)
    assert left[0] > 0.1
    assert left[1:] == pytest.approx(0, abs=1e-9)


def test_a_gain_of_minus_two_counts_as_space() -> None:
    x, new = maps(0), maps(1)
    factors = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)[:, None, None]
    left = shares(x, factors * x + 7, new, factors * new + 7)
    assert left[1:] == pytest.approx(0, abs=1e-9)


def test_channels_that_changed_places_count_as_channels() -> None:
    x, new = maps(0), maps(1)
    left = shares(x, x[:, [1, 2, 0]], new, new[:, [1, 2, 0]])
    assert left[1] > 0.1
    assert left[2:] == pytest.approx(0, abs=1e-9)


def test_a_filter_of_three_by_three_cells_counts_as_neighbourhood() -> None:
    generator = torch.Generator().manual_seed(3)
    kernel = torch.randn(C, C, 3, 3, generator=generator, dtype=torch.float64)
    x, new = maps(0), maps(1)
    mean = torch.stack([x, new]).mean((0, 1))  # beyond the map cells count as their mean: as 0 here
    y, new_y = (F.conv2d(m - mean, kernel, padding=1) for m in (x, new))
    left = shares(x, y, new, new_y)
    assert left[2] > 0.1
    assert left[3] < 0.01 * left[2]


def test_the_maps_are_those_of_explicit_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "RIDGES", (1e-13,))
    x, y = maps(0), maps(2) + 0.5 * maps(0).roll(1, 1)
    moments = LedgerMoments(ALL, BASIS)
    moments.update(x, y, folds())
    found = fit_ledger(moments)
    assert found.channel_map is not None and found.around is not None
    x_own, y_own = x - x.mean(0), y - y.mean(0)
    rows = x_own.transpose(0, 1).flatten(1).T.numpy()
    wanted = y_own.transpose(0, 1).flatten(1).T.numpy()
    direct = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    assert found.channel_map.numpy() == pytest.approx(direct, abs=1e-8)
    assert found.gain.numpy() == pytest.approx(
        (rows * wanted).sum(0) / np.square(rows).sum(0), abs=1e-8
    )
    around = F.unfold(x_own, 3, padding=1).transpose(1, 2).flatten(0, 1).numpy()
    wanted = y_own.flatten(2).transpose(1, 2).flatten(0, 1).numpy()
    direct = np.linalg.lstsq(around, wanted, rcond=None)[0].T.reshape(C, C, 3, 3)
    kernel = found.around[1].clone()
    kernel[:, :, 1, 1] = found.around[0]
    assert kernel.numpy() == pytest.approx(direct, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constants_in_channels_change_nothing(dtype: torch.dtype) -> None:
    x, y, new_x, new_y = (maps(seed, dtype=dtype) for seed in range(4))
    plain = shares(x, y + x, new_x, new_y + new_x)
    far = torch.tensor([1e3, -50.0, 0.0], dtype=dtype)[:, None, None]
    moved = shares(x + far, y + x - far, new_x + far, new_y + new_x - far)
    assert moved == pytest.approx(plain, rel=1e-2 if dtype == torch.float32 else 1e-9)


def test_batches_and_folds_add() -> None:
    x, y = maps(0), maps(2)
    one, two = LedgerMoments(ALL, BASIS), LedgerMoments(ALL, BASIS)
    one.update(x, y, folds())
    for start in (0, 7, 30):
        stop = {0: 7, 7: 30, 30: IMAGES}[start]
        two.update(x[start:stop], y[start:stop], folds()[start:stop])
    for name in LedgerMoments.SUMS:
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-12, abs=1e-9)


def test_unrelated_maps_win_nothing() -> None:
    left = shares(maps(0), maps(2), maps(10, 200), maps(12, 200))
    assert left[1:] == pytest.approx(float(left[0]), rel=0.02)


def test_few_images_determine_no_channel_map() -> None:
    moments = LedgerMoments(torch.ones(2, 2), BASIS)
    moments.update(maps(0)[:6, :, :2, :2], maps(1)[:6, :, :2, :2], folds(6))
    found = fit_ledger(moments)
    assert found.channel_map is None and found.around is None
    errors = found.errors(maps(0)[:2, :, :2, :2], maps(1)[:2, :, :2, :2], torch.ones(2, 2))
    assert errors.isnan().tolist() == [[False, False, True, True]] * 2
    assert len(PARTS) == errors.shape[1]


def test_a_mean_map_of_noise_is_drawn_to_the_channels_means() -> None:
    generator = torch.Generator().manual_seed(5)
    y = torch.randn(8, C, SIDE, SIDE, generator=generator, dtype=torch.float64) + 3
    moments = LedgerMoments(ALL, BASIS)
    moments.update(y, y, folds(8))
    assert fit_ledger(moments).held["position"] < 0.1
    mean_map = 100 * torch.randn(C, SIDE, SIDE, generator=generator, dtype=torch.float64)
    moments = LedgerMoments(ALL, BASIS)
    moments.update(y + mean_map, y + mean_map, folds(8))
    found = fit_ledger(moments)
    assert found.held["position"] > 0.999


@pytest.mark.parametrize("signal", [0.0, 0.1, 0.3, 1.0])
def test_few_images_predict_no_worse_by_position_than_channels_means(signal: float) -> None:
    """The factor is that of least error, n s²/(n s² + 1) for noise of variance 1, and no loss."""
    generator = torch.Generator().manual_seed(7)
    images = 9
    mean_map = signal * torch.randn(64, SIDE, SIDE, generator=generator, dtype=torch.float64)
    new = mean_map[None] + torch.randn(
        400, 64, SIDE, SIDE, generator=generator, dtype=torch.float64
    )
    y = mean_map[None] + torch.randn(
        images, 64, SIDE, SIDE, generator=generator, dtype=torch.float64
    )
    moments = LedgerMoments(ALL, torch.eye(64)[:, :2])
    moments.update(y, y, folds(images))
    found = fit_ledger(moments)
    best = images * signal**2 / (images * signal**2 + 1)
    assert found.held["position"] == pytest.approx(best, abs=0.1)
    left = found.errors(new, new, ALL).sum(0)[0]
    channel = new.mean((0, 2, 3), keepdim=True)
    assert left <= 1.01 * (new - channel).square().sum()


def test_a_channel_that_never_varies_is_predicted_by_its_mean() -> None:
    x, new = maps(0), maps(1)
    x[:, 1], new[:, 1] = 2.0, 2.0
    left = shares(x, x.roll(1, 1), new, new.roll(1, 1))
    assert left[2] == pytest.approx(0, abs=1e-9)
    assert bool(left.isfinite().all())


def test_cells_outside_are_never_read() -> None:
    cells = ALL.clone()
    cells[:, :2] = 0
    x, y, new_x, new_y = maps(0), maps(2), maps(3), maps(4)
    plain = shares(x, y, new_x, new_y, cells)
    for one in (x, y, new_x, new_y):
        one[..., :2] = 1e3
    assert torch.equal(shares(x, y, new_x, new_y, cells), plain)


def test_maps_of_another_grid_are_refused() -> None:
    with pytest.raises(ProbeError, match=r"do not belong to \(7, 7\) cells"):
        LedgerMoments(ALL, BASIS).update(maps(0)[..., :5], maps(1)[..., :5], folds())


def test_of_one_image_only_its_map_is_known() -> None:
    moments = LedgerMoments(ALL, BASIS)
    moments.update(maps(0)[:1], maps(1)[:1], [0])
    found = fit_ledger(moments)
    assert found.gain.tolist() == [0, 0, 0]
    assert found.channel_map is None or not (found.channel_map != 0).any()


def test_no_image_is_too_few() -> None:
    with pytest.raises(ProbeError, match="no images were seen"):
        fit_ledger(LedgerMoments(ALL, BASIS))


def test_wide_maps_are_read_around_along_their_leading_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(20, 5, 4, 4, generator=generator)
    wide = torch.einsum("dc,nchw->ndhw", torch.randn(40, 5, generator=generator), few)
    basis = leading(wide[0])
    assert basis.shape == (40, 16)
    assert basis.T @ basis == pytest.approx(np.eye(16), abs=1e-12)
    kept = torch.einsum("ck,nchw->nkhw", basis.float(), wide)
    again = torch.einsum("ck,nkhw->nchw", basis.float(), kept)
    assert again == pytest.approx(wide, abs=1e-4)  # 5 directions hold all there is
    assert torch.equal(leading(wide[0, :9]), torch.eye(9, dtype=torch.float64))
