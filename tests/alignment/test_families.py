"""Families of candidates: parameters and matrices, derivatives, membership, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import Family, family_for
from invariance_probe.alignment.families import NAMES, SCALE_LIMIT
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    affine,
    identity,
    reflection,
    rotation,
    scaling,
    shear,
    translation,
)

COUNT = {"rotation": 1, "similarity": 4, "affine": 6}
families = st.sampled_from(NAMES).map(Family)


def draw(family: Family, seed: int, number: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, COUNT[family.name]))


@settings(max_examples=50)
@given(families, st.integers(0, 9999))
def test_parameters_are_those_of_the_matrices(family, seed):
    parameters = draw(family, seed)
    if family.name == "rotation":
        parameters = np.remainder(parameters + np.pi, 2 * np.pi) - np.pi
    matrices = family.matrices(parameters)
    np.testing.assert_allclose(family.parameters(matrices), parameters, atol=1e-12)
    assert (matrices[:, 2] == [0, 0, 1]).all()


@settings(max_examples=50)
@given(families, st.integers(0, 9999))
def test_tangents_are_finite_differences(family, seed):
    parameters, step = draw(family, seed), 1e-6
    tangent = family.tangent(parameters)
    for index in range(parameters.shape[1]):
        shift = step * np.eye(parameters.shape[1])[index]
        ahead, behind = family.matrices(parameters + shift), family.matrices(parameters - shift)
        difference = (ahead - behind)[:, :2] / (2 * step)
        np.testing.assert_allclose(tangent[..., index], difference, atol=1e-8)


@settings(max_examples=50)
@given(st.integers(0, 9999))
def test_similarities_and_rotations_are_the_nearest_ones(seed):
    """Least squares over the linear part (and, for rotations, the polar factor)."""
    matrix = np.eye(3)
    matrix[:2] = np.random.default_rng(seed).normal(size=(2, 3))
    for name in ("rotation", "similarity"):
        family = Family(name)
        best = family.parameters(matrix[None])
        here = np.square(family.matrices(best)[0, :2, :2] - matrix[:2, :2]).sum()
        for shift in 0.01 * np.random.default_rng(seed + 1).normal(size=(20, best.shape[1])):
            there = np.square(family.matrices(best + shift)[0, :2, :2] - matrix[:2, :2]).sum()
            assert here <= there + 1e-12


def test_scales_are_moved_back_to_a_quarter_and_four():
    for name in ("similarity", "affine"):
        family = Family(name)
        given_scales = np.array([0.01, 0.25, 1.0, 4.0, 70.0])
        matrices = np.stack([scaling(scale).matrix for scale in given_scales])
        matrices[:, :2, 2] = 3.0
        limited = family.limited(family.parameters(matrices))
        scales = np.sqrt(np.linalg.det(family.matrices(limited)[:, :2, :2]))
        np.testing.assert_allclose(scales, given_scales.clip(1 / SCALE_LIMIT, SCALE_LIMIT))
        np.testing.assert_allclose(family.matrices(limited)[:, :2, 2], 3.0)
        assert family.at_limit(limited).tolist() == [True, True, False, True, True]
    angles = draw(Family("rotation"), 0)
    assert (Family("rotation").limited(angles) == angles).all()
    assert not Family("rotation").at_limit(angles).any()


def test_membership():
    members = {
        "rotation": [identity(), rotation(33), reflection(20)],
        "similarity": [scaling(2), translation(3, 1), reflection(10) @ scaling(0.5)],
        "affine": [shear(0.3), scaling(1, 2), affine(1, 2, 3, 0, 1, 0)],
    }
    for index, name in enumerate(NAMES):
        for other, transforms in members.items():
            for transform in transforms:
                assert Family(name).contains(transform) == (NAMES.index(other) <= index)


def test_the_family_searched_is_the_smallest_that_holds_the_inverse():
    for transform in (identity(), rotation(12), scaling(3), translation(1, 2), reflection(5)):
        assert family_for(transform).name == "similarity"
    for transform in (shear(0.1), scaling(1, 1.1), affine(1, 0.2, 0, 0, 1, 0)):
        assert family_for(transform).name == "affine"


def test_unknown_families_are_named():
    with pytest.raises(ProbeError, match="unknown family 'projective' of alignments; use rotation"):
        Family("projective")
