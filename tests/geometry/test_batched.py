"""Transformations as tensors against the values with algebra, OpenCV and NumPy."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    angle_of,
    points_in,
    projective_from_corners,
    rotation,
    rotations_of,
    scale_of,
    scaling,
    scalings_of,
    shear,
    shears_of,
    translation,
    translations_of,
)

ANGLES = st.floats(-720, 720)
FACTORS = st.floats(0.1, 10)
SHIFTS = st.floats(-50, 50)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(found: Tensor, expected: np.ndarray | Tensor, atol: float = 1e-12) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.as_tensor(expected), atol=atol, rtol=1e-12)


@given(ANGLES)
def test_rotations_are_those_of_the_value(degrees: float) -> None:
    close(rotations_of(double(degrees))[0], rotation(degrees).matrix.copy())


@pytest.mark.parametrize("quarter", range(-9, 10))
def test_quarter_turns_are_exact(quarter: int) -> None:
    found = rotations_of(torch.tensor([90 * quarter]))[0]  # whole numbers will do
    assert torch.equal(found, torch.tensor(rotation(90 * quarter).matrix))
    assert not torch.signbit(found[found == 0]).any()


def test_counter_clockwise_on_the_screen() -> None:
    """What is right of the centre is above it after a quarter turn; y points down."""
    assert points_in(rotations_of(double(90)), double(1, 0)[None]).tolist() == [[[0, -1]]]


@given(FACTORS, FACTORS, SHIFTS, SHIFTS)
def test_other_constructors_are_those_of_the_value(
    x: float, y: float, dx: float, dy: float
) -> None:
    close(scalings_of(double(x, y))[1], scaling(y).matrix.copy())
    close(scalings_of(double(x, y)[None])[0], scaling(x, y).matrix.copy())
    close(translations_of(double(dx, dy)[None])[0], translation(dx, dy).matrix.copy())
    close(shears_of(double(dx))[0], shear(dx).matrix.copy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_any_numbers_give_float64(dtype: torch.dtype) -> None:
    given_ = torch.tensor([1, 2], dtype=dtype)
    for made in (rotations_of(given_), scalings_of(given_), shears_of(given_)):
        assert made.shape == (2, 3, 3) and made.dtype == torch.float64
    assert translations_of(given_[None]).dtype == torch.float64


def test_none_of_them() -> None:
    empty = torch.zeros(0)
    for made in (rotations_of(empty), scalings_of(empty), shears_of(empty)):
        assert made.shape == (0, 3, 3)
    assert translations_of(torch.zeros(0, 2)).shape == (0, 3, 3)
    assert projective_from_corners(torch.zeros(0, 4, 2), (28, 28)).shape == (0, 3, 3)


@given(ANGLES, ANGLES)
def test_rotations_compose(one: float, two: float) -> None:
    product = rotations_of(double(one)) @ rotations_of(double(two))
    close(product, rotations_of(double(one + two)), atol=1e-11)


@given(st.floats(-179, 179), FACTORS, st.floats(-2, 2), SHIFTS)
def test_angle_and_scale_are_those_of_the_value(
    degrees: float, factor: float, k: float, dx: float
) -> None:
    value = translation(dx, 1) @ rotation(degrees) @ scaling(factor) @ shear(k)
    made = torch.tensor(value.matrix)[None]
    assert scale_of(made).item() == pytest.approx(value.scale, rel=1e-9)
    turn = math.remainder(angle_of(made).item() - value.angle, 360)
    assert turn == pytest.approx(0, abs=1e-6)


@given(st.floats(-179, 179), FACTORS)
def test_angle_and_scale_are_read_back(degrees: float, factor: float) -> None:
    made = rotations_of(double(degrees)) @ scalings_of(double(factor))
    assert angle_of(made).item() == pytest.approx(degrees, abs=1e-9)
    assert scale_of(made).item() == pytest.approx(factor, rel=1e-9)


def corners(size: tuple[int, int]) -> np.ndarray:
    x, y = size[1] / 2, size[0] / 2
    return np.array([(-x, -y), (x, -y), (-x, y), (x, y)], dtype=np.float32)


@pytest.mark.parametrize("size", [(28, 28), (30, 52)])
def test_projective_maps_are_opencvs(size: tuple[int, int]) -> None:
    moves = np.random.default_rng(0).normal(0, 3, (20, 4, 2)).astype(np.float32)
    found = projective_from_corners(torch.from_numpy(moves), size)
    start = corners(size)
    for matrix, move in zip(found.numpy(), moves, strict=True):
        expected = cv2.getPerspectiveTransform(start, start + move)
        np.testing.assert_allclose(matrix, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (30, 52)])
def test_projective_maps_move_the_corners(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    moves = 3 * torch.randn(20, 4, 2, dtype=torch.float64)
    start = torch.from_numpy(corners(size)).double()
    close(points_in(projective_from_corners(moves, size), start), start + moves, atol=1e-9)


def test_projective_maps_of_special_moves() -> None:
    still = torch.zeros(1, 4, 2)
    close(projective_from_corners(still, (28, 20)), torch.eye(3, dtype=torch.float64)[None])
    shifted = projective_from_corners(still + torch.tensor([3.0, -2.0]), (28, 20))
    close(shifted, translations_of(torch.tensor([[3.0, -2.0]])))


def test_projective_maps_have_gradients() -> None:
    torch.manual_seed(0)
    moves = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: projective_from_corners(m, (8, 10)), (moves,))


def test_corners_on_a_line() -> None:
    moves = torch.zeros(2, 4, 2)
    moves[1, 1] = torch.tensor([-28.0, 0.0])  # top right onto top left
    with pytest.raises(ProbeError, match="three of the moved corners lie on a line; move the"):
        projective_from_corners(moves, (28, 28))
    moves[1, 1] = torch.tensor([-14.0, 14.0])  # top right onto the diagonal
    with pytest.raises(ProbeError, match="three of the moved corners lie on a line"):
        projective_from_corners(moves, (28, 28))


def test_points_are_moved_as_opencv_moves_them() -> None:
    random = np.random.default_rng(1)
    matrices = np.eye(3) + random.normal(0, 0.1, (6, 3, 3)) * [[1, 1, 30], [1, 1, 30], [0.01] * 3]
    points = random.uniform(-10, 10, (6, 5, 2))
    found = points_in(torch.from_numpy(matrices), torch.from_numpy(points))
    for moved, matrix, given_ in zip(found.numpy(), matrices, points, strict=True):
        expected = cv2.perspectiveTransform(given_[None], matrix)[0]
        np.testing.assert_allclose(moved, expected, atol=1e-9)
    shared = points_in(torch.from_numpy(matrices), torch.from_numpy(points[0]))
    close(shared[0], found[0])
    assert shared.shape == (6, 5, 2)


def test_points_at_infinity() -> None:
    matrix = torch.eye(3, dtype=torch.float64)[None].clone()
    matrix[0, 2, 0] = -0.5
    with pytest.raises(ProbeError, match="takes a point to infinity; give a weaker one"):
        points_in(matrix, torch.tensor([[2.0, 0.0]]))
