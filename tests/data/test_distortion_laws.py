"""The transformations of distorted digits follow the stated laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from invariance_probe.data.distortions import VARIANTS, parameters
from invariance_probe.geometry import angle_of, control_points, scale_of


def poses_of(name: str, number: int = 4000, seed: int = 0) -> torch.Tensor:
    poses = VARIANTS[name].law(number, torch.Generator().manual_seed(seed))
    assert poses.transforms is not None
    return poses.transforms


def follows(values: torch.Tensor, low: float, high: float) -> bool:
    return bool(stats.kstest(values.numpy(), stats.uniform(low, high - low).cdf).pvalue > 0.01)


def test_laws_of_angle_and_scale() -> None:
    assert follows(angle_of(poses_of("r")), -90, 90)
    assert follows(torch.log2(scale_of(poses_of("s"))), -1, 2)
    rts = poses_of("rts")
    assert follows(angle_of(rts), -45, 45)
    scale = scale_of(rts)
    assert follows(scale, 0.7, 1.2)
    room = 21 - 14 * scale
    for axis in (0, 1):
        assert follows(rts[:, axis, 2] / room, -1, 1)


@pytest.mark.parametrize(("name", "ends"), [("t", 0.5), ("tc", 1.0)])
def test_laws_of_shifts(name: str, ends: float) -> None:
    weights = np.array([ends, *[1.0] * 31, ends])
    shifts = poses_of(name, 20_000)[:, :2, 2].long() + 16
    for axis in (0, 1):
        seen = np.bincount(shifts[:, axis].numpy(), minlength=33)
        assert stats.chisquare(seen, weights / weights.sum() * 20_000).pvalue > 0.01
    assert abs(stats.pearsonr(*shifts.double().T.numpy()).statistic) < 0.03


def test_law_of_corners() -> None:
    number = 4000
    transforms = poses_of("p", number).numpy()
    corners = np.array([(-14, -14), (14, -14), (14, 14), (-14, 14)], dtype=float)  # clockwise
    seen = np.c_[corners, np.ones(4)] @ transforms.transpose(0, 2, 1)
    assert (seen[..., 2] > 0).all()
    moved = seen[..., :2] / seen[..., 2:]
    drawn = np.random.default_rng(0)
    wanted = np.empty((0, 4, 2))
    tried = 0
    while len(wanted) < number:
        scale = drawn.uniform(0.75, 1)
        while True:
            tried += 1
            one = scale * corners + drawn.normal(0, 5, (4, 2))
            before, after = one - np.roll(one, 1, 0), np.roll(one, -1, 0) - one
            areas = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
            if (areas >= 0.1 * (28 * scale) ** 2).all():
                break
        wanted = np.concatenate([wanted, one[None]])
    assert number / tried > 0.8  # few are drawn again
    for corner in range(4):
        for axis in (0, 1):
            test = stats.ks_2samp(moved[:, corner, axis], wanted[:, corner, axis])
            assert test.pvalue > 0.001


def test_law_of_control_points() -> None:
    number = 500
    poses = parameters.bent(number, torch.Generator().manual_seed(5))
    moved = poses.displacements + torch.from_numpy(control_points((28, 28)))
    # What all points share is the scaling: the best factor between the regular grid and the moved.
    grid = torch.from_numpy(control_points((28, 28)))
    factor = (grid * grid).sum() / (moved * grid).sum((1, 2))
    error = 1.5 / math.sqrt(float((grid * grid).sum()))
    assert factor.min() > 0.75 - 5 * error
    assert factor.max() < 1 + 5 * error
    assert follows((factor - 0.75) / 0.25, 0, 1)
    rest = (moved * factor[:, None, None] - grid).flatten()
    # Of 32 numbers one is spent on the factor.
    assert stats.kstest(rest.numpy(), stats.norm(0, 1.5 * math.sqrt(31 / 32)).cdf).pvalue > 0.01
