"""The oracle's tables: the result's numbers, means over kinds, LaTeX and Markdown alike."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from invariance_probe.data import ImageSet, array_images
from invariance_probe.errors import ProbeError
from invariance_probe.probing import OracleResult, Result, oracle, probe
from invariance_probe.probing.oracles.result import MEASURES
from invariance_probe.reporting import (
    oracle_latex,
    oracle_markdown,
    oracle_table,
    rungs_and_accuracies,
    rungs_markdown,
)

MOVES = "rotation:90 rotation:0 rotation:30 scaling:1.5"
QUICK = {"resamples": 50}


def pixels(labels: bool) -> ImageSet:
    values = np.random.default_rng(0).random((20, 1, 12, 12), dtype=np.float32)
    return array_images(values, 12, labels=np.arange(20) % 3 if labels else None)


class Skipping(nn.Module):
    """A path leads around `side`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.side = nn.Conv2d(1, 4, 5), nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.first(images))
        return self.last((maps + self.side(maps)).mean((2, 3)))


def network() -> nn.Module:
    torch.manual_seed(0)
    return Skipping().eval()


@pytest.fixture(scope="module")
def found() -> OracleResult:
    return oracle(network(), ["first", "side"], MOVES, pixels(True), **QUICK)


@pytest.fixture(scope="module")
def probed() -> Result:
    return probe(network(), ["first", "side"], MOVES, pixels(True), **QUICK)


def test_one_transformation_gives_the_results_own_numbers(found: OracleResult) -> None:
    table = oracle_table(found, "rotation:30").set_index(["layer", "treatment", "measure"])
    rows = found.accuracy.query("transform == 'rotation:30'")
    assert len(table) == len(rows) * len(MEASURES)
    for _, row in rows.iterrows():
        for measure in MEASURES:
            own = table.loc[row["layer"], row["treatment"], measure]
            expected = row[[measure, f"{measure}_low", f"{measure}_high"]].to_numpy(float)
            np.testing.assert_allclose(own[["value", "low", "high"]].to_numpy(float), expected)
            assert own["images"] == 10


def test_means_leave_out_the_identity(found: OracleResult) -> None:
    table = oracle_table(found)
    assert table.drop_duplicates("kind")[["over", "transforms"]].values.tolist() == [
        ["mean of 2 rotations", 2], ["scaling:1.5", 1],
    ]  # fmt: skip
    own = table.query("over == 'mean of 2 rotations' and layer == 'first'")
    for measure in MEASURES:
        part = own[own["measure"] == measure].set_index("treatment")
        for treatment in ("inverse", "inverse_permuted", "inverse_linear"):
            each = [
                found.table(move, measure)[treatment]["first"]
                for move in ("rotation:30", "rotation:90")
            ]
            assert part["value"][treatment] == pytest.approx(np.mean(each))
            low, high = part.loc[treatment, ["low", "high"]]
            assert low <= part["value"][treatment] <= high


def test_what_is_not_determined_or_unlabelled_is_no_number(found: OracleResult) -> None:
    errors = found.errors.copy()
    errors[:, -1] = np.nan
    lacking = replace(found, errors=errors, labels=np.full_like(found.labels, -1))
    table = oracle_table(lacking)
    assert table.query("measure == 'accuracy'")["value"].isna().all()
    rest = table.query("measure != 'accuracy'")
    gone = rest["treatment"] == "inverse_linear"
    assert rest.loc[gone, ["value", "low", "high"]].isna().all(axis=None)
    assert rest.loc[~gone, ["value", "low", "high"]].notna().all(axis=None)
    assert " – |" in oracle_markdown(lacking, "rotation:90", "agreement")
    assert r"& -- \\" in oracle_latex(lacking, "rotation:90", "agreement")


def test_markdown_holds_values_and_intervals(found: OracleResult) -> None:
    head, rule, row = oracle_markdown(found, "rotation:90").strip().split("\n")
    assert head.startswith("| layer | nothing done | input aligned |")
    assert rule.count("|") == head.count("|") == row.count("|")
    assert row.startswith("| first |")
    value = found.table("rotation:90")["inverse"]["first"]
    assert row.split("|")[4].strip().startswith(f"{value:.3f} [")
    several = oracle_markdown(found, measure="logit_residual", digits=1)
    assert several.count("| mean of 2 rotations | first |") == 1
    assert several.count("| scaling:1.5 | first |") == 1


def test_latex_and_markdown_hold_the_same_numbers(found: OracleResult) -> None:
    latex, page = oracle_latex(found), oracle_markdown(found)
    assert re.findall(r"\\below\{([\d.]+)\}", latex) == re.findall(r"([\d.]+) \[", page)
    rows = [text for text in latex.splitlines() if "&" in text]
    assert {text.count("&") for text in rows} == {5}
    assert "Accuracy of" in latex and "oracle-accuracy-rotation" in latex
    assert "$h^{-1}$" in latex and "⁻" not in latex and "…" not in latex
    assert "Logit residual of" in oracle_latex(found, measure="logit_residual")


def test_rungs_and_accuracies_stand_side_by_side(found: OracleResult, probed: Result) -> None:
    table = rungs_and_accuracies(probed, found).set_index(["transform", "layer"])
    assert len(table) == 8
    row = table.loc["rotation:90", "first"]
    assert row["inverse"] == probed.ladder("rotation:90")["inverse"]["first"]
    assert row["accuracy_inverse"] == found.table("rotation:90")["inverse"]["first"]
    assert row["accuracy_nothing"] == found.table("rotation:90")["nothing"]["first"]
    bounds = probed.bounds.set_index(["transform", "layer"])["bound"]
    np.testing.assert_array_equal(table["fit_bound"], bounds.loc[list(table.index)])
    for name in ("inverse_linear", "other_image", "accuracy_input_aligned"):
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    # Residuals are there for a layer around which a path leads, accuracies are not.
    around = table.loc["rotation:90", "side"]
    assert np.isfinite(around["inverse"]) and np.isnan(around["accuracy_inverse"])
    assert around["accuracy_nothing"] == row["accuracy_nothing"]


def test_the_page_has_a_row_per_layer(found: OracleResult, probed: Result) -> None:
    lines = rungs_markdown(probed, found, "rotation:90").splitlines()
    head, rule, first, side, _, text = lines
    assert rule.count("|") == head.count("|") == first.count("|") == side.count("|")
    heads = [cell.strip() for cell in head.split("|")]
    cells = [cell.strip() for cell in first.split("|")]
    worth = found.table("rotation:90")["inverse_linear"]["first"]
    assert cells[heads.index("accuracy: inverse linear")] == f"{100 * worth:.1f} %"
    residual = probed.ladder("rotation:90")["inverse permuted".replace(" ", "_")]["first"]
    assert cells[heads.index("inverse permuted")] == f"{residual:.2f}"
    assert side.endswith("| – | – | – |")
    assert text.startswith("10 evaluation images; 95 % intervals reach at most ±")


def test_without_labels_agreement_takes_the_place_of_accuracy(probed: Result) -> None:
    unknown = oracle(network(), ["first"], MOVES, pixels(False), **QUICK)
    table = rungs_and_accuracies(probed, unknown)
    assert "agreement_inverse" in table and "accuracy_inverse" not in table
    assert "agreement: inverse linear" in rungs_markdown(probed, unknown, "scaling:1.5")


def test_different_images_or_transformations_are_refused(
    found: OracleResult, probed: Result
) -> None:
    other = oracle(network(), ["first"], MOVES, pixels(True), seed=1, **QUICK)
    with pytest.raises(ProbeError, match="measured on different evaluation images; run both"):
        rungs_and_accuracies(probed, other)
    fewer = oracle(network(), ["first"], "rotation:90", pixels(True), **QUICK)
    with pytest.raises(ProbeError, match="measured on different transformations"):
        rungs_and_accuracies(probed, fewer)


def test_unknown_names_are_refused(found: OracleResult, probed: Result) -> None:
    with pytest.raises(ProbeError, match="no transform 'rotation:91'"):
        oracle_table(found, "rotation:91")
    with pytest.raises(ProbeError, match="no measure 'acuracy'"):
        oracle_markdown(found, "rotation:90", "acuracy")
    with pytest.raises(ProbeError, match="no transform 'rotation:91'"):
        rungs_markdown(probed, found, "rotation:91")
    still = oracle(network(), ["first"], "rotation:0", pixels(True), **QUICK)
    with pytest.raises(ProbeError, match="nothing but the identity"):
        oracle_table(still)
