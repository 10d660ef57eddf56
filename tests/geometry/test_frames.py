"""Frames: where cells sit, and warps of maps whose centre is not the image's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    Frame,
    Transform,
    identity,
    image_frame,
    reflection,
    rotation,
    scaling,
    source_matrix,
    translation,
    valid_cells,
    warp,
)

FRAME = Frame(jump=(4, 2), start=(-13.5, 3.25), size=(3, 5))


def convolved(frame: Frame, kernel: int, stride: int, padding: int) -> Frame:
    """The frame after a convolution: a cell sits at the centre of its kernel's footprint."""
    shift = (kernel - 1) / 2 - padding
    return Frame(
        jump=(frame.jump[0] * stride, frame.jump[1] * stride),
        start=tuple(s + shift * j for s, j in zip(frame.start, frame.jump, strict=True)),
        size=tuple((n + 2 * padding - kernel) // stride + 1 for n in frame.size),
    )


def test_positions_cell_by_cell_row_after_row() -> None:
    expected = [(4 * u - 13.5, 2 * v + 3.25) for v in range(3) for u in range(5)]
    assert FRAME.positions().tolist() == [list(point) for point in expected]


def test_matrix_takes_cells_to_positions_and_back() -> None:
    cells = np.array([(u, v, 1) for v in range(3) for u in range(5)])
    positions = cells @ FRAME.matrix.T
    np.testing.assert_array_equal(positions[:, :2], FRAME.positions())
    np.testing.assert_allclose(positions @ FRAME.inverse_matrix.T, cells, atol=1e-13)


def test_centre_offset_is_the_mean_position() -> None:
    np.testing.assert_allclose(FRAME.centre_offset, FRAME.positions().mean(0))


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 4), (7, 7)])
def test_image_frame_is_centred(size: tuple[int, int]) -> None:
    frame = image_frame(*size)
    assert frame.centre_offset == (0, 0)
    assert frame.jump == (1, 1)
    assert frame.size == size
    assert frame.positions()[0].tolist() == [-(size[1] - 1) / 2, -(size[0] - 1) / 2]


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pooled_cells_sit_at_the_mean_of_their_blocks(factor: int) -> None:
    frame = Frame(jump=(2, 3), start=(-7.5, 1), size=(7, 8))
    positions = torch.from_numpy(frame.positions().T.reshape(1, 2, 7, 8).copy())
    means = F.avg_pool2d(positions, factor)
    pooled = frame.pooled(factor)
    assert pooled.size == tuple(means.shape[-2:])
    np.testing.assert_allclose(pooled.positions(), means[0].flatten(1).T, atol=1e-12)


@pytest.mark.parametrize(
    ("canvas", "offsets"),
    [
        (224, [-0.5, -1.5, -3.5, -7.5, -15.5]),
        (256, [-0.5, -1.5, -3.5, -7.5, -15.5]),
        (225, [0] * 5),
    ],
)
def test_centre_offsets_of_a_residual_network(canvas: int, offsets: list[float]) -> None:
    frame, found = image_frame(canvas, canvas), []
    for kernel, padding in ((7, 3), (3, 1), (3, 1), (3, 1), (3, 1)):
        frame = convolved(frame, kernel, 2, padding)
        found.append(frame.centre_offset)
    assert found == [(offset, offset) for offset in offsets]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Frame((1, 1), (0, 0), (0, 3)), r"Frame\(.*\) is no grid; sizes must be >= 1"),
        (lambda: Frame((0, 1), (0, 0), (3, 3)), r"jumps other than 0"),
        (lambda: image_frame(3, 3).pooled(4), r"is no grid"),
    ],
)
def test_what_is_no_grid_is_refused(build: object, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        build()  # type: ignore[operator]


# Warps of maps


def test_source_matrix_in_closed_form() -> None:
    frame = Frame(jump=(2, 4), start=(-3, -5), size=(4, 4))
    # cell (1, 2) sits at (-1, 3); the content shown there by translation(2, -4) was at (-3, 7),
    # which is cell (0, 3).
    cell = source_matrix(translation(2, -4), frame) @ [1, 2, 1]
    np.testing.assert_allclose(cell, [0, 3, 1])


def test_source_matrix_between_two_grids() -> None:
    source, target = image_frame(9, 9), Frame(jump=(3, 3), start=(-3, -3), size=(3, 3))
    np.testing.assert_allclose(source_matrix(identity(), source, target) @ [1, 1, 1], [4, 4, 1])


@pytest.mark.parametrize("transform", [rotation(65), rotation(-140), reflection(10)], ids=str)
@pytest.mark.parametrize("stride", [2, 4])
def test_strided_map_moves_like_the_image(
    make_scene: type, transform: Transform, stride: int
) -> None:
    """Without a centre of its own: the strided map of an even image is off-centre."""
    canvas = image_frame(24 * stride, 32 * stride)
    scene = make_scene(wavelength=20.0 * stride)
    frame = Frame((stride, stride), canvas.start, (24, 32))
    assert frame.centre_offset == (-(stride - 1) / 2,) * 2
    still = scene.on(canvas)[..., ::stride, ::stride]
    expected = scene.on(canvas, transform)[..., ::stride, ::stride]
    moved = warp(still, transform, frame=frame, interpolation="bicubic", beyond="nearest")
    inner = valid_cells(frame, [transform], (24 * stride, 32 * stride), erode=2.0 * stride)
    error = (moved - expected)[0, 0][inner].abs().max()
    assert error < 0.012
    about_array_centre = warp(still, transform, interpolation="bicubic", beyond="nearest")
    assert (about_array_centre - expected)[0, 0][inner].abs().max() > 4 * error


def test_half_turn_of_the_last_map_of_a_resnet(make_scene: type) -> None:
    """Offset −15.5 px: cell u reads at 6.96875 − u, not at 6 − u."""
    frame = Frame(jump=(32, 32), start=(-111.5, -111.5), size=(7, 7))
    matrix = source_matrix(rotation(180), frame)
    np.testing.assert_allclose(matrix, [[-1, 0, 6.96875], [0, -1, 6.96875], [0, 0, 1]])
    ramp = torch.arange(7.0, dtype=torch.float64).expand(1, 1, 7, 7)
    turned = warp(ramp, rotation(180), frame=frame, beyond="nearest")
    np.testing.assert_allclose(turned[0, 0, 3], [6, *(6.96875 - np.arange(1, 7))])
    scene = make_scene(wavelength=32 * 12.0)
    moved = warp(scene.on(frame), rotation(180), frame=frame, beyond="nearest")
    expected = scene.on(frame, rotation(180))
    inner = (moved - expected)[0, 0, 1:, 1:].abs().max()  # cell 0 would read beyond the last one
    assert inner < 0.02
    assert (scene.on(frame).rot90(2, (2, 3)) - expected)[0, 0, 1:, 1:].abs().max() > 5 * inner


@pytest.mark.parametrize("transform", [rotation(33), rotation(90), scaling(1.3)], ids=str)
def test_cells_that_are_not_square_still_rotate_rigidly(
    make_scene: type, transform: Transform
) -> None:
    frame = Frame(jump=(1, 2), start=(-19.5, -19), size=(20, 40))
    scene = make_scene(wavelength=32.0)
    still = scene.on(frame)
    moved = warp(still, transform, frame=frame, interpolation="bicubic", antialias=False)
    inner = valid_cells(frame, [transform], (40, 40), erode=5.0)
    difference = moved - scene.on(frame, transform)
    assert difference[0, 0][inner].abs().max() < 0.01


@pytest.mark.parametrize("transform", [rotation(33), scaling(1.3, 1.1), translation(3, 5)], ids=str)
def test_scipy_agrees_on_any_frame(transform: Transform) -> None:
    frame = Frame(jump=(4, 2), start=(-20, -8.5), size=(9, 11))
    maps = torch.randn(1, 1, 9, 11, dtype=torch.float64)
    moved = warp(maps, transform, frame=frame, antialias=False)
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # SciPy indexes (row, column)
    rows = swap @ frame.inverse_matrix @ np.linalg.inv(transform.matrix) @ frame.matrix @ swap
    expected = scipy.ndimage.affine_transform(
        maps[0, 0].numpy(), rows[:2, :2], rows[:2, 2], order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(moved[0, 0], expected, atol=1e-12)


def test_an_unaligned_frame_makes_a_whole_jump_exact() -> None:
    frame = Frame(jump=(8, 8), start=(-27.5, -27.5), size=(7, 7))
    maps = torch.randn(2, 3, 7, 7)
    moved = warp(maps, translation(16, -8), frame=frame, beyond="nearest")
    assert torch.equal(moved[..., :-1, 2:], maps[..., 1:, :-2])
    assert math.isclose(frame.centre_offset[0], -3.5)


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ProbeError, match=r"frame of \(7, 7\) cells does not fit maps of \(8, 7\)"):
        warp(torch.zeros(1, 1, 8, 7), identity(), frame=image_frame(7, 7))


def test_size_and_frame_together_are_refused() -> None:
    with pytest.raises(ProbeError, match="map on a frame keeps its grid; give `size` for images"):
        warp(torch.zeros(1, 1, 7, 7), identity(), frame=image_frame(7, 7), size=(5, 5))
