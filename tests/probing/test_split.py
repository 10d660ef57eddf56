"""The halves: one that chooses, one that reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import noise
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation
from invariance_probe.probing import probe, split


@given(st.integers(4, 300), st.integers(0, 2**32))
def test_halves_are_disjoint_cover_all_and_belong_to_the_seed(number, seed):
    fit, evaluation = split(number, seed)
    assert sorted(fit + evaluation) == list(range(number))
    assert len(fit) == number // 2
    assert (fit, evaluation) == split(number, seed)
    assert all(isinstance(index, int) for index in fit + evaluation)


def test_another_seed_gives_other_halves():
    assert len({tuple(split(40, seed)[0]) for seed in range(20)}) == 20


def test_the_evaluation_half_is_not_sorted():
    """Neighbours are taken for unrelated; in folders sorted by class they would be alike."""
    evaluation = split(200, 0)[1]
    assert np.mean(np.diff(evaluation) > 0) < 0.7


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (3, "3 images")]
)
def test_too_few_images_are_refused(number, said):
    with pytest.raises(ProbeError) as caught:
        split(number, 0)
    assert str(caught.value) == (
        f"{said} cannot be split into a fit half and an evaluation half of at least 2 each; "
        "give 4 or more"
    )


def test_three_images_are_refused_by_the_probe():
    with pytest.raises(ProbeError, match=r"3 images cannot be split .*; give 4 or more"):
        probe(nn.Sequential(nn.Conv2d(1, 2, 3)), "0", [rotation(30)], noise(3, 12, 10))


def test_four_images_are_enough():
    result = probe(
        nn.Sequential(nn.Conv2d(1, 2, 3)), "0", [rotation(30)], noise(4, 12, 10), resamples=50
    )
    assert result.provenance["images"]["fit"] == result.provenance["images"]["evaluation"] == 2
    spatial = result.residuals.set_index("rung")["residual"].drop("spatial_bound")
    assert np.isfinite(spatial).all()
    assert (result.residuals["images"] == 2).all()
