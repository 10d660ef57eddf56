"""One test for every statement of a `Convention:` block, in the words of that block."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from invariance_probe.geometry import (
    Frame,
    Transform,
    affine,
    coverage,
    identity,
    image_frame,
    parse_transforms,
    reflection,
    rotation,
    scaling,
    shear,
    source_matrix,
    translation,
    valid_cells,
    warp,
)

ROWS, COLUMNS = 41, 61
CANVAS = image_frame(ROWS, COLUMNS)


def blob(x: float, y: float, width: float = 2.0) -> torch.Tensor:
    """A Gaussian spot at (x, y): x right, y down, from the canvas centre."""
    offsets = CANVAS.positions() - (x, y)
    spot = np.exp(-(offsets**2).sum(1) / (2 * width**2))
    return torch.from_numpy(spot).reshape(1, 1, ROWS, COLUMNS)


def place(image: torch.Tensor) -> list[float]:
    """Centre of mass in image coordinates."""
    weight = image.flatten().numpy()
    return (weight @ CANVAS.positions() / weight.sum()).tolist()


def test_origin_at_the_canvas_centre_x_right_y_down() -> None:
    image = torch.zeros(1, 1, ROWS, COLUMNS)
    image[0, 0, 0, -1] = 1  # upper right
    assert place(image.double()) == [30, -20]
    image = torch.zeros(1, 1, ROWS, COLUMNS)
    image[0, 0, (ROWS - 1) // 2, (COLUMNS - 1) // 2] = 1
    assert place(image.double()) == [0, 0]


def test_positive_angles_are_counter_clockwise_on_the_screen() -> None:
    assert place(warp(blob(10, 0), rotation(90))) == pytest.approx([0, -10], abs=1e-6)
    moved = place(warp(blob(10, 0), rotation(30)))
    assert moved == pytest.approx([10 * math.cos(math.pi / 6), -5], abs=1e-3)
    assert warp(torch.eye(2).reshape(1, 1, 2, 2)[..., :1, :], identity()).tolist() == [[[[1, 0]]]]


def test_angles_are_degrees() -> None:
    assert rotation(180).isclose(affine(-1, 0, 0, 0, -1, 0))
    assert parse_transforms("rotation:180")[0].isclose(rotation(180))
    assert rotation(45).angle == 45


def test_factors_above_one_enlarge() -> None:
    assert place(warp(blob(5, -4, width=1.2), scaling(2))) == pytest.approx([10, -8], abs=1e-3)
    assert warp(blob(0, 0), scaling(2)).sum() > 3 * blob(0, 0).sum()
    assert place(warp(blob(10, -8), scaling(0.5))) == pytest.approx([5, -4], abs=1e-3)


def test_a_second_factor_is_that_of_y() -> None:
    assert place(warp(blob(5, 4), scaling(2, 1))) == pytest.approx([10, 4], abs=1e-3)


def test_translation_moves_content_right_and_down() -> None:
    assert place(warp(blob(-3, 2), translation(5, 7))) == pytest.approx([2, 9], abs=1e-6)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [(90, [-8, 3]), (0, [8, -3]), (45, [-3, -8]), (135, [3, 8])],
)
def test_reflection_across_an_axis_counter_clockwise_from_x(
    axis: float, expected: list[float]
) -> None:
    assert place(warp(blob(8, 3), reflection(axis))) == pytest.approx(expected, abs=1e-6)


def test_points_on_the_axis_of_a_reflection_stay() -> None:
    up_right = (8 * math.cos(math.radians(25)), -8 * math.sin(math.radians(25)))
    assert place(warp(blob(*up_right), reflection(25))) == pytest.approx(up_right, abs=1e-3)


def test_positive_shear_pushes_the_lower_half_to_the_right() -> None:
    assert place(warp(blob(0, 8), shear(0.5), antialias=False)) == pytest.approx([4, 8], abs=1e-3)
    assert place(warp(blob(8, 0), shear(0, 0.5), antialias=False)) == pytest.approx(
        [8, 4], abs=1e-3
    )


def test_affine_gives_the_rows_of_the_matrix_in_centred_coordinates() -> None:
    moved = place(warp(blob(4, -3), affine(1, 0.5, 6, 0.25, 1, -2), antialias=False))
    assert moved == pytest.approx([4 - 1.5 + 6, 1 - 3 - 2], abs=1e-3)


@pytest.mark.parametrize("transform", [rotation(40), scaling(1.5), shear(0.3)], ids=str)
def test_content_moves_by_the_matrix_and_values_come_from_its_inverse(
    make_scene: type, transform: Transform
) -> None:
    point = np.array([6.0, -4.0, 1.0])
    moved = place(warp(blob(6, -4), transform, antialias=False))
    assert moved == pytest.approx((transform.matrix @ point)[:2].tolist(), abs=1e-3)
    scene = make_scene(wavelength=24.0)
    image = warp(scene.on(CANVAS), transform, interpolation="bicubic", antialias=False)
    inner = valid_cells(CANVAS, [transform], CANVAS.size, erode=3)
    back = CANVAS.positions() @ np.linalg.inv(transform.matrix)[:2, :2].T
    difference = image.flatten().numpy() - scene(back)
    assert np.abs(difference[inner.ravel()]).max() < 0.01


@pytest.mark.parametrize(
    ("h", "g"),
    [
        (rotation(30), translation(6, 0)),
        (scaling(1.3), translation(9, -5)),
        (reflection(90), rotation(25)),
        (scaling(1.2, 1), rotation(50)),
    ],
    ids=str,
)
def test_in_a_composition_the_right_one_acts_first(
    make_scene: type, h: Transform, g: Transform
) -> None:
    scene = make_scene(wavelength=24.0).on(CANVAS)
    options = {"interpolation": "bicubic", "antialias": False}
    in_turn = warp(warp(scene, g, **options), h, **options)
    inner = valid_cells(CANVAS, [h, g, h @ g, g @ h], CANVAS.size, erode=3)
    at_once = warp(scene, h @ g, **options)
    other_order = warp(scene, g @ h, **options)
    assert (in_turn - at_once)[0, 0][inner].abs().max() < 0.015
    assert (in_turn - other_order)[0, 0][inner].abs().max() > 0.15


def test_pixels_are_centres_and_corners_are_not_aligned() -> None:
    small = torch.randn(1, 2, 6, 5, dtype=torch.float64)
    large = warp(small, scaling(3), size=(18, 15), beyond="nearest")
    options = {"size": (18, 15), "mode": "bilinear"}
    torch.testing.assert_close(large, F.interpolate(small, align_corners=False, **options))
    aligned = F.interpolate(small, align_corners=True, **options)
    assert (large - aligned).abs().max() > 0.1


def test_bicubic_is_third_order_accurate() -> None:
    """Only a = −1/2 keeps parabolas; the −3/4 of PyTorch and OpenCV bends even straight lines."""
    x, y = CANVAS.positions().T.reshape(2, 1, 1, ROWS, COLUMNS)
    parabola = torch.from_numpy(x**2 / 50 - x * y / 30 + y**2 / 70 + x - 2 * y)
    moved = warp(parabola, translation(0.3, -0.4), interpolation="bicubic")
    x, y = x - 0.3, y + 0.4
    expected = torch.from_numpy(x**2 / 50 - x * y / 30 + y**2 / 70 + x - 2 * y)
    inner = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(moved[inner], expected[inner], atol=1e-12, rtol=0)


@pytest.mark.parametrize(("interpolation", "worst"), [("bilinear", 0.025), ("bicubic", 0.0015)])
def test_worst_error_on_a_unit_wave_of_14_cells(interpolation: str, worst: float) -> None:
    phase = 2 * math.pi * CANVAS.positions()[:, 0].reshape(1, 1, ROWS, COLUMNS) / 14
    errors = []
    for shift in np.linspace(0.05, 0.95, 19):
        wave, expected = (torch.from_numpy(np.cos(phase - p)) for p in (0, shift * math.pi / 7))
        moved = warp(wave, translation(shift, 0), interpolation=interpolation)
        errors.append(float((moved - expected)[..., 3:-3].abs().max()))
    assert max(errors) == pytest.approx(worst, rel=0.05)


def test_bicubic_is_pillows() -> None:
    image_module = pytest.importorskip("PIL.Image")
    small = torch.randn(1, 1, 6, 5)
    picture = image_module.fromarray(small[0, 0].numpy())
    expected = np.asarray(picture.resize((15, 18), image_module.Resampling.BICUBIC))
    options = {"size": (18, 15), "interpolation": "bicubic"}
    large = warp(small, scaling(3), **options)
    # Pillow leaves out what lies beyond the edge and divides by the weight that is left
    weight = warp(torch.ones_like(small), scaling(3), **options)
    np.testing.assert_allclose((large / weight)[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("degrees", [20.0, 45.0, -70.0])
def test_on_a_canvas_that_is_not_square_a_rotation_is_a_rotation(degrees: float) -> None:
    """Rotating in coordinates normalised to ±1 per axis would shear: two spots change distance."""
    transform = rotation(degrees)
    first, second = (np.array(place(warp(blob(*at), transform))) for at in ((12, 0), (0, 9)))
    assert np.hypot(*first) == pytest.approx(12, abs=1e-3)
    assert np.hypot(*second) == pytest.approx(9, abs=1e-3)
    assert np.hypot(*(first - second)) == pytest.approx(15, abs=1e-3)
    cos, sin = transform.matrix[0, :2].tolist()
    theta = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]], dtype=torch.float64)
    grid = F.affine_grid(theta, [1, 1, ROWS, COLUMNS], align_corners=False)
    sheared = place(F.grid_sample(blob(12, 0), grid, align_corners=False))
    assert abs(np.hypot(*sheared) - 12) > 0.3


def test_a_cell_sits_at_its_jump_times_its_index_plus_start() -> None:
    frame = Frame(jump=(4, 2), start=(-10, -3), size=(8, 9))
    assert (frame.matrix @ [3, 5, 1]).tolist() == [2, 7, 1]
    maps = torch.zeros(1, 1, 8, 9)
    maps[0, 0, 5, 3] = 1  # at (2, 7)
    moved = warp(maps, translation(8, -4), frame=frame)  # to (10, 3), cell (5, 3)
    assert moved.nonzero().tolist() == [[0, 0, 3, 5]]


def test_a_map_is_read_where_its_frame_says() -> None:
    """(T_g F)(u) = F(frame⁻¹(g⁻¹(frame(u)))), whole cells: a half turn about the image centre."""
    frame = Frame(jump=(2, 2), start=(-3, -5), size=(6, 6))  # centre offset (2, 0)
    maps = torch.rand(1, 1, 6, 6)
    moved = warp(maps, rotation(180), frame=frame, fill=-1)
    for row in range(6):
        for column in range(6):
            there = frame.inverse_matrix @ np.diag([-1, -1, 1]) @ frame.matrix @ [column, row, 1]
            u, v = (round(value) for value in there[:2])
            inside = 0 <= u < 6 and 0 <= v < 6
            assert moved[0, 0, row, column] == (maps[0, 0, v, u] if inside else -1)


def test_source_matrix_acts_on_column_row_one() -> None:
    cell = source_matrix(translation(3, -2), image_frame(9, 9)) @ [4, 4, 1]
    assert cell.tolist() == [1, 6, 1]


def test_the_canvas_reaches_half_a_pixel_beyond_the_outer_centres() -> None:
    frame = image_frame(7, 5)
    assert valid_cells(frame, [identity()], (7, 5), erode=0.5).all()
    assert valid_cells(frame, [identity()], (7, 5), erode=0.51).sum() == 5 * 3


def test_coverage_is_of_what_a_transformation_reads() -> None:
    frame = Frame(jump=(2, 2), start=(-9, -9), size=(10, 10))
    right = np.zeros((10, 10), dtype=bool)
    right[:, 8:] = True
    # content goes right: the right cells read what was to their left, the left ones outside
    assert coverage(frame, translation(4, 0), right) == 1
    assert coverage(frame, translation(4, 0), right[:, ::-1]) == 0


@pytest.mark.parametrize(
    "transform", [rotation(30), rotation(90), scaling(0.6), rotation(30) @ scaling(0.6)], ids=str
)
def test_fill_is_the_background_before_normalisation(transform: Transform) -> None:
    """Warp, then normalise: the background becomes what normalisation makes of it."""
    image = torch.rand(1, 1, 12, 17, dtype=torch.float64)
    normalised = (warp(image, transform, fill=0.2) - 0.45) / 0.22
    late = warp((image - 0.45) / 0.22, transform, fill=(0.2 - 0.45) / 0.22)
    torch.testing.assert_close(normalised, late)


def test_reflection_beyond_the_edge_repeats_the_outer_pixel() -> None:
    row = torch.tensor([1.0, 2, 3]).reshape(1, 1, 1, 3)
    moved = warp(row, identity(), size=(1, 9), beyond="reflect")
    assert moved.flatten().tolist() == [3, 2, 1, 1, 2, 3, 3, 2, 1]
