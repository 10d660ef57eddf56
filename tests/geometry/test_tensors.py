"""What goes into a warp comes out: dtype, layout, gradients, emptiness, device."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from invariance_probe.geometry import Transform, rotation, scaling, warp

EDGES = ("fill", "nearest", "reflect")

pytestmark = pytest.mark.parametrize(
    "transform", [rotation(90), rotation(30), scaling(0.5), rotation(30) @ scaling(0.5)], ids=str
)


def images(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Two images of three channels, with both signs and no regularity."""
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(2, 3, rows, columns, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(transform: Transform, dtype: torch.dtype) -> None:
    still = images(10, 12).to(dtype)
    moved = warp(still, transform, fill=0.25)
    assert moved.dtype == dtype
    assert torch.equal(moved, warp(still.float(), transform, fill=0.25).to(dtype))


def test_single_and_double_precision_agree(transform: Transform) -> None:
    still = images(10, 12)
    single = warp(still.float(), transform)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), warp(still, transform), atol=1e-5, rtol=0)


def test_input_is_left_alone(transform: Transform) -> None:
    still = images(10, 12)
    before = still.clone()
    warp(still, transform, fill=0.5).add_(1)
    assert torch.equal(still, before)


def test_layout_in_memory_does_not_matter(transform: Transform) -> None:
    still = images(10, 12)
    channels_last = still.contiguous(memory_format=torch.channels_last)
    cut = F.pad(still, (3, 2, 1, 4))[..., 1:11, 3:15]
    for same in (channels_last, cut, still[:1].expand(2, -1, -1, -1)[:1]):
        expected = warp(still[: len(same)], transform)
        torch.testing.assert_close(warp(same, transform), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_gradient(transform: Transform, interpolation: str) -> None:
    still = images(5, 6)[:1, :1].requires_grad_()
    for beyond in EDGES:
        options = {"fill": 0.5, "interpolation": interpolation, "beyond": beyond}
        assert torch.autograd.gradcheck(
            lambda pixels, options=options: warp(pixels, transform, **options), (still,)
        )


def test_no_images(transform: Transform) -> None:
    for interpolation in ("bilinear", "bicubic"):
        moved = warp(torch.zeros(0, 3, 10, 12), transform, interpolation=interpolation)
        assert moved.shape == (0, 3, 10, 12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees(transform: Transform) -> None:
    still = images(10, 12)
    for interpolation in ("bilinear", "bicubic"):
        options = {"fill": 0.5, "interpolation": interpolation}
        moved = warp(still.cuda(), transform, **options)
        assert moved.is_cuda
        torch.testing.assert_close(moved.cpu(), warp(still, transform, **options))
