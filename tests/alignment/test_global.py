"""The search is told nothing: poses are found by places and mirrors, and where they may lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invariance_probe.alignment import ErrorSurface, best_alignment
from invariance_probe.alignment.search import displacement
from invariance_probe.alignment.starts import grid_starts
from invariance_probe.geometry import (
    affine,
    coverage,
    identity,
    image_frame,
    reflection,
    rotation,
    scaling,
    source_matrix,
    translation,
)

POSES = {
    "shift": translation(4.2, -4.2),
    "similarity": translation(-4.2, 3.0) @ rotation(130) @ scaling(0.7),
    "enlarged": translation(3.5, 4.2) @ rotation(-65) @ scaling(1.5),
    "mirror": translation(-2.0, 4.0) @ rotation(35) @ reflection(0),
}


@pytest.mark.parametrize("h", POSES.values(), ids=POSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poses_shifted_by_15_percent_are_found_untold(blobs, pose, h, dtype):
    frame = image_frame(28, 28)
    scene = blobs(21, radius=11)
    found = best_alignment(pose(scene, h, frame, (28, 28), dtype=dtype), identity())
    middle = frame.positions()[np.linalg.norm(frame.positions(), axis=1) < 6]
    assert displacement(found.transform, h.inverse(), middle) < 0.2
    assert found.residual < 0.01 < found.identity_residual
    assert found.status == "converged"


@pytest.mark.parametrize("h", POSES.values(), ids=POSES)
def test_the_grid_starts_within_two_cells_of_the_pose(blobs, pose, h):
    frame = image_frame(28, 28)
    moments = pose(blobs(21, radius=11), h, frame, (28, 28))
    starts = grid_starts(ErrorSurface(moments), frame, (1.0, -1.0), 0.5)
    points = np.c_[frame.positions(), np.ones(784)][moments.cells.ravel()]
    away = ((starts - h.matrix) @ points.T)[:, :2]
    assert np.sqrt(np.square(away).sum(1).mean(1)).min() < 2


@pytest.mark.parametrize("h", POSES.values(), ids=POSES)
def test_noise_hides_no_better_pose_than_the_true_one(fill, blobs, h):
    """Half the variance is noise: the true pose, not told, is the reference that must be met."""
    frame, scene = image_frame(14, 14), blobs(22, narrowest=1.0, radius=6)
    h = scaling(0.5) @ h @ scaling(2)  # the same shift in shares of the map
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 6, 1, 14, 14)))
    moved, original = (
        maps + maps.std() * own
        for maps, own in zip((scene.on(frame, h), scene.on(frame)), noise, strict=True)
    )
    moments = fill(moved, original)
    true = best_alignment(moments, h)
    assert best_alignment(moments, identity()).residual <= true.residual + 1e-3


def cornered(seed: int):
    """Noise, and noise with one corner that is the other's mean: repeated, it leaves least."""
    original, moved = np.random.default_rng(seed).normal(size=(2, 20, 2, 9, 9))
    original -= original.mean((0, 2, 3), keepdims=True)
    moved[..., :3, :3] = 0
    return torch.from_numpy(moved), torch.from_numpy(original)


@pytest.mark.parametrize("least", [0.5, 0.75, 1.0])
def test_what_reads_beyond_the_map_does_not_count(fill, least):
    moments = fill(*cornered(0))
    free, held = (best_alignment(moments, identity(), least=share) for share in (0.0, least))
    assert free.coverage < 0.5
    assert held.coverage >= least - 1e-9
    assert free.residual < held.residual <= held.identity_residual
    assert held.coverage == coverage(moments.frame, held.transform, moments.cells)


def test_a_minimum_at_the_limit_of_coverage_is_told(fill):
    """A ramp that was shifted by most of the map: each step off the map would lower the error."""
    frame = image_frame(9, 9)
    x, y = (torch.from_numpy(p.reshape(1, 1, 9, 9)) for p in frame.positions().T)
    ramps = torch.cat([x, y])
    found = best_alignment(
        fill(ramps + torch.tensor([8.0, 0]).reshape(2, 1, 1, 1), ramps), identity()
    )
    assert found.status == "edge"
    assert found.coverage == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(7, 5), (1, 6), (12, 12)])
def test_rough_errors_rank_like_exact_ones(fill, interpolation, size):
    random = np.random.default_rng(4)
    a, b = torch.from_numpy(random.normal(size=(2, 8, 3, *size)))
    surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)
    frame = image_frame(*size)
    moves = [
        affine(*(random.normal(size=6) * [0.3, 0.3, 2, 0.3, 0.3, 2] + [1, 0, 0, 0, 1, 0]))
        for _ in range(60)
    ]
    matrices = np.stack([source_matrix(g, frame) for g in [*moves, translation(2, -1)]])
    exact, rough = surface.error(matrices).numpy(), surface.rough(matrices).double().numpy()
    # Two cells and one: cells fall on nodes, where the tables are exact.
    assert rough[-1] == pytest.approx(exact[-1], rel=1e-5)
    np.testing.assert_allclose(rough, exact, rtol=0.04)
    assert np.corrcoef(rough, exact)[0, 1] > 0.98
    half = surface.thinned(2)
    np.testing.assert_allclose(half.rough(matrices), half.error(matrices), rtol=0.06)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_table_holds_the_error_of_reading_all_cells_at_a_place(fill, interpolation):
    random = np.random.default_rng(5)
    a, b = torch.from_numpy(random.normal(size=(2, 4, 3, 5, 7)))
    surface = ErrorSurface(fill(a, b, interpolation=interpolation), interpolation)
    columns, rows = torch.tensor([0.0, 2.25, 6.0]), torch.tensor([0.5, 4.0])
    table = surface.nodes(columns, rows)
    assert table.shape == (35, 2, 3)
    for j, y in enumerate(rows.tolist()):
        for i, x in enumerate(columns.tolist()):
            there = np.array([[[0, 0, x], [0, 0, y], [0, 0, 1]]])
            assert table[:, j, i].sum() == pytest.approx(surface.error(there).item())


def test_the_surface_covers_what_a_transform_covers(fill):
    random = np.random.default_rng(6)
    frame, cells = image_frame(8, 6), random.random((8, 6)) < 0.6
    a, b = torch.from_numpy(random.normal(size=(2, 2, 1, 8, 6)))
    surface = ErrorSurface(fill(a, b, frame=frame, cells=cells))
    moves = [translation(3, -2), rotation(50) @ scaling(0.5), scaling(3), translation(40, 0)]
    shares = surface.coverage(np.stack([source_matrix(g, frame) for g in moves]))
    assert shares.tolist() == pytest.approx([coverage(frame, g, cells) for g in moves])
    assert 0 < shares[0] < 1 and shares[3] == 0
