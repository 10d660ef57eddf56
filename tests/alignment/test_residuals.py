"""Residuals: sums per image, streaming variance, paired bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import PairDistances, Variance, bootstrap, ratio, squared_errors
from invariance_probe.errors import ProbeError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_squared_errors_are_sums_over_cells_and_channels(dtype, weighted):
    random = np.random.default_rng(0)
    a, b = torch.from_numpy(random.normal(size=(2, 5, 3, 4, 6))).to(dtype)
    cells = random.random((4, 6)) < 0.6
    weights = torch.from_numpy(random.uniform(0, 2, 3)) if weighted else None
    kept = a.clone(), b.clone()
    errors = squared_errors(a, b, torch.from_numpy(cells), weights)
    w = np.ones(3) if weights is None else weights.numpy()
    expected = (((a - b).double().numpy() * w[:, None, None]) ** 2)[:, :, cells].sum((1, 2))
    np.testing.assert_allclose(errors.numpy(), expected, rtol=1e-6)
    assert errors.dtype == torch.float64
    assert torch.equal(a, kept[0]) and torch.equal(b, kept[1])


@settings(max_examples=40)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 999), st.booleans())
def test_variance_is_that_of_all_images_whatever_the_batches_and_the_pivot(sizes, seed, weighted):
    random = np.random.default_rng(seed)
    maps = random.normal(size=(sum(sizes), 3, 4, 5)) + random.normal(size=(3, 1, 1))
    cells = random.random((4, 5)) < 0.6
    cells[0, 0] = True
    w = random.uniform(0.1, 2, 3) if weighted else np.ones(3)
    values = maps[:, :, cells] * w[:, None]
    centred = values - values.mean((0, 2), keepdims=True)
    for pivot in (np.zeros(3), random.normal(size=3)):
        variance = Variance(torch.from_numpy(pivot), torch.from_numpy(w) if weighted else None)
        for part in torch.split(torch.from_numpy(maps), sizes):
            variance.update(part, torch.from_numpy(cells))
        images, channels = variance.compute()
        np.testing.assert_allclose(images, (centred**2).sum((1, 2)), rtol=1e-9)
        np.testing.assert_allclose(channels, (centred**2).mean((0, 2)), rtol=1e-9)


def test_variance_of_float32_maps_with_large_means():
    random = np.random.default_rng(1)
    maps = torch.from_numpy(random.normal(size=(20, 2, 6, 6)) + 500).float()
    values = maps.double().numpy()
    variance = Variance(maps[0].mean((1, 2)))
    variance.update(maps, torch.ones(6, 6))
    images, channels = variance.compute()
    expected = ((values - values.mean((0, 2, 3), keepdims=True)) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(images, expected, rtol=1e-5)
    np.testing.assert_allclose(channels, values.var((0, 2, 3)), rtol=1e-5)


def test_a_channel_that_never_varies_has_no_variance():
    for value in (0.0, 0.1, 1e6):
        for pivot in (0.0, value, value * (1 + 2e-7)):
            variance = Variance(torch.tensor([pivot]))
            variance.update(torch.full((3, 1, 5, 5), value), torch.ones(5, 5))
            images, channels = variance.compute()
            assert not images.any()
            assert not channels.any()


def test_ratio_is_a_quotient_of_sums_and_nan_without_variance():
    errors = np.array([[1.0, 2.0], [3.0, 3.0]])
    np.testing.assert_allclose(ratio(errors, np.array([1.0, 3.0])), [0.75, 1.5])
    assert np.isnan(ratio(errors, np.zeros(2))).all()


def plain_bootstrap(errors, variance, resamples, seed, level=0.95):
    """The same draws, by picking images instead of counting them."""
    generator = np.random.default_rng(seed)
    number = errors.shape[-1]
    picked = generator.integers(number, size=(resamples, number))
    values = np.stack([errors[..., p].sum(-1) / variance[p].sum() for p in picked], -1)
    tail = 100 * (1 - level) / 2
    return np.percentile(values, tail, axis=-1), np.percentile(values, 100 - tail, axis=-1)


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_intervals_are_percentiles_over_resampled_images(level):
    random = np.random.default_rng(2)
    errors, variance = random.random((3, 2, 17)), 1 + random.random(17)
    found = bootstrap(ratio_of_sums, errors, variance, resamples=300, level=level, seed=5)
    expected = plain_bootstrap(errors, variance, 300, 5, level)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def ratio_of_sums(errors, variance):
    return errors / variance


def test_memory_is_bounded_without_changing_the_draws(monkeypatch):
    random = np.random.default_rng(3)
    errors, variance = random.random((2, 11)), 1 + random.random(11)
    whole = bootstrap(ratio_of_sums, errors, variance, resamples=100, seed=1)
    seen = []

    def statistic(e, v):
        seen.append(v.shape[-1])
        return e / v

    for entries in (1, 11 * 7, 11 * 100):
        monkeypatch.setattr("invariance_probe.alignment.residuals._ENTRIES", entries)
        np.testing.assert_allclose(
            bootstrap(statistic, errors, variance, resamples=100, seed=1), whole, rtol=1e-12
        )
    assert set(seen) == {1, 7, 2, 100}


def test_intervals_are_paired_across_transformations():
    """Equal rows get equal draws: a difference of two equal curves has no spread."""
    random = np.random.default_rng(4)
    row, variance = random.random(30), 1 + random.random(30)
    errors = np.stack([row, row + 0.5 * variance])
    low, high = bootstrap(lambda e, v: (e[1:] - e[:1]) / v, errors, variance)
    np.testing.assert_allclose([low, high], 0.5, rtol=1e-12)


def test_coverage_is_about_the_level():
    """Mean of 40 normal values: 95 % intervals hold the truth in 90 to 98 % of 300 trials."""
    random = np.random.default_rng(5)
    errors = 10 + random.normal(size=(300, 40))
    low, high = bootstrap(ratio_of_sums, errors, np.ones(40), resamples=500)
    assert 0.90 <= np.mean((low <= 10) & (high >= 10)) <= 0.98
    half = (high - low).mean() / 2
    assert half == pytest.approx(1.96 / np.sqrt(40), rel=0.05)


def test_a_seed_gives_the_same_interval_and_another_a_different_one():
    random = np.random.default_rng(6)
    errors, variance = random.random(9), np.ones(9)
    first, again, other = (
        bootstrap(ratio_of_sums, errors, variance, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_nan_residuals_give_nan_intervals():
    low, high = bootstrap(ratio_nan, np.ones((2, 3)), np.zeros(3), resamples=10)
    assert np.isnan(low).all() and np.isnan(high).all()


def ratio_nan(errors, variance):
    return np.where(variance > 0, errors / np.maximum(variance, 1e-300), np.nan)


def test_one_image_has_no_interval():
    with pytest.raises(ProbeError, match="needs at least 2 images, not 1"):
        bootstrap(ratio_of_sums, np.ones((3, 1)), np.ones(1))


@pytest.mark.parametrize("mean", [0.0, 1e3])
def test_distances_over_all_pairs_add_up_to_those_of_every_pair(mean):
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(7, 3, 4, 5, generator=generator, dtype=torch.float64) + mean
    others = torch.randn(6, 3, 4, 5, generator=generator, dtype=torch.float64) + mean
    cells = (torch.rand(4, 5, generator=generator) > 0.3).double()
    weights = torch.tensor([1.0, 0.0, 2.0])
    pairs = PairDistances(cells, weights)
    for part in others.split(4):
        pairs.refer(part)
    for part in maps.split(3):
        pairs.update(part)
    found = pairs.compute()
    seen = maps * cells * weights[:, None, None]
    apart = [
        float((seen[a] - seen[b]).square().sum()) for a in range(7) for b in range(7) if a != b
    ]
    assert float(found.sum()) == pytest.approx(7 * np.mean(apart), rel=1e-9)
    from_mean = (seen - others.mean(0) * cells * weights[:, None, None]).square().sum((1, 2, 3))
    assert (found / found.sum()).numpy() == pytest.approx((from_mean / from_mean.sum()).numpy())


def test_maps_that_are_all_alike_lie_nowhere_apart():
    pairs = PairDistances()
    pairs.refer(torch.zeros(2, 1, 2, 2))
    pairs.update(torch.full((3, 1, 2, 2), 5.0))
    assert pairs.compute().tolist() == [0, 0, 0]
