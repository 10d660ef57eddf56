"""Networks whose residuals are known in closed form: what the instrument must read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import convolution, fourfold, gaussian_derivatives, noise, smooth
from torch import nn

from invariance_probe.geometry import Frame, rotation, rotations, scaling, shear, translation, warp
from invariance_probe.networks import measure_frames
from invariance_probe.probing import Result, probe

QUICK = {"resamples": 50}


def residual(result: Result, layer: str, rung: str, transform: str | None = None) -> float:
    rows = result.residuals
    chosen = rows[(rows["layer"] == layer) & (rows["rung"] == rung)]
    if transform is not None:
        chosen = chosen[chosen["transform"] == transform]
    assert len(chosen) == 1
    return float(chosen["residual"].iloc[0])


def paper_like(kernel_1: torch.Tensor, kernel_2: torch.Tensor) -> nn.Sequential:
    """conv 9x9, pool, ReLU, conv 7x7, pool, ReLU, as in the paper's network for digits."""
    return nn.Sequential(
        convolution(kernel_1), nn.MaxPool2d(2), nn.ReLU(),
        convolution(kernel_2), nn.MaxPool2d(2), nn.ReLU(),
    )  # fmt: skip


@pytest.fixture
def kernels(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(6, 1, 9, 9, generator=generator, dtype=torch.float64) / 9
    second = torch.randn(5, 6, 7, 7, generator=generator, dtype=torch.float64) / 17
    return first.to(dtype), second.to(dtype)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def test_identity_leaves_nothing(kernels):
    result = probe(paper_like(*kernels), ["0", "5"], [rotation(0)], noise(8, 28, 28), **QUICK)
    rows = result.residuals.set_index("rung")["residual"]
    fitted = ["spatial_bound", "inverse_orthogonal", "inverse_linear"]
    assert (rows.drop(["other_image", *fitted]).dropna() == 0).all()
    assert (rows[fitted].dropna() < 1e-8).all()  # a ridge leaves a trace
    assert (rows["other_image"] > 0.5).all()


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (0, -4), (8, 4)])
def test_translation_by_multiples_of_the_stride_aligns(kernels, dx, dy):
    # Content enters from beyond the canvas, so no cell misses any.
    images = noise(8, 80, 60)
    result = probe(paper_like(*kernels), "5", [translation(dx, dy)], images, **QUICK)
    assert residual(result, "5", "inverse") < 1e-10
    assert residual(result, "5", "best") < 1e-10
    assert residual(result, "5", "unaligned") > 0.5


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_right_angles_swap_the_filters(kernels, degrees):
    """T_h⁻¹ Γ T_h f is f filtered with kernels turned back (Jansson et al., section 3)."""
    images = noise(12, 28, 28)
    result = probe(paper_like(*kernels), ["0", "2", "5"], [rotation(degrees)], images, **QUICK)
    names = set(result.axes["image"])
    chosen = [i for i, name in enumerate(images.names) if name in names]
    f = images.batch(chosen).to(kernels[0].dtype)
    back = [torch.rot90(k, -degrees // 90, (-2, -1)) for k in kernels]
    for layer in ("0", "2", "5"):
        depth = int(layer) + 1
        original = paper_like(*kernels)[:depth](f).double()
        turned = paper_like(*back)[:depth](f).double()
        mean = original.mean(dim=(0, 2, 3), keepdim=True)
        expected = ((turned - original).square().sum() / (original - mean).square().sum()).item()
        assert residual(result, layer, "inverse") == pytest.approx(expected, abs=1e-6)
        assert residual(result, layer, "input_aligned") < 1e-10


def test_fourfold_filters_align_at_right_angles(kernels):
    network = paper_like(*(fourfold(k) for k in kernels))
    result = probe(
        network, ["0", "2", "5"], rotations(-90, 180, step=90), noise(8, 28, 28), **QUICK
    )
    inverse = result.summary["inverse"]
    assert (inverse <= 1e-6).all()
    assert (result.summary["unaligned"][~result.summary["identity"]] > 0.1).all()
    assert result.summary["recovered"].to_numpy() == pytest.approx(1, abs=1e-6)


def test_an_odd_map_into_a_pool_shows_as_grid_artefact(kernels):
    """29 px give a 21x21 map: the pool drops a row and a column, and the map's centre shifts."""
    network = paper_like(*(fourfold(k) for k in kernels))[:2]
    odd = probe(network, "1", [rotation(90)], noise(8, 29, 29), **QUICK)
    even = probe(network, "1", [rotation(90)], noise(8, 28, 28), **QUICK)
    assert residual(even, "1", "inverse") < 1e-6
    assert residual(odd, "1", "inverse") > 0.05
    assert not any("grid of" in text for text in even.warnings)
    (warning,) = [text for text in odd.warnings if "grid of 1" in text]
    assert "(-0.5, -0.5) px off" in warning
    assert "28x28" in warning or "30x30" in warning


def test_gaussian_derivatives_turn_into_each_other():
    """|R(θ)∇L − ∇L|² = (2 − 2 cos θ)|∇L|²: the response moves to the other channel."""
    network = nn.Sequential(convolution(gaussian_derivatives(2.0, 9).float()))
    images = smooth(16, 160, 96, shortest=14)
    moves = rotations(0, 180, step=15)[1:]
    result = probe(
        network, "0", moves, images, image_interpolation="bicubic", map_interpolation="bicubic",
        resamples=50,
    )  # fmt: skip
    for move in moves:
        expected = 2 - 2 * np.cos(np.radians(move.parameter))
        found = residual(result, result.axes["layer"][0], "inverse", move.text)
        assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("move", [rotation(33), scaling(1.4), scaling(0.7), shear(0.3)], ids=str)
def test_pointwise_networks_align_down_to_the_resampling_floor(move):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 5, 1), nn.Conv2d(5, 4, 1))
    images = smooth(8, 64, 40, shortest=8)
    result = probe(network, "1", [move], images, erode=3, **QUICK)
    floor = residual(result, "1", "resampling_floor")
    assert residual(result, "1", "inverse") == pytest.approx(floor, rel=1e-3, abs=1e-7)
    assert floor < 0.02 < residual(result, "1", "unaligned")


def test_pointwise_nonlinearities_align_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU())
    images = smooth(8, 64, 40, shortest=10)
    result = probe(network, "3", rotations(-180, 180, step=60), images, erode=2, **QUICK)
    assert (result.summary["inverse"] < 0.02).all()


class CornerPadded(nn.Module):
    """An isotropic feature with stride 32, padded at the left and top only, as 'SAME' pads."""

    def __init__(self) -> None:
        super().__init__()
        axis = torch.arange(32) - 15.5
        square = (axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 4.0**2)
        log = (1 - square) * torch.exp(-square)
        self.pad = nn.ZeroPad2d((16, 0, 16, 0))
        self.log = convolution((log - log.mean())[None, None], stride=32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.log(self.pad(x))


def test_the_frame_removes_the_grid_offset_at_448_px():
    """Turned about the array's centre a perfectly isotropic feature looks unalignable."""
    network, images = CornerPadded(), noise(8, 448, 448)
    result = probe(network, "log", [rotation(180)], images, **QUICK)
    assert residual(result, "log", "inverse") < 1e-6
    frame = measure_frames(network, ["log"], canvas=(448, 448), channels=1)["log"]
    assert frame.centre_offset == (-16.0, -16.0)
    f = images.batch(range(8))
    with torch.no_grad():
        original, moved = network(f), network(warp(f, rotation(180)))
    centred = Frame(frame.jump, (-208.0, -208.0), frame.size)
    wrong = warp(moved, rotation(180), frame=centred, beyond="nearest")
    error = (wrong - original)[..., 1:, 1:].square().sum()
    assert error / (original - original.mean())[..., 1:, 1:].square().sum() > 1


def test_unrelated_images_read_as_the_ceiling(kernels):
    """A shift by the canvas brings in content that has nothing to do with the original's."""
    images = noise(24, 100, 40)
    network = paper_like(*kernels)[:1]
    moved = warp(images.batch(range(24)), translation(30, 0))
    both = torch.cat([images.batch(range(24)), moved]).numpy()
    result = probe(network, "0", [rotation(180)], both[:, :, 30:70, 30:70], **QUICK)
    ceiling = residual(result, "0", "other_image")
    assert ceiling == pytest.approx(2, rel=0.1)
    assert residual(result, "0", "unaligned") == pytest.approx(ceiling, rel=0.1)
