"""The pass over all baselines: the definitions image by image, known networks, its promises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from reference import Reference, frame_of, prefix
from scenes import convolution, noise, smooth
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import identity, rotation, scaling, translation
from invariance_probe.networks import gaussian_derivatives, orbit_bank, pointwise
from invariance_probe.probing import Options, baselines, probe
from invariance_probe.probing.baseline_measures import GENERATORS, MEASURES, linear_cka

QUICK: dict[str, Any] = {"resamples": 20}
MOVES = [rotation(30), scaling(0.8), identity(), rotation(90)]
MOVING = [move for move in MOVES if not move.is_identity]


def value(table: pd.DataFrame, measure: str, transform: str = "all", layer: str = "") -> float:
    rows = table[(table["measure"] == measure) & (table["transform"] == transform)]
    rows = rows[rows["layer"] == layer] if layer else rows[rows["layer"] != "output"]
    assert len(rows) == 1
    return float(rows["value"].iloc[0])


def network() -> nn.Sequential:
    """conv 5x5, ReLU, pool, conv 3x3, and a classifier on top."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(4, 1, 5, 5, generator=generator) / 5
    second = torch.randn(3, 4, 3, 3, generator=generator) / 6
    last = nn.Linear(3 * 10 * 10, 5)
    with torch.no_grad():
        last.weight.copy_(torch.randn(last.weight.shape, generator=generator) / 20)
        last.bias.zero_()
    return nn.Sequential(
        convolution(first), nn.ReLU(), nn.MaxPool2d(2), convolution(second), nn.Flatten(), last
    )


LAYERS = ["1", "3"]
GRIDS = {"1": [(5, 1)], "3": [(5, 1), (2, 2), (3, 1)]}


@pytest.fixture(scope="module")
def images() -> Any:
    return smooth(14, 40, 28, shortest=6.0)


@pytest.fixture(scope="module")
def table(images: Any) -> pd.DataFrame:
    return baselines(network(), LAYERS, MOVES, images, batch_size=4, **QUICK)


# --- the definitions ---------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_every_number_is_its_definition(table: pd.DataFrame, images: Any, layer: str) -> None:
    model = network()
    margin = probe(model, layer, MOVES, images, channels=False, **QUICK).margins[layer]
    slow = Reference(
        prefix(model, layer), replace(frame_of(GRIDS[layer], images.canvas), margin=margin), images,
        MOVING, Options(),
    )  # fmt: skip
    original, moved, back, there = [], [], [], []
    for number in slow.evaluation:
        maps = slow.original(number)
        original.append(slow.chosen(maps))
        moved.append([slow.chosen(slow.aligned("unaligned", number, h, h)) for h in MOVING])
        back.append([slow.chosen(slow.aligned("inverse", number, h, h)) for h in MOVING])
        there.append([slow.chosen(slow.on_map(maps, h, antialias=True)) for h in MOVING])
    f, a, b, t = (np.array(part) for part in (original, moved, back, there))  # (N, [T,] C, V)
    for values, measure in ((a, "normalised_variance"), (b, "same_equivariance")):
        every = np.concatenate([f[:, None], values], axis=1)
        tv, sv = every.std(1, ddof=1).mean(0), every.std(0, ddof=1).mean(0)
        still = (every == every[:1, :1]).all(axis=(0, 1))  # a rectified cell that never answers
        quotient = np.where(still, 1.0, tv / np.where(still, 1.0, sv))
        assert value(table, measure, layer=layer) == pytest.approx(quotient.mean(), rel=1e-4)
        assert value(table, f"{measure}_infinite", layer=layer) == 0
    peak = f.max() - f.min()
    for place, move in enumerate(MOVING):
        apart = np.sqrt(((b[:, place] - f) ** 2).mean(-1)).mean()
        found = value(table, "same_equivariance_distance", move.text, layer)
        assert found == pytest.approx(apart, rel=1e-4)
        decibels = 10 * math.log10(peak**2 / ((a[:, place] - t[:, place]) ** 2).mean())
        assert value(table, "eq_psnr", move.text, layer) == pytest.approx(decibels, rel=1e-4)
        examples = [np.moveaxis(part, 1, 2).reshape(-1, f.shape[1]) for part in (a[:, place], f)]
        found = value(table, "cka_unaligned", move.text, layer)
        assert found == pytest.approx(linear_cka(*examples), rel=1e-4)
        examples[0] = np.moveaxis(b[:, place], 1, 2).reshape(-1, f.shape[1])
        found = value(table, "cka_inverse", move.text, layer)
        assert found == pytest.approx(linear_cka(*examples), rel=1e-4)
    pooled = 10 * math.log10(peak**2 / ((a - t) ** 2).mean())
    assert value(table, "eq_psnr", layer=layer) == pytest.approx(pooled, rel=1e-4)
    apart = np.sqrt(((b - f[:, None]) ** 2).mean(-1)).mean()
    assert value(table, "same_equivariance_distance", layer=layer) == pytest.approx(apart, rel=1e-4)


@pytest.mark.parametrize("weighting", ["raw", "channel"])
def test_the_rungs_are_those_of_the_probe(images: Any, weighting: str) -> None:
    same = {"weighting": weighting, "erode": 1.0, "seed": 3, **QUICK}
    found = baselines(network(), LAYERS, MOVES, images, measures=[], **same)
    result = probe(network(), LAYERS, MOVES, images, channels=False, **same)
    both = found.merge(
        result.residuals, left_on=["layer", "transform", "measure"],
        right_on=["layer", "transform", "rung"], suffixes=("", "_probe"),
    )  # fmt: skip
    assert len(both) == len(LAYERS) * len(MOVING) * 4
    np.testing.assert_allclose(both["value"], both["residual"], rtol=1e-6, atol=1e-12)
    for end in ("low", "high"):
        np.testing.assert_allclose(both[end], both[f"{end}_probe"], rtol=1e-6, atol=1e-12)
    both = found[found["measure"] == "recovered"].merge(result.summary, on=["layer", "transform"])
    np.testing.assert_allclose(both["value"], both["recovered"], rtol=1e-5)
    np.testing.assert_allclose(both["low_x"], both["low_y"], rtol=1e-4)


def test_means_over_transformations(table: pd.DataFrame) -> None:
    for measure in ("inverse", "input_aligned", "same_equivariance_distance", "cka_inverse"):
        own = [value(table, measure, move.text, "1") for move in MOVING]
        assert value(table, measure, layer="1") == pytest.approx(np.mean(own), rel=1e-9)


# --- networks whose numbers are known ----------------------------------------------------------


def test_single_pixels_are_equivariant_to_quarter_turns() -> None:
    found = baselines(pointwise(), "conv2", rotation(90), noise(12, 20, 20), **QUICK)
    assert value(found, "same_equivariance") < 1e-6
    assert value(found, "same_equivariance_distance", "rotation:90") < 1e-6
    assert value(found, "eq_psnr", "rotation:90") > 120
    assert value(found, "cka_inverse", "rotation:90") == pytest.approx(1, abs=1e-6)
    # White noise turned is other noise: as variable over turns as over images, but for the bias of
    # a deviation of n normal values, 0.80 for n = 2 turns and 0.95 for n = 6 images.
    assert value(found, "normalised_variance") == pytest.approx(0.798 / 0.952, abs=0.05)
    assert value(found, "cka_unaligned", "rotation:90") < 0.1
    assert value(found, "unaligned", "rotation:90") == pytest.approx(2, abs=0.2)


def test_images_that_a_turn_leaves_alone_are_invariant() -> None:
    half = np.random.default_rng(0).random((10, 1, 16, 16)).astype(np.float32)
    images = array_images((half + half[:, :, ::-1, ::-1]) / 2, background=(0.0,))
    found = baselines(pointwise(), "conv2", rotation(180), images, **QUICK)
    for measure in ("normalised_variance", "same_equivariance", "unaligned", "inverse"):
        assert value(found, measure) < 1e-6
    assert value(found, "cka_unaligned") == pytest.approx(1, abs=1e-6)


def test_a_channel_shift_is_hidden_from_cka_only() -> None:
    found = baselines(orbit_bank(2, 5), "filters", rotation(90), noise(30, 24, 24), **QUICK)
    assert value(found, "inverse", "rotation:90") > 1.5
    assert value(found, "same_equivariance") > 0.7  # 0.8 for two independent maps
    assert value(found, "cka_inverse", "rotation:90") == pytest.approx(1, abs=1e-6)


def test_lie_derivatives_of_gaussian_derivatives() -> None:
    """(Lx, Ly) turns with the image: ‖L_X f‖ = ‖f‖ for rotations, 0 for shifts.

    A rotation by a small angle θ then leaves θ² of the variance; 2 − 2 cos θ is known to.
    """
    sigma, wave = 2.0, 2 * math.pi / 28
    generator = np.random.default_rng(0)
    axis = np.arange(80) - 39.5
    scenes = []
    for _ in range(16):
        angle, phase = generator.uniform(0, 2 * np.pi, (2, 8))
        phases = wave * (
            np.cos(angle)[:, None, None] * axis + np.sin(angle)[:, None, None] * axis[:, None]
        )
        scenes.append(0.5 + np.cos(phases + phase[:, None, None]).sum(0) / 20)
    images = array_images(np.array(scenes, dtype=np.float32)[:, None], 64, background="reflect")
    turn = rotation(5)
    found = baselines(
        gaussian_derivatives(sigma), "filters", turn, images,
        image_interpolation="bicubic", map_interpolation="bicubic", **QUICK,
    )  # fmt: skip
    share = {name: value(found, "lie_derivative_relative", name) for name in GENERATORS}
    assert share["rotation"] == pytest.approx(1, abs=0.02)
    assert share["translation_x"] < 1e-3 and share["translation_y"] < 1e-3
    # A wave of frequency w loses gain like s⁻¹ exp(σ²w²(1 − s⁻²)/2): slope σ²w² − 1 at s = 1.
    assert share["scaling"] == pytest.approx((sigma**2 * wave**2 - 1) ** 2, rel=0.05)
    residual = value(found, "inverse", turn.text)
    assert residual == pytest.approx(math.radians(5) ** 2 * share["rotation"], rel=0.05)
    variance = value(found, "lie_derivative", "rotation") / share["rotation"]
    assert value(found, "lie_derivative", "scaling") == pytest.approx(
        share["scaling"] * variance, rel=1e-6
    )


def test_logits_that_ignore_positions_have_no_derivative() -> None:
    """A linear classifier on the mean grey value: only the input is moved, and its mean stays."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 2, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.first(images).mean(dim=(2, 3))

    shape = np.exp(-((np.indices((32, 32)) - 15.5) ** 2).sum(0) / 18)
    bright = np.linspace(0.2, 1, 8)[:, None, None, None] * shape
    images = array_images(bright.astype(np.float32), background=(0.0,))
    found = baselines(Mean(), "first", rotation(10), images, **QUICK)
    for name in ("rotation", "translation_x", "translation_y"):
        assert value(found, "lie_derivative_relative", name, "output") < 1e-4
    # Areas grow by s², and so does the mean: d/dt = 2 · mean.
    mean = bright.mean(axis=(1, 2, 3))
    chosen = found.attrs["provenance"]["images"]["evaluation"]
    assert chosen == 4
    shares = value(found, "lie_derivative_relative", "scaling", "output")
    order = np.random.default_rng(0).permutation(8)[4:]
    expected = 4 * (mean[order] ** 2).mean() / mean[order].var()
    assert shares == pytest.approx(expected, rel=0.01)


# --- what the pass promises --------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 32])
def test_the_batch_size_changes_nothing(images: Any, size: int) -> None:
    """In float64, where a convolution of another batch does not round otherwise."""
    one, other = (
        baselines(network().double(), LAYERS, MOVES, images, batch_size=own, **QUICK)
        for own in (4, size)
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-9, atol=1e-12)


def test_float32_is_enough_for_differences(table: pd.DataFrame, images: Any) -> None:
    wide = baselines(network().double(), LAYERS, MOVES, images, **QUICK)
    pd.testing.assert_frame_equal(table, wide, rtol=5e-4, atol=1e-6)


def test_half_precision_has_no_derivatives(images: Any) -> None:
    narrow = baselines(network().bfloat16(), LAYERS, MOVES, images, **QUICK)
    assert set(narrow["layer"]) == set(LAYERS)
    lie = narrow["measure"].str.startswith("lie")
    assert narrow.loc[lie, "value"].isna().all() and narrow.loc[~lie, "value"].notna().all()


def test_the_same_call_gives_the_same_bits(table: pd.DataFrame, images: Any) -> None:
    pd.testing.assert_frame_equal(
        table, baselines(network(), LAYERS, MOVES, images, batch_size=4, **QUICK), check_exact=True
    )


def test_what_the_table_holds(table: pd.DataFrame) -> None:
    assert list(table) == [
        "layer", "measure", "transform", "kind", "parameter", "value", "low", "high", "images",
    ]  # fmt: skip
    assert not table.duplicated(["layer", "measure", "transform"]).any()
    assert (table["images"] == 7).all()
    assert set(table["transform"]) == {"all", *(move.text for move in MOVING), *GENERATORS}
    assert set(table["layer"]) == {"1", "3", "output"}
    assert table["value"].notna().all()
    per_image = table["low"].notna()
    assert (table["low"] <= table["value"] + 1e-9)[per_image].all()
    assert (table["value"] <= table["high"] + 1e-9)[per_image].all()
    without = {"normalised_variance", "same_equivariance", "cka_unaligned", "cka_inverse"}
    without |= {"normalised_variance_infinite", "same_equivariance_infinite"}
    assert set(table.loc[~per_image, "measure"]) == without
    about = table.attrs["provenance"]
    assert about["baselines"] == {"measures": list(MEASURES), "aggregation": None}
    assert about["options"]["batch_size"] == 4 and about["images"]["sha256"]


def test_families_are_chosen_and_cost_only_themselves(images: Any) -> None:
    seen: list[tuple[int, int, str]] = []
    found = baselines(
        network(), "1", rotation(90), images, measures="psnr",
        progress=lambda *step: seen.append(step), **QUICK,
    )  # fmt: skip
    assert set(found["measure"]) == {
        "unaligned", "inverse", "input_aligned", "other_image", "gain", "recovered", "eq_psnr",
    }  # fmt: skip
    assert seen[-1][:2] == (7 * 4, 7 * 4)  # the fit half's originals once
    seen.clear()
    baselines(
        network(), "1", rotation(90), images, weighting="channel",
        progress=lambda *step: seen.append(step), **QUICK,
    )  # fmt: skip
    assert seen[-1][:2] == (7 * (3 + 8) + 7, 7 * (3 + 8) + 7)


def test_aggregation_is_by_channel(images: Any) -> None:
    one, other = (
        baselines(
            network(), "1", rotation(40), images, measures="variance", aggregation=how, **QUICK
        )
        for how in (None, "mean")
    )
    assert value(one, "same_equivariance") != value(other, "same_equivariance")
    assert value(other, "same_equivariance") == pytest.approx(
        value(one, "same_equivariance"), rel=0.3
    )


def test_large_maps_are_sampled_on_a_sub_grid() -> None:
    """Units are a regular sample of the cells: the mean stays about the same."""
    found = [
        baselines(
            pointwise(), "conv2", translation(1, 0), noise(16, size + 2, size),
            measures=["variance", "cka"], **QUICK,
        )
        for size in (16, 64)
    ]  # fmt: skip
    for measure in ("normalised_variance", "cka_unaligned"):
        small, large = (value(one, measure) for one in found)
        assert large == pytest.approx(small, abs=0.03)


def test_maps_without_an_inside_have_no_lie_derivative() -> None:
    model = nn.Sequential(convolution(torch.ones(1, 1, 2, 2), stride=6))
    found = baselines(model, "0", rotation(90), noise(8, 8, 8), **QUICK)
    own = found[found["measure"].str.startswith("lie")]
    assert len(own) == 2 * len(GENERATORS) and own["value"].isna().all()


def test_layers_that_never_vary_have_no_number() -> None:
    model = nn.Sequential(convolution(torch.zeros(2, 1, 3, 3)))
    found = baselines(model, "0", rotation(90), noise(8, 12, 12), **QUICK)
    assert (
        found.loc[found["measure"].isin(["inverse", "eq_psnr", "cka_inverse"]), "value"]
        .isna()
        .all()
    )
    assert value(found, "normalised_variance") == 1


def test_the_network_is_left_as_it_was(images: Any) -> None:
    model = network().train()
    baselines(model, "1", rotation(90), images, **QUICK)
    assert model.training and not model[1]._forward_hooks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": "variances"}, "unknown measure 'variances'; did you mean 'variance'?"),
        ({"measures": ["xyz"]}, "unknown measure 'xyz'; there are variance, distance, psnr, cka"),
        ({"aggregation": "median"}, "aggregation='median' is not known; use one of None, 'mean'"),
        ({"transforms": identity()}, "the identity moves nothing; give transformations that do"),
        ({"layers": "nope"}, "nope"),
        ({"weight": 1}, "unknown options weight"),
        ({"erode": 13.9}, "layer '1': no cell of the 24x24 map"),
    ],
)
def test_bad_input_is_one_line(images: Any, changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"layers": "1", "transforms": rotation(90), **changes}
    with pytest.raises(ProbeError) as raised:
        baselines(network(), given.pop("layers"), given.pop("transforms"), images, **given)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_transforms_are_read_from_text(images: Any) -> None:
    found = baselines(network(), "1", "rotation:0:90:45", images, measures=[], **QUICK)
    assert list(dict.fromkeys(found["transform"])) == ["rotation:45", "rotation:90", "all"]
