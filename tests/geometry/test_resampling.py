"""Warps against exact copies, brute force, analytic scenes and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    Transform,
    affine,
    identity,
    image_frame,
    reflection,
    rotation,
    scaling,
    shear,
    translation,
    valid_cells,
    warp,
)

PADS = {"fill": "constant", "nearest": "edge", "reflect": "symmetric"}
SCIPY = {"fill": "grid-constant", "nearest": "nearest", "reflect": "reflect"}
SIZES = [(1, 1), (4, 4), (5, 5), (4, 6), (5, 9), (4, 7), (7, 2)]
DTYPES = [torch.float32, torch.float64]
GENERAL = [
    rotation(33),
    rotation(-121) @ translation(1.3, -2.6),
    scaling(1.7, 1.2),
    reflection(20),
    shear(0.3, -0.2),
    affine(1.1, 0.4, 2.5, -0.3, 0.9, -1.5),
    affine(0.9, 0.9, 0, 0, 0.3, 0).inverse(),  # wide kernel along x though steps along u are short
]


def images(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Two images of three channels, with both signs and no regularity."""
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(2, 3, rows, columns, generator=generator, dtype=dtype)


def pixel_matrix(transform: Transform, rows: int, columns: int) -> np.ndarray:
    """The 3x3 matrix on (column, row, 1) that moves content, for a canvas of this size."""
    centre = np.array([[1, 0, (columns - 1) / 2], [0, 1, (rows - 1) / 2], [0, 0, 1]])
    return centre @ transform.matrix @ np.linalg.inv(centre)


def cubic(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def by_hand(
    image: torch.Tensor,
    transform: Transform,
    interpolation: str,
    beyond: str,
    *,
    antialias: bool = True,
    fill: float = 0.0,
) -> np.ndarray:
    """(T_h f)(x) = f(h⁻¹ x) pixel by pixel: kernels summed over a padded plane (H, W)."""
    rows, columns = image.shape
    reach = 60
    options = {"constant_values": fill} if beyond == "fill" else {}
    plane = np.pad(image.numpy(), reach, mode=PADS[beyond], **options)
    back = np.linalg.inv(pixel_matrix(transform, rows, columns))
    wide = np.maximum(1, np.linalg.norm(back[:2, :2], axis=1)) if antialias else (1, 1)
    form = cubic if interpolation == "bicubic" else lambda d: np.maximum(0, 1 - np.abs(d))
    moved = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            x, y, _ = back @ [column, row, 1]
            across = form((np.arange(plane.shape[1]) - reach - x) / wide[0])
            down = form((np.arange(plane.shape[0]) - reach - y) / wide[1])
            moved[row, column] = down @ plane @ across / (down.sum() * across.sum())
    return moved


# Exact transformations


def on_tensors(transform: Transform, tensor: torch.Tensor) -> torch.Tensor:
    if transform.kind == "rotation":
        return tensor.rot90(round(transform.parameters[0] / 90), (2, 3))
    return {
        0: lambda t: t.flip(2),
        90: lambda t: t.flip(3),
        45: lambda t: t.rot90(1, (2, 3)).flip(3),
        135: lambda t: t.transpose(2, 3),
    }[int(transform.parameters[0])](tensor)


EXACT = [rotation(90 * k) for k in (-2, -1, 0, 1, 2)] + [reflection(45 * k) for k in range(4)]


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("transform", EXACT, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_quarter_turns_and_flips_are_bit_exact(
    size: tuple[int, int], transform: Transform, dtype: torch.dtype, beyond: str
) -> None:
    still = images(*size).to(dtype)
    expected = on_tensors(transform, still)
    moved = warp(still, transform, size=tuple(expected.shape[2:]), beyond=beyond, fill=0.3)
    assert moved.dtype == dtype
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("quarter", [-90, 90])
@pytest.mark.parametrize(("rows", "columns"), [(4, 8), (5, 9), (9, 3)])
def test_quarter_turn_on_its_own_wide_canvas_is_cut_and_padded(
    rows: int, columns: int, quarter: int
) -> None:
    still = images(rows, columns)
    moved = warp(still, rotation(quarter), fill=7.0)
    turned = F.pad(still.rot90(quarter // 90, (2, 3)), (10,) * 4, value=7.0)
    top, left = (n // 2 for n in (columns + 20 - rows, rows + 20 - columns))
    assert torch.equal(moved, turned[..., top : top + rows, left : left + columns])


def test_quarter_turn_between_parities_averages_four_pixels() -> None:
    """On an upright 4x5 canvas the turned pixels fall between the pixels: nothing to copy."""
    still = images(4, 5)
    moved = warp(still, rotation(90), beyond="nearest")
    turned = F.avg_pool2d(still.rot90(1, (2, 3)), 2, stride=1)  # 4 x 3
    torch.testing.assert_close(moved[..., :, 1:4], turned)


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 4), (9, 0), (-17, 13)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_whole_pixel_shifts_copy_what_numpy_pads(
    dtype: torch.dtype, shift: tuple[int, int], beyond: str
) -> None:
    still = images(5, 6, dtype)
    moved = warp(still, translation(*shift), beyond=beyond)
    padded = np.pad(still.numpy(), ((0, 0), (0, 0), (20, 20), (20, 20)), mode=PADS[beyond])
    top, left = 20 - shift[1], 20 - shift[0]
    np.testing.assert_array_equal(moved, padded[..., top : top + 5, left : left + 6])


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("size", [(9, 4), (3, 8), (11, 12)], ids=str)
def test_size_cuts_or_extends_about_the_centre(size: tuple[int, int], beyond: str) -> None:
    still = images(5, 6)
    moved = warp(still, identity(), size=size, beyond=beyond)
    padded = np.pad(still.numpy(), ((0, 0), (0, 0), (10, 10), (10, 10)), mode=PADS[beyond])
    top, left = (25 - size[0]) // 2, (26 - size[1]) // 2
    np.testing.assert_array_equal(moved, padded[..., top : top + size[0], left : left + size[1]])


def test_exact_copies_survive_infinities_outside_the_canvas() -> None:
    still = images(4, 4)
    still[..., 0] = torch.inf
    moved = warp(still, translation(2, 0))
    assert torch.equal(moved[..., 2:], still[..., :2])
    assert (moved[..., :2] == 0).all()


# Interpolation: brute force, SciPy, OpenCV, torchvision


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "transform",
    [*GENERAL, scaling(0.4), scaling(0.6, 1.3), rotation(50) @ scaling(0.45), translation(0.25, 9)],
    ids=str,
)
def test_definition_pixel_by_pixel(transform: Transform, interpolation: str, beyond: str) -> None:
    still = images(7, 10)
    moved = warp(still, transform, interpolation=interpolation, beyond=beyond)
    expected = by_hand(still[1, 2], transform, interpolation, beyond)
    np.testing.assert_allclose(moved[1, 2], expected, atol=1e-10)


@pytest.mark.parametrize("beyond", PADS)
@pytest.mark.parametrize("transform", [scaling(0.4, 0.7), rotation(50) @ scaling(0.45)], ids=str)
def test_without_antialiasing_the_kernel_keeps_its_width(transform: Transform, beyond: str) -> None:
    still = images(7, 10)
    for interpolation in ("bilinear", "bicubic"):
        options = {"interpolation": interpolation, "beyond": beyond, "antialias": False}
        expected = by_hand(still[1, 2], transform, **options)
        np.testing.assert_allclose(warp(still, transform, **options)[1, 2], expected, atol=1e-10)


@pytest.mark.parametrize("beyond", SCIPY)
@pytest.mark.parametrize("transform", [*GENERAL, scaling(0.4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scipy_agrees(dtype: torch.dtype, transform: Transform, beyond: str) -> None:
    still = images(13, 10, dtype)
    moved = warp(still, transform, antialias=False, beyond=beyond)
    back = np.linalg.inv(pixel_matrix(transform, 13, 10))
    x, y, _ = np.einsum(
        "ij,jrc->irc", back, np.stack([*np.mgrid[:13, :10][::-1], np.ones((13, 10))])
    )
    expected = scipy.ndimage.map_coordinates(
        still[0, 1].double().numpy(), [y, x], order=1, mode=SCIPY[beyond]
    )
    tolerance = 1e-11 if dtype == torch.float64 else 2e-5
    np.testing.assert_allclose(moved[0, 1], expected, atol=tolerance)


@pytest.mark.parametrize("transform", GENERAL, ids=str)
def test_opencv_agrees(transform: Transform) -> None:
    cv2 = pytest.importorskip("cv2")
    still = images(22, 31, torch.float32)
    moved = warp(still, transform, antialias=False)
    expected = cv2.warpAffine(
        still[0].permute(1, 2, 0).numpy(), pixel_matrix(transform, 22, 31)[:2], (31, 22)
    )
    # OpenCV before 5 rounds positions to 1/32 pixel
    tolerance = 1e-4 if int(cv2.__version__.split(".")[0]) >= 5 else 0.2
    np.testing.assert_allclose(moved[0].permute(1, 2, 0), expected, atol=tolerance)


@pytest.mark.parametrize("degrees", [-160.0, -45.0, 12.5, 33.0, 90.0])
def test_torchvision_agrees_about_sign_and_centre(degrees: float) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    mode = functional.InterpolationMode.BILINEAR
    still = images(20, 31, torch.float32)
    moved = warp(still, rotation(degrees))
    torch.testing.assert_close(moved, functional.rotate(still, degrees, mode), atol=2e-5, rtol=0)


def test_float32_positions_do_not_drift_on_large_images() -> None:
    """A ramp shows its own coordinate: a pixel position may be off by 1e-4 at 2,000 px."""
    ramp = (torch.arange(2000.0) - 999.5).expand(1, 1, 3, 2000)
    moved = warp(ramp, translation(0.3, 0.1), beyond="nearest")[0, 0, 1, 1:]
    assert (moved - (ramp[0, 0, 1, 1:] - 0.3)).abs().max() < 3e-4


# Analytic scenes


@pytest.mark.parametrize("transform", GENERAL[:4], ids=str)
@pytest.mark.parametrize(("interpolation", "tolerance"), [("bilinear", 0.03), ("bicubic", 0.001)])
def test_analytic_scene_is_moved(
    make_scene: type, transform: Transform, interpolation: str, tolerance: float
) -> None:
    scene, frame = make_scene(wavelength=20.0), image_frame(48, 64)
    moved = warp(scene.on(frame), transform, interpolation=interpolation)
    inner = valid_cells(frame, [transform], frame.size, erode=3)
    assert (moved - scene.on(frame, transform))[0, 0][inner].abs().max() < tolerance


# Edges and fill


@pytest.mark.parametrize("transform", [rotation(30), rotation(90), scaling(0.6), translation(3, 1)])
def test_fill_per_channel(transform: Transform) -> None:
    still, fill = images(8, 11), (0.2, -1.5, 40.0)
    moved = warp(still, transform, fill=fill)
    for channel, level in enumerate(fill):
        alone = warp(still[:, channel : channel + 1], transform, fill=level)
        torch.testing.assert_close(moved[:, channel : channel + 1], alone, atol=1e-12, rtol=0)
    expected = by_hand(still[0, 2], transform, "bilinear", "fill", fill=40.0)
    np.testing.assert_allclose(moved[0, 2], expected, atol=1e-10)


def test_far_outside_is_the_fill() -> None:
    moved = warp(images(6, 6), translation(100.5, 0), fill=(1, 2, 3))
    assert torch.equal(
        moved, torch.tensor([1.0, 2, 3], dtype=torch.float64).reshape(1, 3, 1, 1).expand(2, 3, 6, 6)
    )


def test_fill_is_one_value_or_one_per_channel() -> None:
    for transform in (rotation(30), rotation(90)):
        with pytest.raises(ProbeError, match="fill has 2 values for 3 channels; give one or all"):
            warp(images(6, 6), transform, fill=(0.1, 0.2))


@pytest.mark.parametrize("transform", [rotation(30), rotation(90)], ids=str)
@pytest.mark.parametrize("level", [np.nan, np.inf, (0.1, -np.inf, 0.2)], ids=str)
def test_fill_is_finite(level: float | tuple[float, ...], transform: Transform) -> None:
    with pytest.raises(
        ProbeError, match=r"fill=\(?.*(nan|inf).* is not finite; give the background"
    ):
        warp(images(6, 6), transform, fill=level)


# Properties


SIMILARITIES = st.builds(
    lambda degrees, factor, dx, dy: rotation(degrees) @ scaling(factor) @ translation(dx, dy),
    st.floats(-180, 180), st.floats(0.3, 3), st.floats(-4, 4), st.floats(-4, 4),
)  # fmt: skip


@settings(max_examples=30)
@given(SIMILARITIES, st.sampled_from(sorted(PADS)))
def test_warping_is_linear_in_the_images(transform: Transform, beyond: str) -> None:
    first, second = images(9, 8), images(8, 9).transpose(2, 3)
    together = warp(2 * first - second, transform, beyond=beyond)
    apart = 2 * warp(first, transform, beyond=beyond) - warp(second, transform, beyond=beyond)
    torch.testing.assert_close(together, apart, atol=1e-10, rtol=0)


@settings(max_examples=30)
@given(SIMILARITIES, st.sampled_from(sorted(PADS)))
def test_bilinear_values_stay_within_the_range(transform: Transform, beyond: str) -> None:
    still = images(9, 8)
    moved = warp(still, transform, beyond=beyond, fill=float(still.min()))
    assert still.min() - 1e-9 <= moved.min()
    assert moved.max() <= still.max() + 1e-9


@settings(max_examples=30)
@given(SIMILARITIES, st.sampled_from([rotation(90), rotation(180), reflection(90)]))
def test_warps_turn_with_the_square_grid(transform: Transform, exact: Transform) -> None:
    """T_g T_h f = T_{ghg⁻¹} T_g f to rounding, for the symmetries g of the grid."""
    still = images(9, 9)
    after = warp(warp(still, transform), exact)
    before = warp(warp(still, exact), exact @ transform @ exact.inverse())
    torch.testing.assert_close(after, before, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "transform", [rotation(90), rotation(30), scaling(0.5), rotation(30) @ scaling(0.5)], ids=str
)
def test_images_and_channels_do_not_mix(transform: Transform) -> None:
    still = images(10, 12)
    moved = warp(still, transform)
    for image in range(2):
        for channel in range(3):
            alone = warp(still[image : image + 1, channel : channel + 1], transform)
            torch.testing.assert_close(moved[image, channel], alone[0, 0], atol=1e-12, rtol=0)


# Errors


@pytest.mark.parametrize(
    ("tensor", "options", "message"),
    [
        (torch.zeros(3, 8, 8), {}, r"\(N, C, H, W\), not torch.float32 of shape \(3, 8, 8\)"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), {}, r"not torch.uint8 .*with .float\(\)"),
        (torch.zeros(1, 1, 8, 8), {"interpolation": "lanczos"}, r"interpolation 'lanczos'; use"),
        (
            torch.zeros(1, 1, 8, 8),
            {"beyond": "wrap"},
            r"unknown edge 'wrap'; use 'fill', 'nearest', 'reflect'",
        ),
        (torch.zeros(1, 1, 8, 8), {"size": (0, 4)}, r"is no grid; sizes must be >= 1"),
    ],
)
def test_what_cannot_be_warped_is_refused(
    tensor: torch.Tensor, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ProbeError, match=message):
        warp(tensor, rotation(30), **options)
