"""The ledger of a probe: networks of which it is known what predicts their maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scenes import convolution, noise
from scipy.optimize import minimize_scalar
from torch import nn

from invariance_probe.alignment import PARTS
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation, scaling, translation
from invariance_probe.probing import Result, load_result, probe
from invariance_probe.probing.bench.inputs import Inputs
from invariance_probe.probing.options import SOURCES
from invariance_probe.reporting import ledger_table, plot_ledger

MOVED, ALIGNED, CHANCE = SOURCES
IMAGES = noise(60, 16, 12)


def kernels(number: int = 4, side: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(number, 1, side, side, generator=generator)


def shares(result: Result, transform: str, source: str = MOVED, layer: str = "0") -> dict[str, Any]:
    rows = result.ledger
    chosen = rows["layer"].eq(layer) & rows["transform"].eq(transform) & rows["source"].eq(source)
    return rows[chosen].set_index("part")["share"].to_dict()


@pytest.fixture(scope="module")
def turned() -> Result:
    """Unrelated kernels, and the four turns of one: under a quarter turn they change places."""
    turns = torch.cat([torch.rot90(kernels(1), k, (-2, -1)) for k in range(4)])
    network = nn.ModuleDict({"plain": convolution(kernels()), "turns": convolution(turns)})

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            plain: torch.Tensor = self.parts["plain"](images)
            return plain + self.parts["turns"](images)

    moves = [rotation(0), rotation(90), rotation(30), translation(1, 0)]
    return probe(Both(), ["parts.plain", "parts.turns"], moves, IMAGES)


def test_shares_add_up_to_one(turned: Result) -> None:
    whole = turned.ledger.groupby(["layer", "transform", "source"])["share"].sum()
    assert whole.to_numpy() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("layer", ["parts.plain", "parts.turns"])
@pytest.mark.parametrize("move", ["rotation:0", "translation:1,0"])
def test_where_moving_is_exact_all_but_position_is_space(
    turned: Result, layer: str, move: str
) -> None:
    found = shares(turned, move, layer=layer)
    assert found["space"] == pytest.approx(1 - found["position"], abs=1e-6)
    assert [found[part] for part in ("channels", "neighbourhood", "lost")] == pytest.approx(
        [0, 0, 0], abs=1e-6
    )


def test_turned_kernels_are_channels(turned: Result) -> None:
    found = shares(turned, "rotation:90", layer="parts.turns")
    assert found["space"] < 0.2
    assert found["channels"] > 0.7
    assert found["lost"] == pytest.approx(0, abs=1e-6)


def test_unrelated_kernels_are_lost_in_part(turned: Result) -> None:
    found = shares(turned, "rotation:90", layer="parts.plain")
    assert found["lost"] > 0.05
    assert shares(turned, "rotation:90", ALIGNED, "parts.plain")["lost"] < 1e-6


def test_another_image_tells_nothing(turned: Result) -> None:
    rows = turned.ledger[turned.ledger["source"] == CHANCE]
    told = rows[rows["part"].isin(PARTS[1:])].dropna()
    assert len(told)
    assert (told["low"] <= 1e-12).all()
    assert (told["share"] < 0.02).all()


def test_the_raw_rung_is_the_sum_of_its_parts(turned: Result) -> None:
    rows = turned.summary
    parts = rows["mean_maps"] + rows["contrast"] + rows["decorrelation"]
    assert parts.to_numpy() == pytest.approx(rows["inverse"].to_numpy(), abs=1e-6)
    exact = rows[rows["identity"]]
    assert exact["rho"].to_numpy() == pytest.approx(1, abs=1e-9)
    assert rows["rho_input"].to_numpy() == pytest.approx(
        np.where(rows["transform"] == "rotation:30", rows["rho_input"], 1), abs=1e-6
    )


def test_position_is_what_the_fit_halfs_mean_map_leaves() -> None:
    network = nn.Sequential(convolution(kernels())).double()
    result = probe(network, "0", [rotation(90)], IMAGES, erode=0)
    order = np.random.default_rng(0).permutation(len(IMAGES)).tolist()
    fit, held_out = order[:30], order[30:]
    inputs = Inputs(IMAGES, [0.0], [1.0], "bilinear", torch.device("cpu"), torch.float64)
    with torch.no_grad():
        maps = network(inputs.normalise(inputs.original(inputs.load(list(range(60))))))
    y = maps[held_out]
    whole = (y - y.mean((0, 2, 3), keepdim=True)).square().sum()
    left = (y - drawn_mean(maps[fit])).square().sum() / whole
    assert shares(result, "rotation:90")["position"] == pytest.approx(1 - float(left), abs=1e-6)


def drawn_mean(maps: torch.Tensor) -> torch.Tensor:
    """The mean map, drawn to the channels' means by the factor that folds left out like best."""
    parts = [maps[fold::4] for fold in range(4)]
    mean = [torch.cat(parts[:fold] + parts[fold + 1 :]).mean(0) for fold in range(4)]
    middle = [one.mean((1, 2), keepdim=True) for one in mean]

    def error(factor: float) -> float:
        drawn = [m + factor * (one - m) for one, m in zip(mean, middle, strict=True)]
        return sum(float((p - d).square().sum()) for p, d in zip(parts, drawn, strict=True))

    factor = float(
        minimize_scalar(error, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x
    )
    own = maps.mean(0)
    return own.mean((1, 2), keepdim=True) + factor * (own - own.mean((1, 2), keepdim=True))


def test_batches_change_nothing_but_rounding(turned: Result) -> None:
    network = nn.Sequential(convolution(kernels()))
    one, two = (
        probe(network, "0", [rotation(90)], IMAGES, batch_size=size).ledger for size in (7, 60)
    )
    assert one["share"].to_numpy() == pytest.approx(two["share"].to_numpy(), abs=1e-6, nan_ok=True)


def test_it_is_saved_and_can_be_switched_off(turned: Result, tmp_path) -> None:
    turned.save(tmp_path / "with")
    assert load_result(tmp_path / "with").equals(turned)
    (tmp_path / "with" / "ledger.csv").unlink()
    with pytest.raises(ProbeError, match=r"lacks ledger\.csv"):
        load_result(tmp_path / "with")
    network = nn.Sequential(convolution(kernels()))
    without = probe(network, "0", [rotation(90)], IMAGES, ledger=False)
    without.save(tmp_path / "without")
    assert not (tmp_path / "without" / "ledger.csv").exists()
    assert load_result(tmp_path / "without").equals(without)
    with pytest.raises(ProbeError, match="holds no ledger"):
        plot_ledger(without)


def test_tables_and_figure_take_means_over_a_kind(turned: Result) -> None:
    table = ledger_table(turned)
    own = table[(table["kind"] == "rotation") & (table["layer"] == "parts.plain")]
    mean = own[(own["source"] == MOVED) & (own["part"] == "space")].iloc[0]
    each = [
        shares(turned, text, layer="parts.plain")["space"]
        for text in ("rotation:90", "rotation:30")
    ]
    assert mean["share"] == pytest.approx(np.mean(each))
    assert mean["low"] <= mean["share"] <= mean["high"]
    figure = plot_ledger(turned)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "mean of 2 rotations",
        "translation:1,0",
    ]
    bars = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    widths = sum(patch.get_width() for patch in bars if patch.get_height() == 0.5)
    told = own[(own["source"] == MOVED) & (own["part"] != "lost")]["share"].clip(lower=0).sum()
    assert widths >= told


def test_damaged_sums_are_refused(turned: Result, tmp_path) -> None:
    wrong = {**turned.extra, "ledger/parts.plain": np.zeros((2, 3, 4, 30))}
    replace(turned, extra=wrong).save(tmp_path / "wrong")
    with pytest.raises(ProbeError, match="does not fit its names"):
        load_result(tmp_path / "wrong")


def test_where_nothing_is_interpolated_is_said() -> None:
    network = nn.Sequential(convolution(kernels()), nn.MaxPool2d(2))
    moves = [rotation(90), rotation(30), translation(1, 0), translation(2, 0), scaling(2)]
    result = probe(network, ["0", "1"], moves, IMAGES, ledger=False)
    said = result.summary.set_index(["layer", "transform"])["exact"]
    assert [bool(said["0", move.text]) for move in moves] == [True, False, True, True, False]
    assert [bool(said["1", move.text]) for move in moves] == [True, False, False, True, False]
    dense = probe(network, ["1"], moves, IMAGES, ledger=False, dense=2)
    said = dense.summary.set_index("transform")["exact"]
    assert [bool(said[move.text]) for move in moves] == [True, False, True, True, False]
    assert (dense.summary["resampling_floor"][dense.summary["exact"]] < 1e-12).all()
    exact = result.summary[result.summary["exact"]]
    assert (exact["resampling_floor"] < 1e-12).all()
    between = result.summary["transform"].isin(["rotation:30", "translation:1,0"])
    others = result.summary[between & ~result.summary["exact"]]
    assert (others["resampling_floor"] > 1e-4).all()
