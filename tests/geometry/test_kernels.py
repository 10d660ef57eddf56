"""Interpolation kernels against their definitions and against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.geometry import rotation
from invariance_probe.geometry.kernels import (
    axis_weights,
    kernel,
    reflect,
    stretched_operator,
    stretches,
    taps,
)

KINDS = ("bilinear", "bicubic")
PADS = {"fill": "constant", "nearest": "edge", "reflect": "symmetric"}
POSITIONS = np.array([-3.7, -0.5, -0.2, 0.0, 0.25, 2.0, 3.5, 4.9, 5.0, 5.4, 8.8])


def by_definition(
    values: np.ndarray, positions: np.ndarray, stretch: float, interpolation: str, beyond: str
) -> np.ndarray:
    """Σ k((j − x)/stretch) f_j / Σ k((j − x)/stretch) over a generously padded signal."""
    reach = 40
    padded = np.pad(values, reach, mode=PADS[beyond])
    cells = np.arange(len(padded)) - reach
    weights = kernel((cells - positions[:, None]) / stretch, interpolation)
    return weights @ padded / weights.sum(1)


@pytest.mark.parametrize("interpolation", KINDS)
def test_kernel_is_one_at_its_cell_and_zero_at_the_others(interpolation: str) -> None:
    assert kernel(np.arange(-4.0, 5.0), interpolation).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("interpolation", KINDS)
def test_kernel_is_even_and_its_shifts_sum_to_one(interpolation: str) -> None:
    offsets = np.linspace(-0.5, 0.5, 21)
    shifts = offsets[:, None] + np.arange(-4, 5)
    np.testing.assert_allclose(kernel(shifts, interpolation).sum(1), 1, atol=1e-14)
    np.testing.assert_array_equal(kernel(shifts, interpolation), kernel(-shifts, interpolation))


@pytest.mark.parametrize("interpolation", KINDS)
def test_kernel_is_pytorchs_impulse_response(interpolation: str) -> None:
    """With antialias: without it, PyTorch's bicubic kernel is another one (a = −3/4)."""
    impulse = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    impulse[0, 0, 4, 4] = 1
    options = {"align_corners": False, "antialias": True}
    fine = F.interpolate(impulse, scale_factor=8, mode=interpolation, **options)[0, 0]
    distance = (np.arange(72) + 0.5) / 8 - 0.5 - 4
    weights = kernel(distance, interpolation)
    np.testing.assert_allclose(fine, np.outer(weights, weights), atol=1e-12)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_cubic_kernel_keeps_parabolas(power: int) -> None:
    offsets = np.linspace(-0.5, 0.5, 21)
    cells = np.arange(-3, 4)
    weights = kernel(cells - offsets[:, None], "bicubic")
    np.testing.assert_allclose(weights @ cells**power, offsets**power, atol=1e-14)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.eye(3), (1, 1)),
        (np.diag([0.5, 3, 1]), (1, 3)),
        (np.array([[1, 0.75, 9], [0, 1, 9], [0, 0, 1]]), (1.25, 1)),
        (rotation(33).matrix @ np.diag([2, 2, 1]), (2, 2)),
    ],
)
def test_kernels_widen_with_the_rows_of_the_matrix(
    matrix: np.ndarray, expected: tuple[float, float]
) -> None:
    assert stretches(matrix) == pytest.approx(expected, rel=1e-14)
    assert stretches(matrix, antialias=False) == (1, 1)


@pytest.mark.parametrize("degrees", [33.0, 45.0, 120.0])
def test_rounding_in_a_rotation_widens_nothing(degrees: float) -> None:
    assert stretches(rotation(degrees).matrix * (1 + 1e-12)) == (1, 1)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_reflection_is_numpys_symmetric_padding(number: int) -> None:
    padded = np.pad(np.arange(number), 13, mode="symmetric")
    np.testing.assert_array_equal(reflect(np.arange(-13, number + 13), number), padded)


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("interpolation", KINDS)
@pytest.mark.parametrize("stretch", [1.0, 1.5, 2.0, 3.7])
def test_weights_by_definition(stretch: float, interpolation: str, beyond: str) -> None:
    values = np.random.default_rng(0).normal(size=6)
    weights = axis_weights(POSITIONS, stretch, 6, interpolation, beyond)
    expected = by_definition(values, POSITIONS, stretch, interpolation, beyond)
    assert weights.shape == (len(POSITIONS), 6)
    np.testing.assert_allclose(weights @ values, expected, atol=1e-12)


@settings(max_examples=60)
@given(
    st.floats(-10, 20), st.floats(1, 6), st.integers(1, 12), st.sampled_from(KINDS),
    st.sampled_from(tuple(PADS)),
)  # fmt: skip
def test_no_tap_is_missed(
    position: float, stretch: float, number: int, interpolation: str, beyond: str
) -> None:
    values = np.cos(np.arange(number) * 1.7) + 2
    at = np.array([position])
    weights = axis_weights(at, stretch, number, interpolation, beyond)
    expected = by_definition(values, at, stretch, interpolation, beyond)
    np.testing.assert_allclose(weights @ values, expected, atol=1e-9)


@pytest.mark.parametrize("beyond", ["nearest", "reflect"])
@pytest.mark.parametrize("interpolation", KINDS)
def test_weights_sum_to_one_where_the_edge_goes_on(interpolation: str, beyond: str) -> None:
    weights = axis_weights(POSITIONS, 2.3, 6, interpolation, beyond)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-14)


def test_weights_that_fall_outside_are_lost_to_the_fill() -> None:
    lost = 1 - axis_weights(np.array([-0.25, 0.0, 2.5, 5.75]), 1.0, 6, "bilinear", "fill").sum(1)
    np.testing.assert_allclose(lost, [0.25, 0, 0, 0.75])


@pytest.mark.parametrize("interpolation", KINDS)
def test_a_sample_on_a_cell_reads_that_cell(interpolation: str) -> None:
    weights = axis_weights(np.arange(6.0), 1.0, 6, interpolation, "fill")
    np.testing.assert_array_equal(weights, np.eye(6))


def test_bilinear_taps_in_closed_form() -> None:
    cells, weights = taps(np.array([2.25]), 1.0, 6, "bilinear", "fill")
    dense = dict(zip(cells[0].tolist(), weights[0].tolist(), strict=True))
    assert {cell: weight for cell, weight in dense.items() if weight} == {2: 0.75, 3: 0.25}
    # twice as wide at 1.5: distances 1.5, 0.5, 0.5, 1.5 weigh 1 : 3 : 3 : 1
    weights = axis_weights(np.array([1.5]), 2.0, 6, "bilinear", "fill")
    np.testing.assert_allclose(weights, np.array([[1, 3, 3, 1, 0, 0]]) / 8)


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("interpolation", KINDS)
def test_operator_of_a_scaling_is_the_product_of_its_axes(interpolation: str, beyond: str) -> None:
    matrix = np.array([[2.0, 0, -0.7], [0, 1.5, 0.3], [0, 0, 1]])
    operator = stretched_operator(matrix, (4, 5), (7, 9), interpolation, beyond, torch.float64)
    across = axis_weights(2.0 * np.arange(5) - 0.7, 2.0, 9, interpolation, beyond)
    down = axis_weights(1.5 * np.arange(4) + 0.3, 1.5, 7, interpolation, beyond)
    np.testing.assert_allclose(operator.to_dense(), np.kron(down, across), atol=1e-14)


def test_operator_of_a_rotation_widens_both_axes_by_the_shrinking() -> None:
    cos, sin = 2.5 * np.cos(0.6), 2.5 * np.sin(0.6)
    matrix = np.array([[cos, -sin, 8.0], [sin, cos, 3.0], [0, 0, 1]])
    operator = stretched_operator(matrix, (3, 4), (20, 18), "bilinear", "fill", torch.float64)
    dense = operator.to_dense().reshape(3, 4, 20, 18)
    for row in range(3):
        for column in range(4):
            x, y, _ = matrix @ [column, row, 1]
            across = np.maximum(0, 1 - np.abs(np.arange(-60, 80) - x) / 2.5)
            down = np.maximum(0, 1 - np.abs(np.arange(-60, 80) - y) / 2.5)
            expected = np.outer(down / down.sum(), across / across.sum())[60:80, 60:78]
            np.testing.assert_allclose(dense[row, column], expected, atol=1e-12)


@pytest.mark.parametrize("beyond", PADS)
def test_operator_is_a_proper_sparse_matrix(beyond: str) -> None:
    """Each source cell once a row and in order, also where an edge is read several times."""
    matrix = rotation(33).matrix @ np.diag([1.7, 1.7, 1])
    operator = stretched_operator(matrix, (9, 9), (5, 4), "bicubic", beyond, torch.float64)
    torch.sparse_csr_tensor(
        operator.crow_indices(), operator.col_indices(), operator.values(), operator.shape,
        check_invariants=True,
    )  # fmt: skip
    sums = operator.to_dense().sum(1)
    if beyond != "fill":
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_operator_without_antialiasing_has_the_kernels_own_width() -> None:
    matrix = rotation(33).matrix @ np.diag([3.0, 3.0, 1])
    options = ((4, 4), (20, 20), "bilinear", "nearest", torch.float64)
    own, wide = (stretched_operator(matrix, *options, antialias=on) for on in (False, True))
    assert own.crow_indices().diff().max() <= 4
    assert wide.crow_indices().diff().max() > 16


def test_operator_has_the_dtype_asked_for_and_warns_of_nothing(
    recwarn: pytest.WarningsRecorder,
) -> None:
    half = np.diag([2.0, 2, 1])
    operator = stretched_operator(half, (3, 3), (6, 6), "bilinear", "fill", torch.float32)
    assert operator.dtype == torch.float32
    assert operator.shape == (9, 36)
    assert not recwarn.list
