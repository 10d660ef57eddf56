"""The search: known poses are found, from anywhere, and nothing better is overlooked."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from invariance_probe.alignment import ANGLES, SCALES, best_alignment
from invariance_probe.alignment.search import displacement, grid_samplings
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    Frame,
    affine,
    coverage,
    identity,
    image_frame,
    reflection,
    rotation,
    scaling,
    shear,
    translation,
)


def poses(number: int, seed: int):
    """Angles all around and scales 0.6 to 1.6."""
    random = np.random.default_rng(seed)
    for angle in random.uniform(-180, 180, number):
        yield rotation(angle) @ scaling(math.exp(random.uniform(math.log(0.6), math.log(1.6))))


@pytest.mark.parametrize(
    ("side", "narrowest", "degrees", "percent"),
    # A blob of 2 cells is about as fine as 14 cells can hold; fewer cells see less of it.
    [(28, 2.0, 0.1, 0.2), (14, 1.5, 0.3, 1.0)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_poses_are_returned(blobs, pose, side, narrowest, degrees, percent, dtype):
    frame = image_frame(side, side)
    angles, scales = [], []
    for index, h in enumerate(poses(16, seed=side)):
        scene = blobs(index, narrowest=narrowest, radius=0.32 * side)
        found = best_alignment(pose(scene, h, frame, (side, side), dtype=dtype), h)
        rest = found.transform @ h
        angles.append(abs(rest.angle))
        scales.append(100 * abs(rest.scale - 1))
        assert found.status == "converged"
        assert found.residual <= min(found.inverse_residual, found.identity_residual)
    assert np.median(angles) <= degrees
    assert np.median(scales) <= percent
    assert max(angles) <= 20 * degrees  # no pose is lost to another minimum
    assert max(scales) <= 20 * percent


def test_what_is_told_of_the_pose_does_not_matter(blobs, pose, fill):
    """The same maps searched with h far from their pose: the starts are the only difference."""
    frame, h = image_frame(28, 28), rotation(100) @ scaling(0.8)
    moments = pose(blobs(3), h, frame, (28, 28))
    for told in (identity(), rotation(-80), rotation(180) @ scaling(2), translation(6, 0)):
        found = best_alignment(moments, told)
        assert abs((found.transform @ h).angle) < 0.1
        assert abs((found.transform @ h).scale - 1) < 0.002
        assert found.distance > 1


transforms = st.one_of(
    st.floats(-180, 180).map(rotation),
    st.floats(-2, 2).map(lambda octaves: scaling(2**octaves)),
    st.tuples(st.floats(-1, 1), st.just(0.0)).map(lambda k: shear(*k)),
    st.floats(0, 180).map(reflection),
    st.tuples(st.floats(-4, 4), st.floats(-4, 4)).map(lambda t: translation(*t)),
    st.tuples(st.floats(0.3, 2), st.floats(-1, 1), st.floats(0.3, 2)).map(
        lambda p: affine(p[0], p[1], 1.0, 0.0, p[2], -1.0)
    ),
)


@settings(max_examples=30)
@given(transforms, st.integers(0, 9999), st.sampled_from([(6, 6), (1, 7), (5, 3), (1, 1)]))
def test_nothing_is_worse_than_the_inverse_or_the_identity(fill, direct_error, h, seed, size):
    random = np.random.default_rng(seed)
    frame = Frame((1.5, 2.0), (random.uniform(-5, 0), random.uniform(-5, 0)), size)
    cells = random.random(size) < 0.8
    cells.flat[0] = True
    a, b = torch.from_numpy(random.normal(size=(2, 4, 2, *size)))
    moments = fill(a, b, frame=frame, cells=cells)
    found = best_alignment(moments, h)
    slack = 1 + 1e-8  # ties within rounding go to the exact names
    assert found.residual <= found.inverse_residual * slack
    assert found.residual <= found.identity_residual * slack
    for g, value in (
        (found.transform, found.residual),
        (h.inverse(), found.inverse_residual),
        (identity(), found.identity_residual),
    ):
        direct = direct_error(a, b, g, frame, cells) / moments.energy
        assert value == pytest.approx(direct, rel=1e-7, abs=1e-9)
    assert found.coverage == coverage(frame, found.transform, cells)
    points = frame.positions()[cells.ravel()]
    assert found.distance == displacement(found.transform, h.inverse(), points)
    if found.runner_up is not None:
        direct = direct_error(a, b, found.runner_up, frame, cells) / moments.energy
        assert found.runner_up_residual == pytest.approx(direct, rel=1e-6)


@pytest.mark.parametrize(
    "h",
    [shear(0.35), scaling(1.3, 0.8), affine(0.9, 0.4, 1.0, -0.1, 1.1, -2.0), reflection(30),
     reflection(75) @ scaling(1.2), rotation(140) @ shear(0.2)],
    ids=str,
)  # fmt: skip
def test_planted_shears_reflections_and_affine_maps_are_recovered(blobs, pose, h):
    frame = image_frame(28, 28)
    found = best_alignment(pose(blobs(4), h, frame, (28, 28)), h)
    assert found.residual <= found.inverse_residual < 0.01
    assert found.distance < 0.1
    assert found.status == "converged"


def test_affine_maps_are_recovered_without_being_told(blobs, pose):
    frame, h = image_frame(28, 28), affine(0.9, 0.25, 0.5, -0.1, 1.1, -1.0)
    found = best_alignment(pose(blobs(5), h, frame, (28, 28)), identity(), family="affine")
    points = frame.positions()
    assert displacement(found.transform, h.inverse(), points) < 0.2


@pytest.mark.parametrize("family", ["rotation", "similarity"])
@pytest.mark.parametrize("offset", [-15.5, 7.5])
def test_rotations_are_about_the_image_centre_not_the_maps(blobs, pose, family, offset):
    """The frame of a strided layer at 224 px, whose map sits 15.5 px off the centre."""
    frame = Frame((8.0, 8.0), (offset - 8 * 13.5,) * 2, (28, 28))
    assert frame.centre_offset == (offset, offset)
    for angle in (180.0, 90.0, -37.0):
        h = rotation(angle)
        scene = blobs(6, narrowest=16, radius=72)
        found = best_alignment(pose(scene, h, frame, (224, 224)), h, family=family)
        rest = (found.transform @ h).matrix
        assert np.abs(rest[:2, 2]).max() < 0.3  # pixels; the offset is 15.5
        assert abs((found.transform @ h).angle) < 0.1
        assert found.residual < 1e-3


def test_a_half_turn_of_an_off_centre_map_is_exact():
    """Cells of the half-turned map fall half-way between cells: 31 px are 0.97 of a cell."""
    frame = Frame((32.0, 32.0), (-111.5, -111.5), (7, 7))
    assert frame.centre_offset == (-15.5, -15.5)
    assert coverage(frame, rotation(180)) < 1


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_flat_maps_have_a_status_and_no_residual(fill, value):
    flat = torch.full((3, 2, 6, 6), value)
    found = best_alignment(fill(flat, flat), rotation(30))
    assert found.status == "flat"
    assert math.isnan(found.residual) and math.isnan(found.inverse_residual)
    assert np.isnan(found.by_angle).all() and np.isnan(found.by_scale).all()


def test_a_flat_transformed_map_leaves_the_whole_variance(fill):
    b = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2, 6, 6)))
    moments = fill(torch.zeros_like(b) + b.mean((0, 2, 3))[:, None, None], b)
    found = best_alignment(moments, rotation(30))
    assert found.status == "flat"
    assert found.residual == pytest.approx(1.0)


def test_the_scale_limit_is_told(fill):
    frame = image_frame(9, 9)
    x, y = (torch.from_numpy(p.reshape(1, 1, 9, 9)) for p in frame.positions().T)
    ramps = torch.cat([x, y])
    found = best_alignment(fill(ramps, ramps / 16), scaling(3))
    assert found.status == "bound"
    assert found.transform.scale == pytest.approx(4.0)


def test_a_symmetric_scene_has_its_twin_as_runner_up(blobs, pose, fill):
    frame, h = image_frame(28, 28), rotation(40)
    scene = blobs(7)
    moved, original = (
        scene.on(frame, g) + scene.on(frame, g @ rotation(180)) for g in (h, identity())
    )
    found = best_alignment(fill(moved, original), h)
    assert found.runner_up is not None
    apart = (found.runner_up @ found.transform.inverse()).angle
    assert abs(apart) == pytest.approx(180, abs=0.5)
    assert found.runner_up_residual == pytest.approx(found.residual, abs=1e-4)


def test_a_scene_without_symmetry_has_a_distant_runner_up(blobs, pose):
    frame, h = image_frame(28, 28), rotation(40)
    found = best_alignment(pose(blobs(8), h, frame, (28, 28)), h)
    if found.runner_up is not None:
        assert found.runner_up_residual > 10 * found.residual


def test_an_exact_inverse_keeps_its_exact_name(fill):
    original = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 3, 6, 6)))
    moved = torch.rot90(original, 1, (2, 3))
    found = best_alignment(fill(moved, original), rotation(90))
    assert found.transform == rotation(-90)
    assert found.start == "inverse"
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.distance == 0
    same = best_alignment(fill(original, original), rotation(0))
    assert same.start in ("identity", "inverse")
    assert same.transform.isclose(identity())


def test_a_family_without_the_inverse_does_not_return_it(blobs, pose):
    frame, h = image_frame(28, 28), shear(0.4)
    found = best_alignment(pose(blobs(9), h, frame, (28, 28)), h, family="similarity")
    assert found.family == "similarity"
    assert found.transform.is_similarity
    assert found.residual > found.inverse_residual


@pytest.mark.parametrize(
    ("interpolation", "slack"),
    # Noise makes a bilinear surface bend at every cell border: a simplex may slip over a bend.
    [("bicubic", 1e-6), ("bilinear", 1e-3)],
)
def test_an_independent_optimiser_finds_nothing_better(
    blobs, fill, direct_error, interpolation, slack
):
    frame, h = image_frame(14, 14), rotation(35) @ scaling(1.2)
    random = torch.Generator().manual_seed(0)
    scene = blobs(10, radius=4.5)
    noise = 0.3 * torch.randn(6, 1, 14, 14, generator=random, dtype=torch.float64)
    moved, original = scene.on(frame, h) + noise, scene.on(frame)
    moments = fill(moved, original, interpolation=interpolation)
    found = best_alignment(moments, h, interpolation=interpolation)

    def residual(p: np.ndarray) -> float:
        g = rotation(p[0]) @ scaling(2.0 ** p[1]) @ translation(p[2], p[3])
        error = direct_error(moved, original, g, frame, moments.cells, interpolation)
        return error / moments.energy

    options = {"xatol": 1e-5, "fatol": 1e-10, "maxiter": 600}
    starts = ([-35, -0.26, 0, 0], [-30, 0, 0.5, 0.5])
    best = min(
        minimize(residual, start, method="Nelder-Mead", options=options).fun for start in starts
    )
    assert found.residual <= best + slack
    assert found.residual == pytest.approx(best, rel=0.01)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_curves_are_residuals_of_pure_rotations_and_scalings(
    blobs, pose, direct_error, interpolation
):
    frame, h = image_frame(14, 14), rotation(20)
    scene = blobs(11, radius=4.5)
    moments = pose(scene, h, frame, (14, 14), dtype=torch.float64, interpolation=interpolation)
    found = best_alignment(moments, h, interpolation=interpolation)
    moved, original = scene.on(frame, h), scene.on(frame)
    assert (len(found.by_angle), len(found.by_scale)) == (len(ANGLES), len(SCALES))
    for index in (0, 5, 32, 71):
        g = rotation(ANGLES[index])
        direct = direct_error(moved, original, g, frame, moments.cells, interpolation)
        assert found.by_angle[index] == pytest.approx(direct / moments.energy, rel=1e-8)
    for index in (0, 4, 6, 12):
        g = scaling(SCALES[index])
        direct = direct_error(moved, original, g, frame, moments.cells, interpolation)
        assert found.by_scale[index] == pytest.approx(direct / moments.energy, rel=1e-8)
    assert found.residual <= min(found.by_angle) * (1 + 1e-9)


def test_grid_samplings_undo_what_they_name():
    angles, scales = np.array([0.0, 30.0, -90.0]), np.array([0.5, 2.0])
    grid = grid_samplings(angles, scales).reshape(3, 2, 3, 3)
    for i, angle in enumerate(angles):
        for j, scale in enumerate(scales):
            g = rotation(angle) @ scaling(scale)
            np.testing.assert_allclose(grid[i, j], np.linalg.inv(g.matrix), atol=1e-12)
    assert (np.linalg.det(grid_samplings(angles, scales, -1.0)[:, :2, :2]) < 0).all()


def test_batches_of_images_merge_before_a_search(blobs, pose):
    frame, h = image_frame(14, 14), rotation(-70)
    pivot = torch.zeros(1)
    one, two = (pose(blobs(s, radius=4.5), h, frame, (14, 14), pivot=pivot) for s in (12, 13))
    both = best_alignment(one + two, h)
    swapped = best_alignment(two + one, h)
    assert dataclasses.astuple(both)[1:4] == pytest.approx(dataclasses.astuple(swapped)[1:4])


def test_unknown_options_are_refused(fill):
    maps = torch.zeros(1, 1, 3, 3)
    with pytest.raises(ProbeError, match="unknown family 'euclidean'"):
        best_alignment(fill(maps, maps), rotation(1), family="euclidean")
    with pytest.raises(ProbeError, match="unknown interpolation 'nearest'"):
        best_alignment(fill(maps, maps), rotation(1), interpolation="nearest")
