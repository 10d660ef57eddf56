"""Networks of known truth, the measures of others on them, and what is made of both."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tournament
from _known import Known, Scenes, known_networks, truth
from _peers import rbf_cka, relative_error, turned
from torch.nn.functional import conv2d, pad

from invariance_probe import embedded_digits
from invariance_probe.probing.baseline_measures.cka import linear_cka

SCENES = Scenes.drawn(6, 0, 7.0)


def network(name: str) -> Known:
    return next(known for known in known_networks() if known.name == name)


@pytest.mark.parametrize("degrees", [30, 90])
def test_the_truth_of_derivatives_is_known(degrees: float) -> None:
    found = truth(network("derivatives, sigma 2").make(1), SCENES, 1, degrees, 29)
    assert found == pytest.approx(2 - 2 * math.cos(math.radians(degrees)), rel=5e-3)


@pytest.mark.parametrize("known", known_networks(), ids=lambda known: known.name)
def test_networks_are_as_exact_as_they_say(known: Known) -> None:
    for degrees in (45.0, 90.0):
        found = truth(known.make(1), SCENES, 1, degrees, 29)
        assert found < 5e-4 if known.exact(degrees) else found > 1e-3


def test_a_view_is_what_the_image_shows_there() -> None:
    size, radius = 21, 3
    images = SCENES.images(size, 1)
    views = SCENES.patches(np.array([[2.0, -4.0]]), radius, 1, 0.0)
    rows, columns = slice(10 - 4 - 3, 10 - 4 + 4), slice(10 + 2 - 3, 10 + 2 + 4)
    assert np.allclose(views[:, 0], images[:, 0, rows, columns], atol=1e-6)
    quarter = SCENES.patches(np.array([[2.0, -4.0]]), radius, 1, 90.0)
    assert np.allclose(quarter[:, 0], torch.rot90(views[:, 0], 1, (1, 2)), atol=1e-9)


def test_an_image_at_another_fineness_is_the_same_plane() -> None:
    coarse, fine = SCENES.images(9, 1), SCENES.images(17, 2)
    assert np.allclose(fine[..., ::2, ::2], coarse, atol=1e-6)


@pytest.mark.parametrize(
    ("wide", "narrow", "published"),
    [(3, 1, 0.22298), (4, 1.5, 0.16352), (6, 2, 0.12966), (8, 3, 0.09279), (12, 4.5, 0.09092)],
)
def test_the_relative_error_meets_published_values(
    wide: float, narrow: float, published: float
) -> None:
    """Of 128 MNIST digits and four elongated kernels, mean over five angles, clockwise."""
    digits = embedded_digits(128).batch(range(128)).double()
    images = pad(digits, (0, 1, 0, 1))
    axis = torch.arange(-4, 5, dtype=torch.float64)
    pairs = ((wide, narrow), (narrow, wide), (wide, 1.5 * narrow), (1.5 * narrow, wide))
    gauss = [[torch.exp(-(axis**2) / (2 * s * s)) for s in pair] for pair in pairs]
    kernels = torch.stack([torch.outer(down, across) for across, down in gauss])[:, None]
    kernels /= kernels.sum((2, 3), keepdim=True)
    errors = []
    for radians in (0.3, 0.7, 1.0, 2.0, math.pi / 4):
        degrees = -math.degrees(radians)
        moved = conv2d(turned(images, degrees), kernels, padding=4)
        ahead = turned(conv2d(images, kernels, padding=4), degrees)
        cells = turned(torch.ones_like(images[:1]), degrees) > 0.99
        errors.append(relative_error(moved, ahead, cells))
    assert np.mean(errors) == pytest.approx(published, abs=1e-5)


def test_a_quarter_turn_is_counter_clockwise() -> None:
    maps = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert torch.allclose(turned(maps, 90), torch.rot90(maps, 1, (2, 3)), atol=1e-5)


def test_the_kernels_cka_is_one_of_equal_features_and_near_linear_for_wide_kernels() -> None:
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    y = x @ torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert rbf_cka(x, 3 * x) == pytest.approx(1, abs=1e-9)
    assert rbf_cka(x, y, width=100) == pytest.approx(linear_cka(x, y), abs=1e-3)
    assert rbf_cka(x, torch.randn(300, 4, generator=torch.Generator().manual_seed(2))) < 0.4


def table(errors: dict[str, tuple[bool, float, float]], measure: str = "inverse") -> pd.DataFrame:
    rows = [
        {"network": name, "cells": 29, "angle": 90.0, "exact": exact, "permutes": False,
         "truth": true, "measure": measure, "value": value}
        for name, (exact, true, value) in errors.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_measure_is_judged_by_pairs_ranks_and_its_best_threshold() -> None:
    told = table(
        {"a": (True, 0, 0.1), "b": (True, 0, 0.3), "c": (False, 0.5, 0.2), "d": (False, 1, 0.4)}
    )
    said = tournament.judge(pd.concat([told, table({"a": (True, 0, 0)}, "verdict, dense")]))
    row = said.loc["inverse"]
    assert row["misranked, all"] == pytest.approx(1 / 4)  # b before c
    assert row["false verdicts"] == pytest.approx(1 / 4)
    assert row["rank correlation"] == pytest.approx(
        pd.Series([1.5, 1.5, 3, 4]).corr(pd.Series([1, 3, 2, 4]))
    )


def test_a_measure_that_falls_with_the_error_is_turned_round() -> None:
    told = table({"a": (True, 0, 0.9), "c": (False, 0.5, 0.2)}, "cka_inverse")
    said = tournament.judge(pd.concat([told, table({"a": (True, 0, 0)}, "verdict, dense")]))
    assert said.loc["cka_inverse", "misranked, all"] == 0


def test_the_tournament_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--number", "24", "--fineness", "1", "--angles", "30", "--out", str(out), "--formats",
             "png", "--networks", "norm of order 2, stride 4", "Gaussians 2.4/0.8"]  # fmt: skip
    assert tournament.main(words) == 0
    own = out / "tournament"
    said = pd.read_csv(own / "summary.csv", index_col="measure")
    assert said.loc["verdict, dense", "false verdicts"] == 0
    assert said.loc["excess, dense", "misranked, all"] == 0
    assert said.loc["inverse", "misranked, all"] == 1  # the coarse grid outweighs the network
    measured = pd.read_csv(own / "measures.csv").set_index(["network", "measure"])
    far = measured.loc[("Gaussians 2.4/0.8", "excess, dense")]
    assert float(far["value"]) == pytest.approx(far["truth"], rel=0.25)
    assert (own / "figures" / "tournament.png").stat().st_size > 0
    assert (own / "provenance.json").exists()


def test_an_unknown_network_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert tournament.main(["--networks", "none such", "--out", str(tmp_path / "o")]) == 2
    assert "no network begins with none such" in capsys.readouterr().err
