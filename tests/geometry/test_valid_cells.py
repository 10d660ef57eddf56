"""Valid cells by brute force, and what the definition promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    Frame,
    Transform,
    coverage,
    identity,
    image_frame,
    reflection,
    rotation,
    rotations,
    scaling,
    scalings,
    shear,
    translation,
    valid_cells,
    warp,
)

TRANSFORMS = [
    identity(),
    rotation(30),
    rotation(90),
    scaling(0.5),
    scaling(1.7),
    translation(5, -3),
    reflection(20),
    shear(0.4),
    translation(2, 1) @ rotation(-50) @ scaling(1.2),
]


def by_hand(
    frame: Frame, transforms: list[Transform], canvas: tuple[int, int], erode: float
) -> np.ndarray:
    """One cell at a time, in image coordinates only."""
    rows, columns = frame.size
    (jx, jy), (sx, sy) = frame.jump, frame.start

    def inside(x: float, y: float) -> bool:
        height, width = canvas
        on_canvas = abs(x) <= width / 2 - erode + 1e-7 and abs(y) <= height / 2 - erode + 1e-7
        left, right = sx - jx / 2, sx + jx * (columns - 0.5)
        top, bottom = sy - jy / 2, sy + jy * (rows - 0.5)
        return on_canvas and left - 1e-7 <= x <= right + 1e-7 and top - 1e-7 <= y <= bottom + 1e-7

    valid = np.zeros(frame.size, dtype=bool)
    for v in range(rows):
        for u in range(columns):
            point = np.array([jx * u + sx, jy * v + sy, 1])
            images = [point]
            for h in transforms:
                images += [h.matrix @ point, np.linalg.inv(h.matrix) @ point]
            valid[v, u] = all(inside(x, y) for x, y, _ in images)
    return valid


FRAMES = [
    (image_frame(11, 14), (11, 14)),
    (Frame((2, 2), (-13.5, -13.5), (14, 14)), (28, 28)),
    (Frame((4, 2), (-12, -9), (9, 7)), (20, 30)),
    (Frame((2, 2), (-6, -6), (7, 7)), (28, 28)),
]


@pytest.mark.parametrize("erode", [0.0, 1.3])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize(("frame", "canvas"), FRAMES)
def test_one_transformation_cell_by_cell(
    frame: Frame, canvas: tuple[int, int], transform: Transform, erode: float
) -> None:
    found = valid_cells(frame, [transform], canvas, erode=erode)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, by_hand(frame, [transform], canvas, erode))


def test_rotations_leave_the_inscribed_disc() -> None:
    frame = image_frame(41, 41)
    valid = valid_cells(frame, rotations(-180, 180, step=1), (41, 41))
    radius = np.hypot(*frame.positions().T).reshape(41, 41)
    assert valid[radius <= 20.5].all()
    assert not valid[radius >= 20.5 / np.cos(np.radians(0.5)) + 1e-3].any()


def test_quarter_turns_keep_a_whole_square_canvas() -> None:
    assert valid_cells(image_frame(8, 8), rotations(0, 270, step=90), (8, 8)).all()


def test_scalings_leave_the_inner_rectangle_either_way() -> None:
    frame = image_frame(20, 40)
    valid = valid_cells(frame, scalings(0.5, 1, number=3), (20, 40))
    x, y = frame.positions().T.reshape(2, 20, 40)
    np.testing.assert_array_equal(valid, (np.abs(x) <= 10) & (np.abs(y) <= 5))
    np.testing.assert_array_equal(valid, valid_cells(frame, scalings(1, 2, number=3), (20, 40)))


def test_erosion_takes_a_margin_in_pixels() -> None:
    frame = Frame((2, 2), (-7, -7), (8, 8))
    valid = valid_cells(frame, [identity()], (16, 16), erode=2.5)
    np.testing.assert_array_equal(np.flatnonzero(valid[4]), np.arange(1, 7))


def test_one_set_of_cells_along_a_whole_curve() -> None:
    frame, canvas = FRAMES[1]
    curve = [*rotations(-40, 40, step=20), scaling(0.8)]
    together = valid_cells(frame, curve, canvas, erode=1)
    each = [valid_cells(frame, [h], canvas, erode=1) for h in curve]
    np.testing.assert_array_equal(together, np.logical_and.reduce(each))
    np.testing.assert_array_equal(together, valid_cells(frame, iter(curve[::-1]), canvas, erode=1))


@settings(max_examples=40)
@given(st.floats(-180, 180), st.floats(0.5, 2), st.floats(-4, 4))
def test_a_transformation_and_its_inverse_leave_the_same_cells(
    degrees: float, factor: float, shift: float
) -> None:
    h = rotation(degrees) @ scaling(factor) @ translation(shift, 0)
    frame = image_frame(24, 28)
    np.testing.assert_array_equal(
        valid_cells(frame, [h], (24, 28)), valid_cells(frame, [h.inverse()], (24, 28))
    )


@pytest.mark.parametrize("transform", [rotation(25), rotation(-70), scaling(1.25)], ids=str)
def test_valid_cells_never_see_the_fill(transform: Transform) -> None:
    """Two pixels inside, a map that was moved and moved back does not depend on the border."""
    image = torch.randn(1, 1, 24, 32, dtype=torch.float64)
    valid = valid_cells(image_frame(24, 32), [transform], (24, 32), erode=2)
    back = [
        warp(warp(image, transform, fill=fill), transform.inverse(), antialias=False, fill=fill)
        for fill in (0.0, 100.0)
    ]
    difference = (back[0] - back[1])[0, 0].abs()
    assert difference[valid].max() < 1e-12
    assert difference[~valid].max() > 1


def test_no_cell_left_names_the_worst_transformation() -> None:
    frame = image_frame(10, 10)
    message = (
        r"no cell of the 10x10 map stays inside the 10x10 canvas under all transformations "
        r"\(translation:9,0 alone leaves 0 of 100; erode=0 px\); use milder ones"
    )
    with pytest.raises(ProbeError, match=message):
        valid_cells(frame, [rotation(5), translation(9, 0), scaling(0.9)], (10, 10))


def test_no_cell_left_by_transformations_that_each_leave_some() -> None:
    right, left = (translation(dx, 0) @ scaling(0.3, 1) for dx in (3, -3))
    assert valid_cells(image_frame(10, 10), [right], (10, 10)).sum() == 40  # 1.5 <= x <= 4.5
    with pytest.raises(ProbeError, match=r"alone leaves 40 of 100, together none; erode=0 px\)"):
        valid_cells(image_frame(10, 10), [identity(), right, left], (10, 10))


def test_no_cell_left_by_erosion_alone() -> None:
    message = (
        r"no cell of the 10x10 map lies on the 10x10 canvas and erode=6 px from its edge; "
        r"use less erosion or an earlier layer"
    )
    for transforms in ([], [identity(), rotation(30)]):  # no transformation is to blame
        with pytest.raises(ProbeError, match=message):
            valid_cells(image_frame(10, 10), transforms, (10, 10), erode=6)


def test_no_cell_left_by_a_transformation_and_erosion() -> None:
    with pytest.raises(ProbeError, match=r"\(scaling:0.1 alone leaves 0 of 100; erode=4.5 px\)"):
        valid_cells(image_frame(10, 10), [identity(), scaling(0.1)], (10, 10), erode=4.5)


# Coverage


def test_coverage_is_the_share_of_cells_that_read_the_map() -> None:
    frame = Frame((2, 2), (-9, -9), (10, 10))
    assert coverage(frame, identity()) == 1
    assert coverage(frame, rotation(90)) == 1
    assert coverage(frame, translation(4, 0)) == 0.8
    assert coverage(frame, translation(4, -6)) == pytest.approx(0.8 * 0.7)
    assert coverage(frame, scaling(0.5)) == 0.36  # |x| <= 5 of -9, -7, ..., 9
    assert coverage(frame, scaling(2)) == 1
    assert coverage(frame, translation(100, 0)) == 0


def test_coverage_of_chosen_cells() -> None:
    frame = image_frame(10, 10)
    chosen = np.zeros((10, 10), dtype=bool)
    chosen[:, :4] = True
    assert coverage(frame, translation(2, 0), chosen) == 0.5
    assert coverage(frame, translation(-2, 0), chosen) == 1.0


def test_coverage_counts_what_a_warp_reads_from_the_map() -> None:
    frame = image_frame(12, 12)
    for transform in (rotation(45), scaling(0.7), translation(3, 4)):
        ones = warp(torch.ones(1, 1, 12, 12), transform, antialias=False)
        # half or more of the weight on the map along each axis: the sample is on the footprint
        share = float((ones > 0.24).float().mean())
        assert coverage(frame, transform) == pytest.approx(share, abs=0.06)
