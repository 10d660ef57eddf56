"""Pose statistics: planted transformers in closed form, regression against SVD and SciPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from planted_poses import Planted, PlantedExamples, by_class, half, idle, knows, noisy, turns
from scipy import optimize

from invariance_probe.errors import ProbeError
from invariance_probe.training.poses.poses import collect_poses, pose_table
from invariance_probe.training.poses.statistics import (
    KINDS,
    orthogonal_regression,
    pose_deviation,
    pose_statistics,
    unwrap_angles,
    varied_kinds,
)

LAWS = {"rotation": 1, "scaling": 1, "translation": 3, "all": 5}
# Standard deviations of the planted laws: ±90°, ±1 octave, ±6 and ±3 px, uniform.
SPREAD = {"rotation": 90 / 3**0.5, "scaling": 1 / 3**0.5, "translation": (36 / 3 + 9 / 3) ** 0.5}


def cloud(seed: int, number: int = 40, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    slope = random.normal(0, 1.5)
    x = random.normal(3, 2, number)
    return x + random.normal(0, noise, number), slope * x - 5 + random.normal(0, noise, number)


@pytest.mark.parametrize("seed", range(20))
def test_the_line_is_the_principal_axis(seed: int) -> None:
    x, y = cloud(seed)
    line = orthogonal_regression(x, y)
    _, _, axes = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]))
    assert line.slope == pytest.approx(axes[0, 1] / axes[0, 0], rel=1e-9)
    assert line.slope * x.mean() + line.intercept == pytest.approx(y.mean())


@pytest.mark.parametrize("seed", range(3))
def test_no_line_is_nearer_to_the_points(seed: int) -> None:
    x, y = cloud(seed)

    def distances(line: np.ndarray) -> float:
        normal = np.array([-np.sin(line[0]), np.cos(line[0])])
        return float(((np.column_stack([x, y]) @ normal - line[1]) ** 2).sum())

    starts = [np.array([angle, 0.0]) for angle in (-1.2, -0.4, 0.4, 1.2)]
    best = min((optimize.minimize(distances, start) for start in starts), key=lambda r: r.fun)
    line = orthogonal_regression(x, y)
    assert line.slope == pytest.approx(np.tan(best.x[0]), rel=1e-4)
    assert line.intercept == pytest.approx(best.x[1] / np.cos(best.x[0]), rel=1e-3, abs=1e-3)


numbers = st.floats(-100, 100, allow_nan=False)
points = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=12)


@given(points, st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 10))
def test_the_line_moves_with_the_points(
    rows: list[tuple[float, float]], right: float, up: float, factor: float
) -> None:
    x, y = np.array(rows).T
    matrix = np.cov(x, y)
    low, high = np.linalg.eigvalsh(matrix)
    assume(high > 1e-2 and high > 1.01 * low)
    slope, intercept = orthogonal_regression(x, y)
    assume(1e-3 < abs(slope) < 1e3)
    moved = orthogonal_regression(x + right, y + up)
    assert moved.slope == pytest.approx(slope, rel=1e-5)
    other = orthogonal_regression(y, x)
    assert other.slope == pytest.approx(1 / slope, rel=1e-5)
    larger = orthogonal_regression(factor * x, factor * y)
    assert larger.slope == pytest.approx(slope, rel=1e-5)
    assert larger.intercept == pytest.approx(factor * intercept, rel=1e-4, abs=1e-4)
    assert orthogonal_regression(x, -y).slope == pytest.approx(-slope, rel=1e-5)


def test_lines_without_a_slope() -> None:
    x = np.arange(5.0)
    assert orthogonal_regression(x, np.zeros(5)) == (0.0, 0.0)
    assert np.isinf(orthogonal_regression(np.ones(5), x).slope)
    assert np.isnan(orthogonal_regression([0, 0, 1, 1], [0, 1, 0, 1]).slope)
    with pytest.raises(ProbeError, match=r"x \(2,\) and y \(3,\)"):
        orthogonal_regression([1, 2], [1, 2, 3])
    with pytest.raises(ProbeError, match="at least 2"):
        orthogonal_regression([1], [1])


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 999))
def test_deviation_forgets_where_classes_are(classes: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.arange(12) % classes
    final = random.normal(size=(12, size))
    value = pose_deviation(final, labels)
    by_hand = sum(
        ((final[labels == k] - final[labels == k].mean(0)) ** 2).sum() for k in range(classes)
    )
    assert value == pytest.approx((by_hand / 12) ** 0.5)
    moved = final + random.normal(0, 9, (classes, size))[labels]
    assert pose_deviation(moved, labels) == pytest.approx(value)
    assert pose_deviation(-2 * final, labels) == pytest.approx(2 * value)
    assert pose_deviation(final, np.zeros(12)) >= value - 1e-12
    order = random.permutation(12)
    assert pose_deviation(final[order], labels[order]) == pytest.approx(value)
    with pytest.raises(ProbeError, match="12 final poses with 3 labels"):
        pose_deviation(final, [1, 2, 3])


@pytest.mark.parametrize("rule", [knows, by_class])
@pytest.mark.parametrize("law", LAWS)
def test_a_transformer_that_knows_has_slope_minus_one_and_no_deviation(law: str, rule) -> None:
    table = pose_statistics(collect_poses(Planted(rule), PlantedExamples(law)), resamples=20)
    assert len(table) == LAWS[law]
    np.testing.assert_allclose(table["deviation"], 0, atol=2e-4)
    if rule is knows:
        np.testing.assert_allclose(table["slope"], -1, atol=1e-5)
        np.testing.assert_allclose(table["intercept"].dropna(), 0, atol=1e-4)


@pytest.mark.parametrize("law", SPREAD)
def test_one_that_does_nothing_leaves_the_spread_of_the_law(law: str) -> None:
    examples = PlantedExamples(law, number=2000)
    row = pose_statistics(collect_poses(Planted(idle), examples, passes=3)).iloc[-1]
    assert row["kind"] == law and row["n"] == 6000 and row["left_out"] == 0
    assert (row["slope"], row["slope_low"], row["slope_high"]) == (0, 0, 0)
    assert row["deviation"] == pytest.approx(SPREAD[law], rel=0.02)
    assert row["deviation_low"] < SPREAD[law] < row["deviation_high"]
    assert row["deviation_high"] - row["deviation_low"] < 0.05 * SPREAD[law]


@pytest.mark.parametrize("law", SPREAD)
def test_half_a_correction_has_half_the_slope_and_half_the_deviation(law: str) -> None:
    examples = PlantedExamples(law, number=500)
    whole = pose_statistics(collect_poses(Planted(idle), examples), law, resamples=20).iloc[0]
    row = pose_statistics(collect_poses(Planted(half), examples), law, resamples=20).iloc[0]
    assert row["slope"] == pytest.approx(-0.5, abs=1e-5)
    assert row["deviation"] == pytest.approx(whole["deviation"] / 2, rel=1e-5)


def test_numbers_agree_with_the_plain_functions_and_intervals_hold_the_truth() -> None:
    table = collect_poses(Planted(noisy(9.0)), PlantedExamples(number=800), passes=2)
    row = pose_statistics(table).iloc[0]
    line = orthogonal_regression(table["applied_angle"], table["predicted_angle"])
    assert (row["slope"], row["intercept"]) == pytest.approx(line)
    final = table["applied_angle"] + table["predicted_angle"]
    assert row["deviation"] == pytest.approx(pose_deviation(final, table["label"]))
    # Errors of the prediction alone, variance 81, steepen a line that is fair to both.
    law = 90**2 / 3
    steeper = -(81 + (81**2 + 4 * law**2) ** 0.5) / (2 * law)
    assert row["slope_low"] < steeper < row["slope_high"] < -0.99
    assert row["deviation_low"] < 9 < row["deviation_high"]
    # The error of a standard deviation of n normal values is about sigma / sqrt(2 n).
    width = (row["deviation_high"] - row["deviation_low"]) / (2 * 1.96)
    assert width == pytest.approx(9 / (2 * 1600) ** 0.5, rel=0.2)
    again, other = pose_statistics(table).iloc[0], pose_statistics(table, seed=1).iloc[0]
    assert again.equals(row) and other["slope_low"] != row["slope_low"]
    both = table.sample(frac=1, random_state=0)
    np.testing.assert_allclose(pose_statistics(both)["slope_low"], row["slope_low"], rtol=1e-9)


def test_samples_of_an_image_are_drawn_together() -> None:
    table = collect_poses(Planted(noisy(9.0)), PlantedExamples(number=200))
    copies = pd.concat([table] * 4, ignore_index=True)
    one, four = (pose_statistics(t).iloc[0] for t in (table, copies))
    for name in ("slope", "slope_low", "deviation_high"):
        assert four[name] == pytest.approx(one[name], rel=1e-9)
    assert four["n"] == 4 * one["n"]


@pytest.mark.parametrize("shift", [0.0, 120.0, 180.0, -175.0])
def test_a_canonical_pose_upside_down_is_as_good_as_upright(shift: float) -> None:
    def rule(applied: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return turns(shift + 20.0 * labels) @ torch.linalg.inv(applied)

    table = collect_poses(Planted(rule), PlantedExamples(number=300))
    joined = unwrap_angles(table)
    for name in ("predicted_angle", "final_angle"):
        turned = (joined[name] - table[name]) / 360
        np.testing.assert_allclose(turned, turned.round(), atol=1e-9)
    row = pose_statistics(table, resamples=20).iloc[0]
    assert row["deviation"] == pytest.approx(0, abs=1e-4)
    upright = 20.0 * table["label"] - table["applied_angle"]
    expected = orthogonal_regression(table["applied_angle"], upright).slope
    assert row["slope"] == pytest.approx(expected, abs=1e-4)
    if shift == 0:
        assert joined.equals(table)


def test_poses_without_an_inverse_are_left_out_and_counted() -> None:
    applied = turns(torch.linspace(-90, 90, 30))
    poses = torch.linalg.inv(applied)
    poses[3] = 0
    table = pose_table(applied, poses, torch.zeros(30))
    table.insert(0, "index", range(30))
    row = pose_statistics(table).iloc[0]
    assert (row["n"], row["left_out"]) == (29, 1) and row["slope"] == pytest.approx(-1)
    table.loc[1:, "predicted_angle"] = np.nan
    with pytest.raises(ProbeError, match="1 of 30 samples have a finite pose"):
        pose_statistics(table)


def test_only_what_varies_is_reported() -> None:
    laws = {law: collect_poses(Planted(idle), PlantedExamples(law)) for law in (*LAWS, "none")}
    assert varied_kinds(laws["rotation"]) == ["rotation"]
    assert varied_kinds(laws["translation"]) == ["translation_x", "translation_y", "translation"]
    assert varied_kinds(laws["all"]) == list(KINDS)
    with pytest.raises(ProbeError, match="all samples were transformed alike"):
        pose_statistics(laws["none"])
    with pytest.raises(ProbeError, match="no kind of pose 'angle'; there are rotation, scaling"):
        pose_statistics(laws["rotation"], "angle")
    # A network that turns what was only shifted still has a deviation of its angle.
    row = pose_statistics(laws["translation"], "rotation", resamples=10).iloc[0]
    assert row["deviation"] == 0 and row["unit"] == "degrees"
