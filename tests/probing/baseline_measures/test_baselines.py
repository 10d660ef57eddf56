"""Baselines as pure functions: closed forms, and the definitions written out another way."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import ChannelMoments
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import identity, image_frame
from invariance_probe.probing.baseline_measures import (
    GENERATORS,
    VariabilitySums,
    cka_of_moments,
    derivative_energy,
    equivariance_psnr,
    flow,
    linear_cka,
    normalised_variance,
    same_equivariance_distance,
    step_of,
)
from invariance_probe.probing.baseline_measures.lie import followed, moved_input


def variances(values: torch.Tensor, sizes: list[int], pivot: float = 0.0) -> VariabilitySums:
    """The state after batches of these sizes; `values` are (T, N, C, U), the first the original."""
    sums = VariabilitySums(len(values), torch.full((values.shape[2],), pivot))
    for batch in values.split(sizes, dim=1):
        sums.start(batch[0])
        for which, own in enumerate(batch):
            sums.add(which, own)
        sums.end()
    return sums


@pytest.fixture
def values() -> torch.Tensor:
    return torch.randn(4, 9, 2, 5, generator=torch.Generator().manual_seed(0)) + 3


# --- normalised variance -----------------------------------------------------------------------


def test_variances_are_the_definition(values: torch.Tensor) -> None:
    tv, sv = variances(values, [4, 5], pivot=2.5).compute()
    wide = values.double().numpy()
    np.testing.assert_allclose(tv, wide.std(axis=0, ddof=1).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(sv, wide.std(axis=1, ddof=1).mean(axis=0), rtol=1e-12)


def test_batches_and_sums_of_states_leave_no_trace(values: torch.Tensor) -> None:
    whole = variances(values, [9]).compute()
    parts = variances(values[:, :2], [1, 1]) + variances(values[:, 2:], [3, 4])
    assert parts.images == 9
    for one, other in zip(whole, parts.compute(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    empty = VariabilitySums(4, torch.zeros(2))
    assert (empty + parts) is parts and (parts + empty) is parts


def test_invariant_activations_have_none(values: torch.Tensor) -> None:
    same = values[:1].expand(4, -1, -1, -1)
    tv, sv = variances(same, [9]).compute()
    assert (normalised_variance(tv, sv) == 0).all()


def test_activations_that_ignore_the_image_are_infinite(values: torch.Tensor) -> None:
    same = values[:, :1].expand(-1, 9, -1, -1)
    tv, sv = variances(same, [9], pivot=0.3).compute()
    assert np.isposinf(normalised_variance(tv, sv)).all()


def test_constants_have_one() -> None:
    tv, sv = variances(torch.full((3, 6, 1, 4), 0.7), [2, 4], pivot=0.1).compute()
    assert (normalised_variance(tv, sv) == 1).all()


def test_independent_activations_have_about_one() -> None:
    drawn = torch.randn(40, 40, 3, 50, generator=torch.Generator().manual_seed(1))
    assert normalised_variance(*variances(drawn, [40]).compute()).mean() == pytest.approx(1, 0.01)


def test_a_factor_leaves_it_alone_and_noise_adds() -> None:
    """Image values of deviation a and transformation values of deviation b give b/a."""
    generator = torch.Generator().manual_seed(2)
    image, turn = (torch.randn(60, 1, 400, generator=generator) for _ in range(2))
    values = 3 * image[None] + 0.5 * turn[:, None]
    found = normalised_variance(*variances(values, [60]).compute())
    assert found.mean() == pytest.approx(0.5 / 3, rel=0.02)
    scaled = normalised_variance(*variances(100 * values, [60]).compute())
    np.testing.assert_allclose(found, scaled, rtol=1e-5)


@pytest.mark.parametrize("aggregation", ["mean", "sum", "max"])
def test_aggregation_comes_before_the_quotient(aggregation: str) -> None:
    tv, sv = np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[0.0, 2.0], [0.0, 0.0]])
    expected = {"mean": 2.0, "sum": 2.0, "max": 1.5}[aggregation]
    assert normalised_variance(tv, sv, aggregation).tolist() == [expected, 1.0]


def test_what_has_no_variance_is_refused(values: torch.Tensor) -> None:
    with pytest.raises(ProbeError, match="variance over 1 transformation is none; give 2 or more"):
        VariabilitySums(1, torch.zeros(2))
    with pytest.raises(ProbeError, match="variance over 1 image is none; give 2 or more"):
        variances(values[:, :1], [1]).compute()
    with pytest.raises(ProbeError, match="about other pivots do not add"):
        variances(values, [9]) + variances(values, [9], pivot=1.0)
    with pytest.raises(ProbeError, match="aggregation='min' is not known; use one of None, 'mean'"):
        normalised_variance(np.ones((1, 1)), np.ones((1, 1)), "min")


# --- distance and PSNR -------------------------------------------------------------------------


def test_distance_is_the_definition(values: torch.Tensor) -> None:
    maps = values.reshape(4, 9, 2, 1, 5)
    cells = torch.tensor([[1, 0, 1, 1, 0]])
    found = same_equivariance_distance(maps[0], maps[1], cells)
    apart = (maps[0] - maps[1]).double().numpy()[:, :, 0][:, :, [0, 2, 3]]
    np.testing.assert_allclose(found, np.sqrt((apart**2).mean(-1)).mean(-1), rtol=1e-6)


@pytest.mark.parametrize("deviation", [0.01, 0.1])
def test_psnr_of_known_noise(deviation: float) -> None:
    noise = deviation * np.random.default_rng(0).standard_normal(100_000)
    found = equivariance_psnr((noise**2).sum(), noise.size, 2.0)
    assert found == pytest.approx(20 * math.log10(2 / deviation), abs=0.05)


def test_psnr_agrees_with_opencv() -> None:
    one, other = np.random.default_rng(0).random((2, 30, 40)).astype(np.float32)
    errors = ((one.astype(np.float64) - other) ** 2).sum()
    found = equivariance_psnr(errors, one.size, 2.0)
    assert found == pytest.approx(cv2.PSNR(one, other, R=2.0), rel=1e-6)


def test_psnr_at_its_ends() -> None:
    assert equivariance_psnr(0.0, 10, 1.0) == math.inf
    assert math.isnan(equivariance_psnr(1.0, 10, 0.0))
    assert equivariance_psnr(np.array([10.0, 1.0]), 10, 1.0).tolist() == pytest.approx([0, 10])


# --- linear CKA --------------------------------------------------------------------------------


def features(examples: int, channels: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, channels, generator=generator, dtype=torch.float64)


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100), shift=st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_cka_sees_no_orthogonal_map_factor_or_shift(seed: int, factor: float, shift: float) -> None:
    x = features(40, 6, seed)
    turn = torch.linalg.qr(features(6, 6, seed + 1))[0]
    assert linear_cka(x, factor * x @ turn + shift) == pytest.approx(1, abs=1e-9)


def test_cka_is_the_normalised_hsic_of_centred_kernels() -> None:
    x, y = features(30, 4), features(30, 7, 1)
    y[:, :4] += x
    centring = np.eye(30) - 1 / 30
    kernels = [centring @ (part @ part.T).numpy() @ centring for part in (x, y)]
    dots = [[np.trace(a @ b) for b in kernels] for a in kernels]
    expected = dots[0][1] / math.sqrt(dots[0][0] * dots[1][1])
    assert 0.1 < expected < 0.9
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-10)
    assert linear_cka(y, x) == pytest.approx(expected, rel=1e-10)


def test_cka_of_a_known_spectrum() -> None:
    """Uncorrelated columns with energies a and b against their first: a/√(a² + b²)."""
    x = torch.tensor([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    assert linear_cka(x, x[:, :1]) == pytest.approx(4 / math.hypot(4, 1))
    assert linear_cka(x[:, 1:], x[:, :1]) == 0


def test_cka_from_moments_is_that_of_the_matrices() -> None:
    maps, others = features(2 * 3 * 5, 12).reshape(2, 5, 3, 3, 4)
    maps = 10 + maps + others
    cells = torch.ones(3, 4)
    cells[1, 1] = 0
    moments, own = (ChannelMoments(cells, chance=False) for _ in range(2))
    for first in (0, 2):
        batch = slice(first, first + 2 if first == 0 else None)
        moments.update(maps[batch], others[batch])
        own.update(others[batch], others[batch])
    rows = [part.flatten(2)[:, :, cells.flatten() > 0].transpose(1, 2) for part in (maps, others)]
    expected = linear_cka(*(part.reshape(-1, 3) for part in rows))
    assert cka_of_moments(moments, own) == pytest.approx(expected, rel=1e-9)


def test_cka_of_constants_is_no_number() -> None:
    assert math.isnan(linear_cka(torch.full((5, 2), 0.1), features(5, 2)))
    still = torch.full((2, 3, 4, 4), 0.1)
    moments = ChannelMoments(torch.ones(4, 4), chance=False)
    moments.update(still, still)
    assert math.isnan(cka_of_moments(moments, moments))
    with pytest.raises(ProbeError, match=r"\(5, 2\) and \(4, 2\) cannot be compared"):
        linear_cka(features(5, 2), features(4, 2))


# --- Lie derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize("generator", GENERATORS)
def test_flows_are_one_parameter_groups(generator: str) -> None:
    canvas = (20, 30)
    one, other = flow(generator, 0.2, canvas), flow(generator, -0.5, canvas)
    assert (one @ other).isclose(flow(generator, -0.3, canvas))
    assert flow(generator, 0.0, canvas).isclose(identity())
    corner = np.array([15.0, 10.0, 1.0])
    moved = flow(generator, step_of(generator, canvas), canvas).matrix @ corner - corner
    assert np.hypot(*moved[:2]) == pytest.approx(1 / 64, rel=0.01)


def test_units_of_the_generators() -> None:
    canvas = (20, 30)
    assert flow("rotation", math.pi / 2, canvas).angle == pytest.approx(90)
    assert flow("scaling", math.log(2), canvas).scale == pytest.approx(2)
    assert flow("translation_x", 1.0, canvas).parameters == (15.0, 0.0)
    assert flow("translation_y", 1.0, canvas).parameters == (0.0, 10.0)
    with pytest.raises(ProbeError, match="unknown generator 'shear'; use one of rotation, scal"):
        flow("shear", 1.0, canvas)


def test_energy_of_vectors_and_maps() -> None:
    vectors = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert derivative_energy(vectors, -vectors, 0.5).tolist() == [20.0, 0.0]
    maps = vectors.reshape(2, 1, 1, 2)
    assert derivative_energy(maps, -maps, 0.5).tolist() == [20.0, 0.0]
    only = torch.tensor([[0, 1]])
    assert derivative_energy(maps, -maps, 0.5, only).tolist() == [16.0, 0.0]


def velocity(generator: str, size: int, half: float) -> torch.Tensor:
    """(dx/dt, dy/dt) of a point, (2, size, size), for a square canvas of half width `half`."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    one, none = torch.full_like(x, half), torch.zeros_like(x)
    return {
        "rotation": torch.stack([y, -x]),  # counter-clockwise on the screen, y down
        "scaling": torch.stack([x, y]),
        "translation_x": torch.stack([one, none]),
        "translation_y": torch.stack([none, one]),
    }[generator]


def along(maps: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
    """Derivative of maps along a field by central differences; one cell is lost on every side."""
    dx = (maps[..., 1:-1, 2:] - maps[..., 1:-1, :-2]) / 2
    dy = (maps[..., 2:, 1:-1] - maps[..., :-2, 1:-1]) / 2
    return speed[0] * dx + speed[1] * dy


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_difference_agrees_with_forward_mode_differentiation(
    generator: str, dtype: torch.dtype
) -> None:
    """L_X f = X·∇ of the map − J_f (X·∇ image): T_t moves content, so the image loses X·∇."""
    random = torch.Generator().manual_seed(0)
    source = torch.rand(3, 1, 22, 22, generator=random, dtype=torch.float64)
    kernel = torch.randn(4, 1, 5, 5, generator=random, dtype=torch.float64)

    def network(images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.conv2d(images, kernel.to(images)) / 3)

    image = source[:, :, 1:-1, 1:-1]
    tangent = -along(source, velocity(generator, 20, 10))
    maps, pushed = torch.func.jvp(network, (image,), (tangent,))
    exact = pushed[:, :, 1:-1, 1:-1] + along(maps, velocity(generator, 14, 10))

    canvas, step = (20, 20), step_of(generator, (20, 20))
    found = []
    for amount in (step, -step):
        move = flow(generator, amount, canvas)
        shown = moved_input(source.to(dtype), move, canvas, "nearest", 0.0)
        found.append(followed(network(shown), move, image_frame(16, 16))[:, :, 1:-1, 1:-1])
    difference = (found[0] - found[1]).double() / (2 * step)
    assert exact.square().mean() > 0
    assert (difference - exact).square().sum() < 5e-4 * exact.square().sum()
    inner = torch.zeros(16, 16)
    inner[1:-1, 1:-1] = 1
    full = [torch.nn.functional.pad(part, (1, 1, 1, 1)) for part in found]
    energy = derivative_energy(*full, step, inner)
    np.testing.assert_allclose(energy, difference.square().sum(dim=(1, 2, 3)), rtol=1e-4)
