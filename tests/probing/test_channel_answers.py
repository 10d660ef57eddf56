"""Channel shift, known in closed form: what the channel rungs and the bound must read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import convolution, gaussian_derivatives, noise, smooth
from torch import nn

from invariance_probe.geometry import rotation, rotations, scalings
from invariance_probe.probing import probe
from invariance_probe.probing.ladder.tuning import tuning_summary

QUICK = {"resamples": 50}


def orbit(bases: int, orientations: int = 4) -> tuple[torch.Tensor, list[int]]:
    """Random kernels in four orientations each, and the channel that replaces each after 90°."""
    base = torch.randn(bases, 1, 9, 9, generator=torch.Generator().manual_seed(5)) / 9
    kernels = torch.cat([torch.rot90(base, k, (-2, -1)) for k in range(orientations)])
    # T_h⁻¹ Γ T_h f uses kernels turned back: aligned channel (k, b) is original (k − 1, b).
    stand_in = [((k + 1) % 4) * bases + b for k in range(orientations) for b in range(bases)]
    return kernels, stand_in


def test_a_bank_closed_under_90_degrees_shifts_channels():
    kernels, stand_in = orbit(3)
    network = nn.Sequential(convolution(kernels), nn.MaxPool2d(2), nn.ReLU())
    result = probe(network, ["0", "2"], [rotation(90)], noise(24, 28, 28), **QUICK)
    assert (result.summary["inverse"] > 0.5).all()
    assert (result.summary["inverse_permuted"] <= 1e-6).all()
    assert result.summary["won_by_permutation"].to_numpy() == pytest.approx(1, abs=1e-5)
    for layer in ("0", "2"):
        assert result.extra[f"permutation/{layer}"][0].tolist() == stand_in
    assert (result.channels["moved"] == 1).all()
    assert (result.channels["strongest_changed"] > 0.5).all()
    assert (result.channels["strongest_changed_floor"] == 0).all()


def test_gaussian_derivatives_rotate_in_channel_space():
    network = nn.Sequential(convolution(gaussian_derivatives(2.0, 9).float()))
    images = smooth(24, 160, 96, shortest=14)
    moves = rotations(30, 150, step=30)
    result = probe(network, "0", moves, images, image_interpolation="bicubic",
                   map_interpolation="bicubic", **QUICK)  # fmt: skip
    assert (result.summary["inverse_orthogonal"] <= 0.005).all()
    assert (result.summary["inverse_linear"] <= 0.005).all()
    from invariance_probe.alignment import ChannelMoments, fit_channel_maps
    from invariance_probe.geometry import Frame, warp

    frame = Frame((1.0, 1.0), (-38.5, -38.5), (78, 78))
    mask = torch.zeros(78, 78)
    mask[20:58, 20:58] = 1
    f = images.batch(range(8))
    for move in moves:
        moments = ChannelMoments(mask)
        with torch.no_grad():
            moved = network(warp(f, move, size=(96, 96), interpolation="bicubic"))
            moments.update(
                warp(moved, move.inverse(), frame=frame, interpolation="bicubic"),
                network(f[..., 32:128, 32:128]),
            )
        angle = np.radians(move.parameter)
        # Turning the image by θ turns its gradient by θ; to undo that, turn back (y points down).
        expected = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        assert fit_channel_maps(moments).orthogonal == pytest.approx(np.array(expected), abs=0.01)


def test_in_sample_the_ladder_is_nested():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 14, 5), nn.ReLU(), nn.MaxPool2d(2))
    moves = (*rotations(-90, 180, step=45), *scalings(0.7, 1.5, number=3))
    result = probe(network, ["0", "2"], moves, noise(40, 20, 20), **QUICK)
    keys = ["layer", "transform"]
    table = result.alignments.merge(result.channels, on=keys, suffixes=("", "_c"))
    table = table.merge(result.bounds, on=keys, suffixes=("", "_b"))
    slack = 1e-5
    assert (table["fit_residual"] <= table["fit_unaligned"] + slack).all()
    assert (table["fit_residual"] <= table["fit_inverse"] + slack).all()
    assert (table["bound"] <= table["fit_residual"] + slack).all()
    assert (table["fit_inverse_permuted"] <= table["fit_inverse_c"] + slack).all()
    assert (table["fit_inverse_orthogonal"] <= table["fit_inverse_permuted"] + slack).all()
    assert (table["fit_inverse_linear"] <= table["fit_inverse_orthogonal"] + slack).all()
    assert table["fit_inverse"].to_numpy() == pytest.approx(table["fit_inverse_c"], abs=1e-4)
    assert (table["determined"] & table["determined_b"]).all()


def test_undetermined_maps_give_no_number():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 40, 17))
    result = probe(network, "0", [rotation(90)], noise(4, 20, 20), **QUICK)  # 32 samples, 40 maps
    table = result.summary.iloc[0]
    for rung in ("inverse_permuted", "inverse_orthogonal", "inverse_linear"):
        assert np.isnan(table[rung])
    assert not result.channels["determined"].iloc[0]
    assert table["inverse"] > 0
    wide = nn.Sequential(nn.Conv2d(1, 2, 3))
    bound = probe(wide, "0", [rotation(90)], noise(8, 20, 20), **QUICK)  # 8 samples, 324 cells
    assert not bound.bounds["determined"].iloc[0]
    assert np.isnan(bound.summary["spatial_bound"].iloc[0])


def test_best_per_image_is_an_option_and_below_best():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 5))
    result = probe(network, "0", [rotation(37)], noise(8, 20, 20), per_image=True, **QUICK)
    row = result.summary.iloc[0]
    assert row["best_per_image"] <= min(row["best"], row["inverse"], row["unaligned"]) + 1e-6


def test_without_channels_the_rungs_are_left_out():
    network = nn.Sequential(nn.Conv2d(1, 4, 5))
    result = probe(network, "0", [rotation(37)], noise(8, 20, 20), channels=False, **QUICK)
    assert "inverse_linear" not in result.axes["rung"]
    assert len(result.channels) == 0


def test_channel_maps_of_an_exact_bank_compose_and_close():
    kernels, _ = orbit(2)
    network = nn.Sequential(convolution(kernels))
    moves = rotations(-90, 180, step=90)
    result = probe(network, "0", moves, noise(24, 28, 28), **QUICK)
    table = result.composition
    assert set(table["kind"]) == {"pair", "closure"}
    for column in ("composed_linear", "composed_orthogonal", "direct_linear"):
        assert (table[column] < 1e-5).all()


def test_tuning_finds_the_preferred_orientation():
    """A derivative along x answers vertical gratings turned by 0° and 180° equally: no direction,
    but strong modulation; a channel that sees everything alike has none."""
    kernels = torch.cat([gaussian_derivatives(2.0, 6)[:1].float(), torch.zeros(1, 1, 13, 13)])
    kernels[1, 0, 6, 6] = 1
    x = torch.arange(80).float() - 39.5
    waves = torch.stack([torch.cos(2 * np.pi * x / 12 + phase) for phase in range(8)])
    images = (0.5 + 0.5 * waves)[:, None, None, :].expand(8, 1, 80, 80)
    from invariance_probe.data import array_images

    result = probe(
        nn.Sequential(convolution(kernels)), "0", rotations(-180, 180, step=30),
        array_images(images.numpy(), 50, background="reflect"), **QUICK,
    )  # fmt: skip
    table = tuning_summary(result).set_index("channel")
    assert table.loc[0, "modulation"] > 0.9
    assert table.loc[0, "peak"] in (-180.0, 0.0)
    assert table.loc[1, "modulation"] < 0.1
    assert table["selectivity"].max() < 0.05
    assert table.loc[0, "axial_selectivity"] > 0.2
    assert table.loc[0, "preferred_axis"] == pytest.approx(0, abs=2)


def test_the_identity_counts_once_in_a_tuning_curve():
    kernels, _ = orbit(2)
    moves = (*rotations(-180, 180, step=90), *scalings(0.8, 1.25, number=3))
    both = probe(nn.Sequential(convolution(kernels)), "0", moves, noise(8, 28, 28), **QUICK)
    one = tuning_summary(both).query("kind == 'rotation'")
    assert len(one) == 8
    # White noise looks alike from all sides: no channel prefers any, at 1° least of all.
    assert one["selectivity"].max() < 0.02


def test_the_strongest_channel_is_the_same_whatever_the_weighting():
    """Channels are standardised before they are compared: dividing them first changes nothing."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Tanh())
    network[0].weight.data *= torch.logspace(-1, 1, 6)[:, None, None, None]
    images = torch.rand(12, 1, 16, 16)
    raw, weighted = (
        probe(network, "0", "rotation:45 rotation:90", images, weighting=weighting, resamples=10)
        for weighting in ("raw", "channel")
    )
    for column in ("strongest_changed", "strongest_changed_floor"):
        assert raw.channels[column].between(0.01, 0.99).any()
        assert weighted.channels[column].tolist() == pytest.approx(raw.channels[column].tolist())


def test_channels_that_differ_by_rounding_do_not_overtake_each_other():
    """Two channels are one another's multiple: which of them is stronger is rounding alone."""
    far = torch.arange(-3.0, 4.0).square()
    kernel = torch.exp(-(far[:, None] + far[None, :]) / 4)[None, None]
    network = nn.Sequential(convolution(torch.cat([kernel, 3 * kernel, 0.7 * kernel])))
    result = probe(network, "0", [rotation(90)], noise(12, 28, 28), **QUICK)
    assert result.summary["inverse"].max() < 1e-6
    assert result.channels["strongest_changed"].tolist() == [0]
