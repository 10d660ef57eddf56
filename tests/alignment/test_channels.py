"""Channel maps: planted permutations, rotations and mixtures come back."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import ChannelMoments, fit_channel_maps
from invariance_probe.errors import ProbeError


def maps(number: int, channels: int, side: int = 14, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, channels, side, side, generator=generator)


def moments(x: torch.Tensor, y: torch.Tensor, batch: int = 8) -> ChannelMoments:
    total = ChannelMoments(torch.ones(x.shape[-2:]))
    for first in range(0, len(x), batch):
        total.update(x[first : first + batch], y[first : first + batch])
    return total


def test_a_planted_permutation_comes_back_through_noise():
    """64 channels, 32 images, 20 % noise."""
    planted = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    x = maps(32, 64)
    y = x[:, planted] + 0.2 * maps(32, 64, seed=2)
    found = fit_channel_maps(moments(x, y))
    assert found.permutation.tolist() == planted.tolist()
    assert found.moved == pytest.approx(
        (planted != torch.arange(64)).float().mean().item(), abs=0.02
    )
    assert found.determined


def test_a_planted_orthogonal_map_comes_back_held_out():
    matrix = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(4)))[0]
    x, fresh = maps(32, 32), maps(16, 32, seed=9)
    y = torch.einsum("ck,nkyx->ncyx", matrix, x) + 0.1 * maps(32, 32, seed=5)
    found = fit_channel_maps(moments(x, y))
    truth = torch.einsum("ck,nkyx->ncyx", matrix, fresh)
    guess = torch.einsum("ck,nkyx->ncyx", torch.from_numpy(found.orthogonal).float(), fresh)
    assert (guess - truth).square().sum() / truth.square().sum() < 0.01


@pytest.mark.parametrize("mean", [0.0, 3.0, 1e3])
def test_the_linear_map_is_least_squares_with_an_intercept(mean):
    x, y = (m.double() for m in (maps(16, 6), maps(16, 6, seed=3) + maps(16, 6)))
    x, y = x + mean * torch.arange(6.0)[:, None, None], y - mean * torch.ones(6, 1, 1)
    found = fit_channel_maps(moments(x, y), ridge=1e-12)
    flat = [m.transpose(0, 1).flatten(1).numpy() for m in (x, y)]
    centred = [m - m.mean(1, keepdims=True) for m in flat]
    expected = np.linalg.lstsq(centred[0].T, centred[1].T, rcond=None)[0].T
    assert found.linear == pytest.approx(expected, abs=1e-6)
    residual = np.sum((expected @ centred[0] - centred[1]) ** 2)
    assert found.errors["inverse_linear"] == pytest.approx(residual, rel=1e-6, abs=1e-4 * mean)
    direct = found.linear @ flat[0] + found.offset(found.linear)[:, None] - flat[1]
    assert np.sum(direct**2) == pytest.approx(residual, rel=1e-6)


@pytest.mark.parametrize(("noise", "least", "most"), [(0, 0, 1e-4), (30, 0.1, math.inf)])
def test_the_ridge_suits_what_the_images_tell(noise, least, most):
    """A mixture that is there in full wants none; where noise drowns it, the orthogonal map."""
    mixture = torch.randn(6, 6, generator=torch.Generator().manual_seed(8))
    x = maps(12, 6, 3)
    y = torch.einsum("ck,nkyx->ncyx", mixture, x) + noise * maps(12, 6, 3, seed=4)
    assert least <= fit_channel_maps(moments(x, y)).ridge <= most


def test_the_ridge_is_chosen_on_images_left_out():
    """Against least squares on each fold's rest, scored on the fold."""
    x, y = (m.double() for m in (maps(7, 5, 3), maps(7, 5, 3, seed=3) + maps(7, 5, 3)))
    found = fit_channel_maps(moments(x, y, batch=3))
    errors = {}
    for ridge in (10 ** (power / 2) for power in range(-16, 3)):
        errors[ridge] = 0.0
        for fold in range(4):
            out = np.arange(7) % 4 == fold
            rest = fit_channel_maps(moments(x[~out], y[~out]), ridge=ridge)
            flat = (m[out].transpose(0, 1).flatten(1).numpy() for m in (x, y))
            a, b = flat
            left = rest.linear @ a + rest.offset(rest.linear)[:, None] - b
            errors[ridge] += np.square(left).sum()
    assert found.ridge == min(errors, key=errors.__getitem__)
    again = fit_channel_maps(moments(x, y), ridge=found.ridge)
    np.testing.assert_allclose(found.linear, again.linear, atol=1e-12)


def test_many_channels_are_kept_in_two_folds():
    total = ChannelMoments(torch.ones(1, 1))
    total.update(torch.zeros(5, 1025, 1, 1), torch.zeros(5, 1025, 1, 1))
    assert total.autos.shape == (2, 1025, 1025) and total.numbers.tolist() == [3, 2]
    assert total.images == total.samples == 5


def test_constants_in_channels_change_no_fitted_map():
    x, y = (m.double() for m in (maps(16, 6), maps(16, 6, seed=3) + maps(16, 6)))
    plain = fit_channel_maps(moments(x, y))
    added = fit_channel_maps(moments(x + 25, y + 25))
    assert added.linear == pytest.approx(plain.linear, abs=1e-8)
    assert added.orthogonal == pytest.approx(plain.orthogonal, abs=1e-8)
    for name in ("inverse_orthogonal", "inverse_linear"):
        assert added.errors[name] == pytest.approx(plain.errors[name], rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(0, 10_000), st.floats(1e-6, 10))
def test_in_sample_the_ladder_is_nested(channels, seed, ridge):
    x, y = maps(5, channels, 4, seed), maps(5, channels, 4, seed + 1) + 1
    errors = fit_channel_maps(moments(x, y), ridge=ridge).errors
    slack = 1e-6 * errors["inverse"]
    assert errors["inverse_permuted"] <= errors["inverse"] + slack
    assert errors["inverse_orthogonal"] <= errors["inverse_permuted"] + slack
    assert errors["inverse_linear"] <= errors["inverse_orthogonal"] + slack


def test_moments_add_and_do_not_depend_on_batches():
    x, y = maps(12, 5), maps(12, 5, seed=1)
    whole, parts = moments(x, y, 12), moments(x[:5], y[:5]) + moments(x[5:], y[5:])
    small = moments(x, y, 1)
    for other in (parts, small):
        for name in ("auto", "cross", "target", "sums", "by_cell"):
            torch.testing.assert_close(getattr(whole, name), getattr(other, name))
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    direct = torch.einsum("ck,nkyx->ncyx", torch.from_numpy(matrix), x.double()) - y.double()
    assert whole.error(matrix) == pytest.approx(direct.square().sum().item(), rel=1e-6)


def test_too_few_samples_are_not_determined():
    x = maps(2, 40, 4)
    assert not fit_channel_maps(moments(x, x)).determined  # 32 samples for 40 channels
    assert fit_channel_maps(moments(maps(3, 40, 4), maps(3, 40, 4))).determined


def test_by_chance_unrelated_images_move_nearly_everything():
    x, y = maps(32, 32), maps(32, 32, seed=8)
    found = fit_channel_maps(moments(x, y))
    assert found.moved > 0.8
    assert found.moved_by_chance > 0.8


def test_correlation_is_pearsons_and_0_for_dead_channels():
    x, y = maps(6, 4) + 3, maps(6, 4, seed=1)
    y[:, 1] += x[:, 2]
    x[:, 3] = 0
    found = fit_channel_maps(moments(x, y)).correlation
    flat = [m.transpose(0, 1).flatten(1).double().numpy() for m in (x, y)]
    for row in range(4):
        for column in range(3):
            expected = np.corrcoef(flat[1][row], flat[0][column])[0, 1]
            assert found[row, column] == pytest.approx(expected, abs=1e-5)
    assert (found[:, 3] == 0).all()


def test_chance_is_over_all_pairs_of_different_images_in_any_order():
    x, y = maps(6, 4, 5).double(), maps(6, 4, 5, seed=1).double()
    x[:, 2] += 2 * y.mean(0)[0]  # channel 0 of the mean map is in channel 2 of every image
    found = fit_channel_maps(moments(x, y))
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    others, own = (np.concatenate([m[p[k]].flatten(1).numpy() for p in pairs], axis=1)
                   for k, m in enumerate((x, y)))  # fmt: skip
    for row in range(4):
        best = max(np.corrcoef(own[row], others[k])[0, 1] for k in range(4) if k != row)
        assert found.by_chance[row] == pytest.approx(best, abs=1e-9)
    assert found.by_chance[0] > 0.1
    cost = [((others[list(p)] - own) ** 2).sum() for p in itertools.permutations(range(4))]
    best = list(itertools.permutations(range(4)))[int(np.argmin(cost))]
    variance = y.transpose(0, 1).flatten(1).numpy().var(axis=1)
    share = sum(v for c, v in enumerate(variance) if best[c] != c) / variance.sum()
    assert found.moved_by_chance == pytest.approx(share)
    order = [3, 0, 5, 1, 4, 2]
    again = fit_channel_maps(moments(x[order], y[order], batch=1))
    assert again.moved_by_chance == found.moved_by_chance
    np.testing.assert_allclose(again.by_chance, found.by_chance, atol=1e-12)


def test_without_another_image_or_channel_there_is_no_chance():
    assert np.isnan(fit_channel_maps(moments(maps(1, 4), maps(1, 4))).by_chance).all()
    assert np.isnan(fit_channel_maps(moments(maps(6, 1), maps(6, 1))).by_chance).all()


@pytest.mark.parametrize("dead", [[1], [0, 3], [1, 2, 4]])
def test_dead_channels_stay_where_they_are(dead):
    """What no sample decides is the identity, not a rotation that rounding picks."""
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 6, 5, 4, 4, generator=generator, dtype=torch.float64)
    a[:, dead] = b[:, dead] = 0
    moments = ChannelMoments(torch.ones(4, 4))
    moments.update(a, b)
    maps = fit_channel_maps(moments)
    eye = np.eye(5)
    np.testing.assert_allclose(maps.orthogonal[dead], eye[dead], atol=1e-12)
    np.testing.assert_allclose(maps.linear[dead], eye[dead], atol=1e-12)
    np.testing.assert_allclose(maps.orthogonal @ maps.orthogonal.T, eye, atol=1e-12)
    alive = [c for c in range(5) if c not in dead]
    means = np.asarray(moments.sums) / moments.samples
    between = np.asarray(moments.cross) - moments.samples * np.outer(means[1], means[0])
    left, _, right = np.linalg.svd(between[np.ix_(alive, alive)])
    np.testing.assert_allclose(maps.orthogonal[np.ix_(alive, alive)], left @ right, atol=1e-10)
    own = maps.linear[np.ix_(alive, alive)]
    assert maps.diagonal == pytest.approx((np.diag(own) ** 2).sum() / (own**2).sum())


def test_messages():
    with pytest.raises(ProbeError, match="no images were seen"):
        fit_channel_maps(ChannelMoments(torch.ones(4, 4)))
    with pytest.raises(ProbeError, match=r"do not belong to \(4, 4\) cells"):
        ChannelMoments(torch.ones(4, 4)).update(maps(1, 2, 5), maps(1, 2, 5))
