"""Poses of the networks that a training run left, on digits of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from invariance_probe.data.catalogue import load_examples
from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_classifier
from invariance_probe.networks.stn.architecture import parse_architecture
from invariance_probe.training import Recipe, TrainConfig, architecture_for, train_run
from invariance_probe.training.passes import evaluate_passes
from invariance_probe.training.poses.poses import collect_poses
from invariance_probe.training.poses.runs import run_pose_statistics, run_poses
from invariance_probe.training.poses.statistics import pose_statistics


@pytest.fixture(scope="module")
def digits():
    return load_examples("mnist-r", train=False, number=80)


@pytest.mark.parametrize("name", ["STN-C0", "STN-C1", "STN-SL1x2"])
def test_a_classifier_that_has_learnt_nothing_does_nothing(name: str, digits) -> None:
    network = build_classifier(parse_architecture(name, width=0.25))
    table = collect_poses(network, digits, passes=3)
    np.testing.assert_allclose(table.filter(like="predicted_"), 0, atol=1e-4)
    row = pose_statistics(table, resamples=50).iloc[0]
    assert row["slope"] == pytest.approx(0, abs=1e-5)
    assert row["deviation"] == pytest.approx(90 / 3**0.5, rel=0.1)


def test_poses_and_errors_are_of_the_same_passes(digits) -> None:
    network = build_classifier(parse_architecture("STN-C0", width=0.25))
    seen: dict[str, list[torch.Tensor]] = {"errors": [], "poses": []}
    forward, align = network.forward, network.align
    network.forward = lambda images: (seen["errors"].append(images.clone()), forward(images))[1]
    evaluate_passes(network, digits, 2, seed=3)
    network.forward = forward
    network.align = lambda images: (seen["poses"].append(images.clone()), align(images))[1]
    collect_poses(network, digits, 2, seed=3)
    first, second = (torch.cat([b for b in seen[n] if len(b) > 1]) for n in ("errors", "poses"))
    assert torch.equal(first, second) and len(first) == 160


def test_splines_have_no_pose(digits) -> None:
    network = build_classifier(parse_architecture("STN-C0", width=0.25, family="tps"))
    with pytest.raises(ProbeError, match="spline"):
        collect_poses(network, digits)


def test_every_seed_of_a_run_is_measured(digits, tmp_path: Path) -> None:
    training = load_examples("mnist-r", number=64)
    config = TrainConfig(
        "mnist-r", architecture_for("STN-C0", "mnist-r", training, width=0.25),
        Recipe(iterations=2, batch_size=32), seeds=(0, 4), number=64,
    )  # fmt: skip
    run = train_run(config, tmp_path / "run", examples=training, test=digits)
    tables = run_poses(run, digits, passes=2, seed=1)
    assert list(tables) == [0, 4] and len(tables[4]) == 160
    pd.testing.assert_series_equal(tables[0]["applied_angle"], tables[4]["applied_angle"])
    rows = run_pose_statistics(tables, "mine", resamples=30)
    assert rows["run"].tolist() == ["mine"] * 2 and rows["seed"].tolist() == [0, 4]
    assert rows.loc[0, "deviation"] == pose_statistics(tables[0], resamples=30)["deviation"][0]

    other = load_examples("mnist-s", train=False, number=20)
    with pytest.raises(ProbeError, match=r"was trained on images normalised by \(0.13"):
        run_poses(run, other)
