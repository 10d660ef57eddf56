"""Warps with a transformation for each image, against `warp`, SciPy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    from_matrix,
    projective_from_corners,
    rotations_of,
    sample,
    sampling_grid,
    scalings_of,
    shears_of,
    translations_of,
    warp,
    warp_each,
)

SIZES = [(12, 12), (9, 14), (16, 7)]


def images(rows: int, columns: int, number: int = 4, channels: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(number, channels, rows, columns, generator=generator, dtype=torch.float64)


def motions(number: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(4, number, 2, generator=generator, dtype=torch.float64)
    turn = rotations_of(360 * draw[0, :, 0]) @ shears_of(draw[0, :, 1] - 0.5)
    return translations_of(4 * draw[1] - 2) @ turn @ scalings_of(0.6 + draw[2])


def projectives(size: tuple[int, int], number: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    moves = torch.randn(number, 4, 2, generator=generator, dtype=torch.float64)
    return projective_from_corners(moves, size)


def by_scipy(image: Tensor, motion: Tensor, size: tuple[int, int], mode: str) -> np.ndarray:
    """One channel, read at h⁻¹ of every pixel of the output."""
    rows, columns = image.shape
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    points = np.stack([x - (size[1] - 1) / 2, y - (size[0] - 1) / 2, np.ones_like(x)])
    seen = np.einsum("ij,jhw->ihw", np.linalg.inv(motion.numpy()), points)
    where = [seen[1] / seen[2] + (rows - 1) / 2, seen[0] / seen[2] + (columns - 1) / 2]
    return ndimage.map_coordinates(image.numpy(), where, order=1, mode=mode)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("out", [None, (10, 18)])
@pytest.mark.parametrize("beyond", ["fill", "nearest"])
def test_as_the_warp_of_one_transformation(size, out, beyond):
    still, moves = images(*size), motions()
    moved = warp_each(still, moves, out, beyond=beyond)
    assert moved.shape == (4, 2, *(out or size))
    for one, image, move in zip(moved, still, moves, strict=True):
        value = from_matrix(move.numpy())
        if out is None or beyond == "fill":
            expected = warp(image[None], value, size=out, beyond=beyond, antialias=False)
            torch.testing.assert_close(one[None], expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("out", [None, (10, 18)])
@pytest.mark.parametrize("kind", ["affine", "projective"])
@pytest.mark.parametrize("beyond, mode", [("fill", "grid-constant"), ("nearest", "nearest")])
def test_as_scipy(size, out, kind, beyond, mode):
    still = images(*size)
    moves = motions() if kind == "affine" else projectives(size)
    moved = warp_each(still, moves, out, beyond=beyond)
    for one, image, move in zip(moved, still, moves, strict=True):
        for channel, original in zip(one, image, strict=True):
            expected = by_scipy(original, move, out or size, mode)
            np.testing.assert_allclose(channel.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["affine", "projective"])
def test_as_opencv(kind, make_scene):
    """OpenCV rounds positions to 1/32 pixel, so a smooth scene is compared."""
    from invariance_probe.geometry import image_frame

    size = (24, 36)
    still = make_scene().on(image_frame(*size))
    moves = motions() if kind == "affine" else projectives(size)
    moved = warp_each(still.expand(4, -1, -1, -1), moves)
    corner = np.array([[1, 0, (size[1] - 1) / 2], [0, 1, (size[0] - 1) / 2], [0, 0, 1]])
    for one, move in zip(moved, moves, strict=True):
        matrix = corner @ move.numpy() @ np.linalg.inv(corner)
        image = still[0, 0].numpy()
        if kind == "affine":
            expected = cv2.warpAffine(image, matrix[:2], size[::-1])
        else:
            expected = cv2.warpPerspective(image, matrix, size[::-1])
        np.testing.assert_allclose(one[0].numpy(), expected, atol=0.05)


@pytest.mark.parametrize("dtype, atol", [(torch.float32, 3e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("beyond", ["fill", "nearest"])
def test_quarter_turns_and_whole_shifts_are_copies(dtype, atol, beyond):
    still = images(28, 28).to(dtype)
    turned = warp_each(still, rotations_of(torch.tensor([0, 90, 180, -90])), beyond=beyond)
    expected = torch.stack([torch.rot90(f, k, (1, 2)) for k, f in enumerate(still)])
    torch.testing.assert_close(turned, expected, atol=atol, rtol=0)
    shifts = torch.tensor([[3, 0], [0, -2], [-5, 4], [0, 0]])
    shifted = warp_each(still, translations_of(shifts), beyond=beyond)
    for one, image, (dx, dy) in zip(shifted, still, shifts.tolist(), strict=True):
        expected = torch.roll(image, (dy, dx), (1, 2))[:, 5:-5, 5:-5]
        torch.testing.assert_close(one[:, 5:-5, 5:-5], expected, atol=atol, rtol=0)


def test_another_canvas_keeps_pixels_and_centre():
    still = images(6, 8)
    same = translations_of(torch.zeros(4, 2))
    larger = warp_each(still, same, (10, 14), fill=7.0)
    torch.testing.assert_close(larger[..., 2:8, 3:11], still, atol=1e-12, rtol=0)
    assert torch.allclose(larger[..., :2, :], torch.tensor(7.0, dtype=torch.float64))
    torch.testing.assert_close(warp_each(still, same, (2, 4)), still[..., 2:4, 2:6])


def test_fill_of_each_channel():
    still, away = images(8, 8), translations_of(torch.full((4, 2), 50.0))
    for fill in ([1.0, -2.0], (1.0, -2.0), torch.tensor([1.0, -2.0])):
        moved = warp_each(still, away, fill=fill)
        assert (moved[:, 0] == 1).all() and (moved[:, 1] == -2).all()
    # A background that goes on beyond the edge stays what it is, half way over the edge too.
    flat = torch.full((4, 2, 8, 8), 0.25, dtype=torch.float64)
    assert torch.allclose(warp_each(flat, motions(), fill=0.25), flat)
    edge = warp_each(flat, translations_of(torch.full((4, 2), 0.5)), fill=[0.25, 1.25])
    assert torch.allclose(edge[:, 0], flat[:, 0])
    assert torch.allclose(edge[:, 1, 1:, 0], torch.tensor(0.75, dtype=torch.float64))


def test_every_image_by_its_own():
    still, moves = images(9, 14), motions()
    together = warp_each(still, moves)
    for i in range(4):
        assert torch.equal(warp_each(still[i : i + 1], moves[i : i + 1])[0], together[i])
    assert warp_each(still[:0], moves[:0]).shape == (0, 2, 9, 14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_full_coordinates(dtype):
    still, moves = images(28, 28).to(dtype), motions()
    moved = warp_each(still, moves, fill=0.5)
    assert moved.dtype == dtype
    assert torch.equal(moved, warp_each(still.float(), moves, fill=0.5).to(dtype))


@pytest.mark.parametrize("kind", ["affine", "projective"])
def test_autocast_leaves_coordinates_alone(kind):
    still = images(28, 28).float()
    moves = motions() if kind == "affine" else projectives((28, 28))
    with torch.autocast("cpu", torch.bfloat16):
        moved = warp_each(still, moves)
    assert torch.equal(moved, warp_each(still, moves))


@pytest.mark.parametrize("beyond", ["fill", "nearest"])
@pytest.mark.parametrize("kind", ["affine", "projective"])
def test_gradients_of_images_and_transformations(kind, beyond):
    """At positions away from pixel centres, where the bilinear kernel has kinks."""
    still = images(5, 6, number=2, channels=1).requires_grad_()
    moves = (motions(2, seed=1) if kind == "affine" else projectives((5, 6), 2)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, h: warp_each(f, h, (4, 5), beyond=beyond, fill=0.5), (still, moves)
    )


def test_gradients_of_the_horizon_at_the_identity():
    """The last row of a projective matrix has a gradient even where it is 0."""
    sources = (torch.eye(3) + 0.013 * torch.eye(3).roll(1, 0)).double()[None]
    sources[:, 2, :2] = 0
    sources.requires_grad_()
    still = images(5, 6, number=1)
    assert torch.autograd.gradcheck(
        lambda s: sample(still, sampling_grid(s, (4, 4), (5, 6))), (sources,)
    )
    sample(still, sampling_grid(sources, (4, 4), (5, 6))).square().sum().backward()
    assert (sources.grad[0, 2, :2] != 0).all()


def test_affine_and_projective_routes_agree():
    moves = torch.linalg.inv(motions())
    affine = sampling_grid(moves[:, :2], (7, 9), (12, 11))
    torch.testing.assert_close(sampling_grid(moves, (7, 9), (12, 11)), affine)
    with_gradient = sampling_grid(moves.clone().requires_grad_(), (7, 9), (12, 11))
    torch.testing.assert_close(with_gradient.detach(), affine)
    torch.testing.assert_close(sampling_grid(2 * moves, (7, 9), (12, 11)), affine)


def test_behind_the_horizon_nothing_is_seen():
    source = torch.eye(3, dtype=torch.float64)[None].clone()
    source[0, 2, 0] = 0.3  # the horizon lies 3.3 px left of the centre
    flat = torch.ones(1, 1, 8, 12, dtype=torch.float64)
    seen = sample(flat, sampling_grid(source, (8, 12), (8, 12)), fill=5.0)
    assert torch.isfinite(seen).all()
    assert (seen[..., :2] == 5).all() and (seen[0, 0, 4, 6] == 1).all()


def test_bad_input():
    still, moves = images(8, 8), motions()
    with pytest.raises(ProbeError, match=r"shape \(3, 3\) for 4 images; give one 3x3 matrix each"):
        warp_each(still, moves[0])
    with pytest.raises(ProbeError, match=r"shape \(3, 3, 3\) for 4 images.*\(4, 3, 3\)"):
        warp_each(still, moves[:3])
    singular = moves.clone()
    singular[2, 0] = 0
    with pytest.raises(ProbeError, match=r"transformation 2 cannot be inverted: \[\[0.0, 0.0"):
        warp_each(still, singular)
    with pytest.raises(ProbeError, match="beyond='reflect'; give 'fill' or 'nearest'"):
        warp_each(still, moves, beyond="reflect")
    with pytest.raises(ProbeError, match="3 fill values for 2 channels; give one, or one each"):
        warp_each(still, moves, fill=[0.0, 0.0, 0.0])
    with pytest.raises(ProbeError, match=r"sources of shape \(4, 3\); give matrices \(N, 2, 3\)"):
        sampling_grid(moves[:, 0], (8, 8), (8, 8))
    with pytest.raises(ProbeError, match=r"images of torch.uint8; give floating point"):
        warp_each(torch.zeros(4, 2, 8, 8, dtype=torch.uint8), moves)
