"""Moments: what they sum, that they add, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import SpatialMoments
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import image_frame

NAMES = ("cross", "auto", "target", "channel_sum")


def maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def brute(moved, original, cells, reach, pivot, weights):
    """The definitions, by loops over cells."""
    a = ((moved - pivot[:, None, None]) * weights[:, None, None]).numpy()
    b = ((original - pivot[:, None, None]) * weights[:, None, None]).numpy()
    n, c, rows, columns = a.shape
    a_rows = a.reshape(n * c, -1)
    b_rows = b.reshape(n * c, -1)[:, cells.ravel()]
    auto = np.zeros((2 * reach + 1, 2 * reach + 1, rows, columns))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            for y in range(max(0, -dy), min(rows, rows - dy)):
                for x in range(max(0, -dx), min(columns, columns - dx)):
                    product = a[:, :, y, x] * a[:, :, y + dy, x + dx]
                    auto[reach + dy, reach + dx, y, x] = product.sum()
    return {
        "cross": b_rows.T @ a_rows,
        "auto": auto.reshape(*auto.shape[:2], -1),
        "target": (b_rows**2).sum(0),
        "channel_sum": b[:, :, cells].sum((0, 2)),
    }


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2), (7, 5), (3, 4)])
@pytest.mark.parametrize("reach", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_moments_are_their_definitions(size, reach, dtype, tolerance):
    cells = np.random.default_rng(1).random(size) < 0.7
    cells.flat[0] = True
    a, b = maps(3, 4, *size, dtype=dtype), maps(3, 4, *size, seed=1, dtype=dtype)
    pivot, weights = maps(4, seed=2), maps(4, seed=3).abs()
    moments = SpatialMoments(image_frame(*size), cells, reach=reach, pivot=pivot, weights=weights)
    moments.update(a, b)
    expected = brute(a.double(), b.double(), cells, reach, pivot, weights)
    for name in NAMES:
        value = getattr(moments, name)
        assert value.dtype == torch.float64
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=0, atol=30 * tolerance)
    assert moments.images == 3


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 99))
def test_any_batches_and_any_order_of_adding_give_the_same_moments(sizes, seed):
    total = max(1, sum(sizes))
    a, b = maps(total, 2, 4, 3, seed=seed), maps(total, 2, 4, 3, seed=seed + 100)
    pivot = b[0].mean((1, 2))
    cells = np.ones((4, 3), dtype=bool)

    def empty() -> SpatialMoments:
        return SpatialMoments(image_frame(4, 3), cells, pivot=pivot)

    whole, streamed, left, right = empty(), empty(), empty(), empty()
    whole.update(a, b)
    parts, first = [], 0
    for size in [*sizes, total - sum(sizes)]:
        part = empty()
        if size:
            streamed.update(a[first : first + size], b[first : first + size])
            part.update(a[first : first + size], b[first : first + size])
        parts.append(part)
        first += size
    for part in parts:
        left = left + part
    for part in reversed(parts):
        right = part + right
    for other in (streamed, left, right):
        assert other.images == whole.images == total
        assert other.energy == pytest.approx(whole.energy, rel=1e-12)
        for name in NAMES:
            torch.testing.assert_close(getattr(other, name), getattr(whole, name))


def test_large_batches_are_worked_on_in_pieces_without_changing_the_sums(monkeypatch):
    a, b = maps(9, 3, 5, 5), maps(9, 3, 5, 5, seed=1)
    frame, cells = image_frame(5, 5), np.ones((5, 5), dtype=bool)
    whole, pieces = (SpatialMoments(frame, cells) for _ in range(2))
    whole.update(a, b)
    monkeypatch.setattr("invariance_probe.alignment.moments._BATCH", 2 * 75)
    pieces.update(a, b)
    for name in NAMES:
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name))


def test_a_sum_shares_no_memory_with_its_parts():
    a, b = maps(2, 2, 3, 3), maps(2, 2, 3, 3, seed=1)
    frame, cells = image_frame(3, 3), np.ones((3, 3), dtype=bool)
    part, empty = SpatialMoments(frame, cells), SpatialMoments(frame, cells)
    part.update(a, b)
    before = part.cross.clone()
    total = empty + part
    total.update(a, b)
    torch.testing.assert_close(part.cross, before, rtol=0, atol=0)
    assert (part.images, total.images) == (2, 4)


def test_energy_is_the_variance_about_the_channel_means():
    cells = np.zeros((4, 5), dtype=bool)
    cells[1:3, 1:4] = True
    b = maps(6, 3, 4, 5) + 1000 * maps(3, seed=5)[:, None, None]
    values = b.numpy()[:, :, cells]
    expected = ((values - values.mean((0, 2), keepdims=True)) ** 2).sum()
    for pivot in (None, torch.zeros(3), maps(3, seed=9)):
        moments = SpatialMoments(image_frame(4, 5), cells, pivot=pivot)
        moments.update(b, b)
        assert moments.energy == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_maps_have_no_energy(value, dtype):
    flat = torch.full((3, 2, 4, 4), value, dtype=dtype)
    for pivot in (None, torch.zeros(2)):
        moments = SpatialMoments(image_frame(4, 4), np.ones((4, 4), dtype=bool), pivot=pivot)
        moments.update(flat, flat)
        assert moments.energy == 0.0


def test_half_precision_maps_are_summed_in_float32():
    a = maps(64, 8, 4, 4, dtype=torch.float16) * 50
    frame, cells = image_frame(4, 4), np.ones((4, 4), dtype=bool)
    half, single = (SpatialMoments(frame, cells, pivot=torch.zeros(8)) for _ in range(2))
    half.update(a, a)
    single.update(a.float(), a.float())
    torch.testing.assert_close(half.cross, single.cross, rtol=0, atol=0)


def test_a_grid_needs_cells_of_its_own_shape():
    with pytest.raises(ProbeError, match=r"cells of shape \(2, 2\) with 4 chosen do not fit a map"):
        SpatialMoments(image_frame(3, 3), np.ones((2, 2), dtype=bool))
    with pytest.raises(ProbeError, match=r"with 0 chosen .*choose at least one cell of that map"):
        SpatialMoments(image_frame(3, 3), np.zeros((3, 3), dtype=bool))


def test_maps_must_belong_to_the_grid():
    moments = SpatialMoments(image_frame(3, 3), np.ones((3, 3), dtype=bool))
    with pytest.raises(ProbeError, match=r"\(1, 2, 3, 4\).* do not belong to a grid of \(3, 3\)"):
        moments.update(maps(1, 2, 3, 4), maps(1, 2, 3, 4))
    with pytest.raises(ProbeError, match=r"\(1, 2, 3, 3\) and \(2, 2, 3, 3\)"):
        moments.update(maps(1, 2, 3, 3), maps(2, 2, 3, 3))


def test_only_moments_of_one_kind_add():
    frame, cells = image_frame(3, 3), np.ones((3, 3), dtype=bool)
    a = maps(2, 2, 3, 3)
    other_cells = cells.copy()
    other_cells[0, 0] = False
    base = SpatialMoments(frame, cells)
    for different in (
        SpatialMoments(image_frame(3, 4), np.ones((3, 4), dtype=bool)),
        SpatialMoments(frame, other_cells),
        SpatialMoments(frame, cells, reach=3),
        SpatialMoments(frame, cells, weights=torch.ones(2)),
    ):
        with pytest.raises(ProbeError, match="different grids, cells or weights do not add"):
            base + different
    one = SpatialMoments(frame, cells, pivot=torch.zeros(2))
    two = SpatialMoments(frame, cells, pivot=torch.ones(2))
    one.update(a, a)
    two.update(a, a)
    with pytest.raises(ProbeError, match="different pivots do not add; give both the same pivot"):
        one + two
