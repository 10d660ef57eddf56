"""Refinement: never upwards, and down to where the gradient vanishes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe.alignment import ErrorSurface, Family
from invariance_probe.alignment.families import NAMES
from invariance_probe.alignment.refinement import refine
from invariance_probe.geometry import Frame, image_frame, rotation, scaling, translation

STATUSES = {"converged", "bound", "flat", "iterations"}


def errors_at(surface: ErrorSurface, frame: Frame, matrices: np.ndarray) -> np.ndarray:
    return surface.error(frame.inverse_matrix @ matrices @ frame.matrix).numpy()


@settings(max_examples=30)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(["bilinear", "bicubic"]),
    st.integers(0, 9999),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_refinement_never_goes_up(fill, name, interpolation, seed, size):
    random = np.random.default_rng(seed)
    frame = Frame((2.0, -1.5), (random.uniform(-9, 0), random.uniform(0, 9)), size)
    a, b = torch.from_numpy(random.normal(size=(2, 3, 2, *size)))
    surface = ErrorSurface(fill(a, b, frame=frame, interpolation=interpolation), interpolation)
    family = Family(name)
    parameters = family.limited(
        np.random.default_rng(seed).normal(size=(6, {"rotation": 1, "similarity": 4}.get(name, 6)))
    )
    mirror = np.diag([-1.0, 1.0, 1.0])
    starts = family.matrices(parameters)
    starts[::2] = starts[::2] @ mirror
    refined = refine(surface, frame, family, starts)
    before, after = (errors_at(surface, frame, m) for m in (starts, refined.matrices))
    assert (after <= before * (1 + 1e-12) + 1e-12).all()
    np.testing.assert_allclose(refined.errors, after, rtol=1e-9, atol=1e-9)
    assert set(refined.status) <= STATUSES
    signs = np.sign(np.linalg.det(starts[:, :2, :2]))
    if name != "affine":  # an affine map may turn over on its way
        assert (np.sign(np.linalg.det(refined.matrices[:, :2, :2])) == signs).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_pose_nearby_is_found_to_a_thousandth_of_a_cell(blobs, pose, interpolation):
    frame = image_frame(28, 28)
    h = rotation(8) @ scaling(1.05) @ translation(1.5, -1)
    moments = pose(blobs(0), h, frame, (28, 28), interpolation=interpolation)
    refined = refine(
        ErrorSurface(moments, interpolation), frame, Family("similarity"), np.eye(3)[None]
    )
    assert refined.status == ("converged",)
    assert refined.iterations[0] < 20
    corners = np.array([[-8, -8, 1], [8, -8, 1], [8, 8, 1.0]]).T
    moved = refined.matrices[0] @ corners - h.matrix @ corners
    assert np.abs(moved).max() < {"bilinear": 0.05, "bicubic": 0.01}[interpolation]


def test_a_rest_is_a_minimum_within_the_family(fill):
    random = np.random.default_rng(1)
    frame = image_frame(7, 7)
    a, b = torch.from_numpy(random.normal(size=(2, 6, 2, 7, 7)))
    surface = ErrorSurface(fill(a, b, interpolation="bicubic"), "bicubic")
    for name, jitter in (("rotation", 0.01), ("similarity", 0.01), ("affine", 0.01)):
        family = Family(name)
        refined = refine(surface, frame, family, np.eye(3)[None])
        assert refined.status == ("converged",)
        rest = family.parameters(refined.matrices)
        around = rest + jitter * random.normal(size=(200, rest.shape[1]))
        nearby = errors_at(surface, frame, family.matrices(around))
        assert nearby.min() >= refined.errors[0] - 1e-6 * surface.target


def test_flat_maps_are_reported_as_flat(fill):
    frame = image_frame(5, 5)
    b = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 2, 5, 5)))
    for moved, original in (
        (torch.full_like(b, 3.0), b),
        (torch.zeros_like(b), torch.zeros_like(b)),
        (torch.full_like(b, 0.1), torch.full_like(b, 0.3)),
    ):
        for pivot in (None, torch.zeros(2)):
            surface = ErrorSurface(fill(moved, original, pivot=pivot))
            for name in NAMES:
                starts = np.stack([np.eye(3), rotation(20).matrix])
                assert set(refine(surface, frame, Family(name), starts).status) == {"flat"}


def test_scales_stop_at_the_limit(fill):
    """A ramp sixteen times as flat would be matched by reading sixteen times as closely."""
    frame = image_frame(9, 9)
    x, y = (torch.from_numpy(p.reshape(1, 1, 9, 9)) for p in frame.positions().T)
    ramps = torch.cat([x, y])
    surface = ErrorSurface(fill(ramps, ramps / 16))
    refined = refine(surface, frame, Family("similarity"), scaling(0.5).matrix[None])
    assert refined.status == ("bound",)
    assert np.sqrt(np.linalg.det(refined.matrices[0, :2, :2])) == pytest.approx(0.25)


def test_starts_of_one_minimum_are_followed_once(blobs, pose):
    frame = image_frame(28, 28)
    h = rotation(5)
    surface = ErrorSurface(pose(blobs(2), h, frame, (28, 28)))
    starts = np.stack([rotation(angle).matrix for angle in (5, 4, 6, 5.5, 4.5)])
    refined = refine(surface, frame, Family("similarity"), starts)
    assert refined.status.count("converged") >= 1
    assert refined.status[int(np.argmin(refined.errors))] == "converged"
