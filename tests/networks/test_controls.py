"""The control networks do what docs/controls.md says, against oracles made here."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import Transform, rotation, scaling, shear, warp
from invariance_probe.networks import measure_frames
from invariance_probe.networks.controls import (
    FilterBank,
    gaussian_derivatives,
    orbit_bank,
    oriented_bank,
    pointwise,
)


def waves(number: int, size: int, shortest: float = 14.0) -> torch.Tensor:
    """Band-limited scenes (N, 1, size, size) in float64: plane waves in all directions."""
    generator = np.random.default_rng(1)
    axis = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(axis, axis)
    scenes = np.zeros((number, 1, size, size))
    for scene in scenes:
        for angle in np.arange(30) * np.pi / 30 + generator.uniform(0, np.pi):
            phase = generator.uniform(0, 2 * np.pi)
            wave = 2 * np.pi / generator.uniform(shortest, 2.5 * shortest)
            scene[0] += np.cos(wave * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    return torch.from_numpy(scenes)


SCENES = waves(4, 110)


def both(bank: torch.nn.Module, move: Transform) -> tuple[torch.Tensor, torch.Tensor]:
    """Aligned and original features on the inner cells, which every rotation leaves inside."""
    bank = copy.deepcopy(bank).double()
    with torch.no_grad():
        original = bank(SCENES)
        moved = bank(warp(SCENES, move, interpolation="bicubic"))
    aligned = warp(moved, move.inverse(), interpolation="bicubic", beyond="nearest")
    edge = (original.shape[-1] - 40) // 2
    return aligned[..., edge:-edge, edge:-edge], original[..., edge:-edge, edge:-edge]


def residual(aligned: torch.Tensor, original: torch.Tensor) -> float:
    mean = original.mean(dim=(0, 2, 3), keepdim=True)
    return ((aligned - original).square().sum() / (original - mean).square().sum()).item()


def mixed(bank: FilterBank, degrees: float, aligned: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ck,nkyx->ncyx", torch.from_numpy(bank.channel_map(degrees)), aligned)


# --- Gaussian derivatives ----------------------------------------------------------------------


def test_gaussian_derivatives_differentiate():
    """On x² + 3xy − y² + 5x + 2y + 7 every derivative is known."""
    y, x = torch.meshgrid(torch.arange(-20.0, 21), torch.arange(-20.0, 21), indexing="ij")
    image = (x**2 + 3 * x * y - y**2 + 5 * x + 2 * y + 7)[None, None].double()
    first = gaussian_derivatives(1.5, 1).double()(image)[0]
    second = gaussian_derivatives(1.5, 2).double()(image)[0]
    middle = first.shape[-1] // 2
    # At the centre of the scene, x = y = 0; kernels are kept in float32.
    assert first[:, middle, middle].tolist() == pytest.approx([5, 2], rel=2e-3)
    assert second[:, middle, middle].tolist() == pytest.approx([2, 3, -2], rel=5e-3)


@pytest.mark.parametrize("degrees", [15, 45, 90, 150, 180])
def test_the_gradient_leaves_2_minus_2_cos_theta_and_a_rotation_of_channels(degrees):
    bank = gaussian_derivatives(2.0)
    aligned, original = both(bank, rotation(degrees))
    expected = 2 - 2 * np.cos(np.radians(degrees))
    assert residual(aligned, original) == pytest.approx(expected, rel=0.02)
    assert residual(mixed(bank, degrees, aligned), original) < 1e-5
    channel_map = bank.channel_map(degrees)
    assert channel_map @ channel_map.T == pytest.approx(np.eye(2))
    assert channel_map[0, 0] == pytest.approx(np.cos(np.radians(degrees)))


@pytest.mark.parametrize("degrees", [20, 45, 90, 180])
def test_second_derivatives_mix_as_a_tensor(degrees):
    bank = gaussian_derivatives(2.0, 2)
    aligned, original = both(bank, rotation(degrees))
    assert residual(mixed(bank, degrees, aligned), original) < 1e-5
    expected = 6 / 7 * (1 - np.cos(np.radians(2 * degrees)))
    assert residual(aligned, original) == pytest.approx(expected, rel=0.1, abs=1e-6)


@given(a=st.floats(-180, 180), b=st.floats(-180, 180), order=st.sampled_from([1, 2]))
def test_channel_maps_of_derivatives_compose(a, b, order):
    bank = gaussian_derivatives(1.0, order)
    together = bank.channel_map(a + b)
    assert bank.channel_map(a) @ bank.channel_map(b) == pytest.approx(together, abs=1e-9)


@pytest.mark.parametrize("factor", [0.8, 1.25, 1.5])
def test_scaling_changes_the_gain_of_a_wave_as_computed(factor):
    """A wave of frequency w keeps its form: its gain is off by exp(σ²w²(1 − 1/s²)/2)/s."""
    w, sigma = 2 * np.pi / 16, 2.0
    x = np.arange(200) - 99.5
    image = torch.from_numpy(np.broadcast_to(np.cos(w * x), (200, 200)).copy())[None, None]
    bank = gaussian_derivatives(sigma).double()
    moved = bank(warp(image, scaling(factor), interpolation="bicubic", antialias=False))
    aligned = warp(moved, scaling(1 / factor), interpolation="bicubic", antialias=False)
    inner = slice(70, -70)
    gain = np.exp(sigma**2 * w**2 * (1 - 1 / factor**2) / 2) / factor
    found = residual(aligned[..., inner, inner], bank(image)[..., inner, inner])
    assert found == pytest.approx((1 - gain) ** 2, rel=0.06)


# --- banks closed under rotations --------------------------------------------------------------


def test_an_orbit_bank_holds_every_kernel_in_four_orientations():
    kernels = orbit_bank(base=3, size=7, seed=5, inputs=2).filters.weight
    assert kernels.shape == (12, 2, 7, 7)
    for b in range(3):
        for o in range(4):
            turned = torch.rot90(kernels[4 * b], o, (-2, -1))
            assert torch.equal(kernels[4 * b + o], turned)
    assert torch.equal(kernels, orbit_bank(base=3, size=7, seed=5, inputs=2).filters.weight)
    assert not torch.equal(kernels, orbit_bank(base=3, size=7, seed=6, inputs=2).filters.weight)


@pytest.mark.parametrize("degrees", [90, 180, -90, 270])
def test_the_orbit_bank_turns_into_itself_by_the_known_permutation(degrees):
    """np.rot90 is the oracle: of images and of maps, no warp of this package."""
    bank = orbit_bank(base=3, size=6, seed=2)
    images = np.random.default_rng(0).random((4, 1, 21, 21)).astype(np.float32)
    turns = degrees // 90
    with torch.no_grad():
        original = bank(torch.from_numpy(images)).numpy()
        turned = np.rot90(images, turns, (-2, -1)).copy()
        moved = bank(torch.from_numpy(turned)).numpy()
    aligned = np.rot90(moved, -turns, (-2, -1))
    assert np.abs(aligned[:, bank.permutation(degrees)] - original).max() < 1e-5
    for other in {90, 180, 270} - {degrees % 360}:
        wrong = aligned[:, bank.permutation(other)] - original
        assert (wrong**2).sum() / (
            (original - original.mean((0, 2, 3), keepdims=True)) ** 2
        ).sum() > 1
    assert bank.channel_map(degrees) @ np.arange(12) == pytest.approx(bank.permutation(degrees))


def test_two_orientations_are_closed_under_half_turns_only():
    bank = orbit_bank(base=2, orientations=2)
    assert bank.permutation(180).tolist() == [1, 0, 3, 2]
    aligned, original = both(bank, rotation(180))
    assert residual(aligned[:, bank.permutation(180)], original) < 1e-12
    with pytest.raises(ProbeError, match="every 180° is not closed under 90°; give a multiple"):
        bank.permutation(90)


@pytest.mark.parametrize(("degrees", "steps"), [(22.5, 1), (45, 2), (-67.5, -3), (90, 4), (180, 8)])
def test_sixteen_orientations_shift_by_one_channel_every_22_degrees(degrees, steps):
    bank = oriented_bank(16)
    aligned, original = both(bank, rotation(degrees))
    shift = np.roll(np.arange(16), -steps)
    assert bank.permutation(degrees).tolist() == shift.tolist()
    floor = 1e-12 if degrees % 90 == 0 else 1e-5
    assert residual(aligned[:, shift], original) < floor
    neighbours = [residual(aligned[:, np.roll(shift, k)], original) for k in (-1, 1)]
    assert min(neighbours) > 0.1
    unpermuted = residual(aligned, original)
    assert unpermuted > 0.1
    if abs(degrees) == 180:
        assert unpermuted == pytest.approx(4, rel=0.02)


def test_oriented_kernels_stand_in_exact_relation():
    kernels = oriented_bank(16).filters.weight[:, 0].double()
    assert torch.equal(kernels[:8], -kernels[8:]) or (kernels[:8] + kernels[8:]).abs().max() < 1e-7
    quarter = torch.rot90(kernels, 1, (-2, -1))
    assert (quarter - kernels.roll(-4, 0)).abs().max() < 1e-7
    norms = kernels.square().sum(dim=(1, 2)).sqrt()
    assert norms.tolist() == pytest.approx([1.0] * 16, rel=1e-3)
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    ramp = oriented_bank(16)((x - y)[None, None])[0, :, 0, 0]  # brighter to the upper right
    assert int(ramp.argmax()) == 2  # 45° counter-clockwise


@given(a=st.integers(-40, 40), b=st.integers(-40, 40), count=st.integers(3, 17))
def test_permutations_compose_as_rotations(a, b, count):
    bank = oriented_bank(count, sigma=0.7, elongation=1)
    p, q = (bank.permutation(k * bank.step) for k in (a, b))
    assert p[q].tolist() == bank.permutation((a + b) * bank.step).tolist()


# --- pointwise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [rotation(90), rotation(37), scaling(1.5), shear(0.4)], ids=str)
def test_pointwise_features_follow_every_transformation(move):
    aligned, original = both(pointwise(6, seed=1), move)
    assert residual(aligned, original) < (1e-12 if move == rotation(90) else 0.002)


def test_pointwise_is_seeded_and_leaves_the_global_stream_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = pointwise(4, seed=1), pointwise(4, seed=1), pointwise(4, seed=2)
    orbit_bank(seed=4)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert pointwise(4, inputs=3)(torch.rand(2, 3, 5, 5)).shape == (2, 4, 5, 5)
    torch.manual_seed(3)
    pointwise(4, inputs=3, seed=9)
    orbit_bank(seed=4)
    assert torch.equal(torch.rand(1), expected)


# --- all of them -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bank",
    [gaussian_derivatives(1.0), orbit_bank(2, 5), oriented_bank(8, 0.8), orbit_bank(1, 4)],
    ids=["derivatives", "orbit", "oriented", "even kernel"],
)
def test_banks_are_centred_copied_and_stored(bank):
    for canvas in ((32, 32), (33, 40)):
        frame = measure_frames(bank, "filters", canvas, 1)["filters"]
        assert frame.centre_offset == (0, 0)
        assert frame.jump == (1, 1)
    for twin in (copy.deepcopy(bank), pickle.loads(pickle.dumps(bank))):
        assert np.array_equal(twin.channel_map(180), bank.channel_map(180))
        assert torch.equal(twin.filters.weight, bank.filters.weight)


@torch.no_grad()
def test_several_input_planes_are_averaged():
    image = torch.rand(2, 3, 30, 30)
    for make in (gaussian_derivatives, oriented_bank):
        grey = make(sigma=0.8)(image.mean(1, keepdim=True))
        assert make(sigma=0.8, inputs=3)(image).numpy() == pytest.approx(grey.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_derivatives(0.3), "sigma=0.3 px is too narrow for the grid; give 0.7"),
        (lambda: gaussian_derivatives(float("nan")), "sigma=nan px is too narrow"),
        (lambda: gaussian_derivatives(2, 3), r"order=3 is not there; use 1 \(Lx, Ly\) or 2"),
        (lambda: orbit_bank(orientations=8), "orientations=8 cannot be copied .* oriented_bank"),
        (lambda: orbit_bank(base=0), "base=0 must be a whole number of at least 1"),
        (lambda: oriented_bank(2), "orientations=2 must be a whole number of at least 3"),
        (lambda: oriented_bank(elongation=0.5), "elongation=0.5 must be 1 or more"),
        (lambda: oriented_bank().permutation(30), "every 22.5° is not closed under 30°"),
        (lambda: oriented_bank().permutation(float("nan")), "is not closed under nan°"),
        (lambda: pointwise(1.5), "channels=1.5 must be a whole number"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ProbeError, match=message):
        make()
