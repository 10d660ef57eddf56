"""Families of warps: identity at zero, conventions, composition, gradients, names."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    angle_of,
    rotations_of,
    sample,
    sampling_grid,
    scale_of,
    scalings_of,
    translations_of,
    warp_each,
)
from invariance_probe.networks.stn.warps import (
    FAMILIES,
    composed,
    in_pixels,
    spline_grid,
    square,
    unit_grid,
    warp_family,
)

MATRICES = [name for name in FAMILIES if name != "tps"]
COUNTS = {
    "affine": 6, "rotation": 1, "scaling": 1, "translation": 2, "similarity": 4, "attention": 3,
    "projective": 8, "tps": 32,
}  # fmt: skip


def parameters(name: str, number: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (number, warp_family(name).parameters)
    return 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def sources(name: str, values: Tensor) -> Tensor:
    made = warp_family(name).sources
    assert made is not None
    return made(values)


def grid(name: str, values: Tensor, out: tuple[int, int], size: tuple[int, int]) -> Tensor:
    if name == "tps":
        return spline_grid(values, out, size)
    return unit_grid(sources(name, values), out, size)


def images(rows: int, columns: int, number: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.randn(number, 2, rows, columns, generator=generator, dtype=torch.float64)


def test_counts():
    assert {name: family.parameters for name, family in FAMILIES.items()} == COUNTS
    assert [name for name, family in FAMILIES.items() if family.projective] == ["projective"]
    assert warp_family("tps").sources is None


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_is_the_identity_exactly(name, dtype):
    made = sources(name, torch.zeros(2, COUNTS[name], dtype=dtype))
    rows = 3 if name == "projective" else 2
    assert torch.equal(made, torch.eye(rows, 3, dtype=dtype).expand(2, rows, 3))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [(10, 10), (9, 14)])
def test_zero_reads_every_cell_at_its_place(name, size):
    still = images(*size)
    zeros = torch.zeros(3, COUNTS[name], dtype=torch.float64)
    same = sample(still, grid(name, zeros, size, size))
    torch.testing.assert_close(same, still, atol=1e-12, rtol=0)


def test_content_turns_counter_clockwise_by_the_angle():
    angle = torch.tensor([[math.radians(30)], [math.radians(-100)]]).double()
    motion = torch.linalg.inv(square(sources("rotation", angle)))
    expected = rotations_of(torch.tensor([30.0, -100.0]))
    torch.testing.assert_close(motion, expected, atol=1e-6, rtol=0)


def test_a_positive_logarithm_looks_at_more_and_shrinks_the_content():
    motion = torch.linalg.inv(square(sources("scaling", torch.tensor([[math.log(2)]]).double())))
    torch.testing.assert_close(motion, scalings_of(torch.tensor([0.5])), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(10, 10), (10, 16), (30, 12)])
def test_a_shift_is_in_half_sides_of_the_shorter_one(size):
    moved = in_pixels(sources("translation", torch.tensor([[0.5, -1.0]]).double()), size)
    half = min(size) / 2
    assert moved[0, :, 2].tolist() == [0.5 * half, -half]
    motion = torch.linalg.inv(square(moved))
    expected = translations_of(torch.tensor([[-0.5 * half, half]]))
    torch.testing.assert_close(motion, expected, atol=1e-12, rtol=0)


def test_similarity_and_attention_put_these_together():
    p = torch.tensor([[0.3, -0.2, 0.1, 0.4]]).double()
    whole = square(sources("similarity", p))
    turn, size = sources("rotation", p[:, :1]), sources("scaling", p[:, 1:2])
    shift = sources("translation", p[:, 2:])
    expected = square(shift) @ square(turn) @ square(size)
    torch.testing.assert_close(whole, expected, atol=1e-12, rtol=0)
    assert angle_of(torch.linalg.inv(whole)).item() == pytest.approx(math.degrees(0.3))
    assert scale_of(torch.linalg.inv(whole)).item() == pytest.approx(math.exp(0.2))
    seen = sources("attention", p[:, 1:])
    torch.testing.assert_close(square(seen), square(shift) @ square(size), atol=1e-12, rtol=0)


def test_affine_and_projective_numbers_are_added_row_by_row():
    p = torch.arange(1.0, 9.0)[None] / 10
    assert torch.equal(sources("affine", p[:, :6])[0], torch.eye(2, 3) + p[0, :6].view(2, 3))
    last = torch.cat([p[0], torch.zeros(1)]).view(3, 3)
    assert torch.equal(sources("projective", p)[0], torch.eye(3) + last)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("size", [(12, 12), (9, 14)])
def test_the_inverse_motion_moves_the_content(name, size):
    """What a transformer shows is what `warp_each` makes of the inverse of its source."""
    still, made = images(*size), sources(name, parameters(name))
    seen = sample(still, unit_grid(made, size, size))
    motion = torch.linalg.inv(square(in_pixels(made, size)))
    torch.testing.assert_close(seen, warp_each(still, motion), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_coarser_output_shows_the_same_field_of_view(name):
    """A ramp is read without error, so the mean of four fine cells is the coarse one."""
    ramp = torch.arange(16.0, dtype=torch.float64).view(1, 1, 1, 16) + torch.arange(12.0).view(
        1, 1, 12, 1
    )
    p = 0.05 * parameters(name, 1) if name in ("projective", "tps") else parameters(name, 1)
    fine = sample(ramp, grid(name, p, (12, 16), (12, 16)), beyond="nearest")
    coarse = sample(ramp, grid(name, p, (6, 8), (12, 16)), beyond="nearest")
    means = torch.nn.functional.avg_pool2d(fine, 2)
    inner = (..., slice(2, -2), slice(2, -2))
    atol = 1e-10 if name not in ("projective", "tps") else 0.02
    torch.testing.assert_close(coarse[inner], means[inner], atol=atol, rtol=0)


@pytest.mark.parametrize("one", MATRICES)
@pytest.mark.parametrize("two", ["affine", "rotation", "projective"])
def test_composition_is_reading_through_both(one, two):
    first, then = sources(one, parameters(one)), sources(two, parameters(two, seed=1))
    both = composed(first, then)
    assert both.shape == (3, max(first.shape[1], then.shape[1]), 3)
    points = torch.tensor([[0.3, -0.2, 1.0]], dtype=torch.float64).T
    seen = square(first) @ (square(then) @ points)
    torch.testing.assert_close(square(both) @ points, seen, atol=1e-12, rtol=0)
    motions = [torch.linalg.inv(square(s)) for s in (first, then, both)]
    torch.testing.assert_close(motions[2], motions[1] @ motions[0], atol=1e-10, rtol=0)


def test_composition_of_shift_and_turn():
    """The second warp turns what the first shows, about the centre of the canvas."""
    shift = sources("translation", torch.tensor([[0.5, 0.0]]).double())
    turn = sources("rotation", torch.tensor([[math.pi / 2]], dtype=torch.float64))
    motion = torch.linalg.inv(square(composed(shift, turn)))
    expected = rotations_of(torch.tensor([90.0])) @ translations_of(torch.tensor([[-0.5, 0.0]]))
    torch.testing.assert_close(motion, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("out", [(5, 7), (3, 4)], ids=["whole", "reduced"])
def test_gradients_of_parameters_and_images(name, out):
    number = 1 if name == "tps" else 2
    still = images(5, 7, number=number)[:, :1].requires_grad_()
    p = parameters(name, number, seed=3).requires_grad_()
    for beyond in ("fill", "nearest"):
        assert torch.autograd.gradcheck(
            lambda f, q, beyond=beyond: sample(f, grid(name, q, out, (5, 7)), beyond=beyond),
            (still, p),
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_has_a_gradient_at_the_identity(name):
    """Or it would never be learned. An output of half the size reads between the pixels."""
    zeros = torch.zeros(1, COUNTS[name], dtype=torch.float64, requires_grad=True)
    seen = sample(images(8, 12, number=1), grid(name, zeros, (4, 6), (8, 12)), beyond="nearest")
    seen.square().sum().backward()
    assert (zeros.grad != 0).all()


def test_autocast_leaves_composition_alone():
    one = sources("affine", parameters("affine")).float()
    with torch.autocast("cpu", torch.bfloat16):
        both = composed(one, one)
        where = unit_grid(one, (9, 9), (9, 9))
    assert torch.equal(both, composed(one, one))
    eager = sampling_grid(in_pixels(one, (9, 9)), (9, 9), (9, 9))
    assert torch.equal(where, eager)


def test_unknown_names():
    with pytest.raises(ProbeError, match="no family of warps named 'afine'; did you mean 'affine'"):
        warp_family("afine")
    everything = "there are affine, rotation, scaling, translation, similarity, attention, proj"
    with pytest.raises(ProbeError, match=f"named 'zzz'; {everything}"):
        warp_family("zzz")
