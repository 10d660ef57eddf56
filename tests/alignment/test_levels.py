"""Two levels of moments: what they hold, and that the search on them agrees with the exact one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from invariance_probe.alignment import PyramidMoments, SearchPlan, best_alignment
from invariance_probe.alignment.levels import thinned
from invariance_probe.alignment.search import displacement
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    Frame,
    image_frame,
    rotation,
    scaling,
    translation,
    valid_cells,
    warp,
)

REACH = {"bilinear": 1, "bicubic": 3}


def planned(frame, h, canvas, search):
    plan = SearchPlan(frame, valid_cells(frame, [h], canvas), search)
    if plan.pool > 1:
        plan.compare_coarse(valid_cells(plan.coarse_frame, [h], canvas))
    return plan


def searched(moved, original, frame, h, canvas, search, interpolation="bilinear"):
    plan = planned(frame, h, canvas, search)
    moments = plan.moments(reach=REACH[interpolation])
    moments.update(moved, original)
    return best_alignment(moments, h, interpolation=interpolation)


def full_residual(moved, original, frame, h, canvas, g, interpolation="bilinear"):
    """Residual at all valid cells, from the maps."""
    cells = torch.from_numpy(valid_cells(frame, [h], canvas))
    aligned = warp(
        moved, g, frame=frame, interpolation=interpolation, beyond="nearest", antialias=False
    )
    a, b = (maps[..., cells].double() for maps in (aligned, original))
    return float((a - b).square().sum() / (b - b.mean((0, 2), keepdim=True)).square().sum())


def random_maps(h, images=8):
    """Maps (96 cells a side, 12 channels) of a random convolutional layer on smooth scenes."""
    generator = torch.Generator().manual_seed(1)
    scenes = torch.randn(images, 3, 40, 40, generator=generator)
    scenes = F.interpolate(scenes, size=(320, 320), mode="bicubic")
    weight = torch.randn(12, 3, 5, 5, generator=generator) / 8

    def maps(g):
        shown = warp(scenes, g, size=(196, 196))
        return F.max_pool2d(F.conv2d(shown, weight).relu(), 2)

    frame = Frame((2.0, 2.0), (-95.0, -95.0), (96, 96))
    return maps(h), maps(rotation(0)), frame


@pytest.mark.parametrize(
    ("size", "search", "method"),
    [
        ((56, 56), "auto", "exact"),
        ((57, 20), "auto", "pyramid 3x3"),
        ((112, 112), "auto", "pyramid 4x4"),
        ((224, 224), "auto", "pyramid 8x8"),
        ((112, 112), "exact", "exact"),
        ((30, 30), "pyramid", "pyramid 2x2"),
        ((28, 28), "pyramid", "exact"),
    ],
)
def test_auto_is_exact_up_to_56_cells(size, search, method):
    plan = SearchPlan(image_frame(*size), np.ones(size, dtype=bool), search)
    assert plan.method == method
    assert plan.coarse_frame.size == tuple(n // plan.pool for n in size)


@pytest.mark.parametrize("side", [112, 224, 448])
def test_the_fine_level_stays_small(side):
    plan = SearchPlan(image_frame(side, side), np.ones((side, side), dtype=bool))
    cells = int(plan.cells.sum())
    assert 36 <= cells <= 784
    assert cells * side**2 <= max(5_000_000, 64 * side**2)


def test_compared_cells_are_spread_evenly_but_out_of_step():
    cells = np.ones((40, 40), dtype=bool)
    kept = thinned(cells, 100)
    assert kept.sum() == 100
    assert (kept.reshape(10, 4, 10, 4).sum((1, 3)) == 1).all()  # one in every block
    rows, columns = np.nonzero(kept)
    assert set(rows % 4) == set(columns % 4) == {0, 1, 2, 3}
    assert (thinned(cells, 100) == kept).all()
    assert (thinned(cells, 1600) == cells).all()


def test_few_cells_of_thin_regions_are_kept():
    thin = np.zeros((40, 40), dtype=bool)
    thin[0, ::13] = True
    assert thinned(thin, 3).sum() in (1, 2, 3)
    assert not (thinned(thin, 3) & ~thin).any()


def test_levels_are_moments_of_the_map_and_of_its_blocks():
    h, canvas = rotation(20), (60, 60)
    frame = image_frame(60, 60)
    generator = torch.Generator().manual_seed(0)
    moved, original = torch.randn(2, 5, 3, 60, 60, generator=generator)
    plan = planned(frame, h, canvas, "pyramid")
    whole, first, second = (plan.moments() for _ in range(3))
    for part in (whole, first, second):
        part.coarse.pivot = part.fine.pivot = torch.zeros(3)
    whole.update(moved, original)
    first.update(moved[:2], original[:2])
    second.update(moved[2:], original[2:])
    total = first + second
    assert isinstance(total, PyramidMoments)
    chosen = torch.from_numpy(plan.cells.ravel())
    cross = torch.einsum(
        "ncv,ncp->vp", original.flatten(2)[..., chosen].double(), moved.flatten(2).double()
    )
    torch.testing.assert_close(total.fine.cross, cross, rtol=1e-4, atol=1e-4)
    pooled = [F.avg_pool2d(maps, plan.pool).flatten(2).double() for maps in (moved, original)]
    own = torch.from_numpy(plan.coarse_cells.ravel())
    cross = torch.einsum("ncv,ncp->vp", pooled[1][..., own], pooled[0])
    torch.testing.assert_close(total.coarse.cross, cross, rtol=1e-4, atol=1e-4)
    for level in ("coarse", "fine"):
        for name in ("cross", "auto", "target"):
            torch.testing.assert_close(
                getattr(getattr(total, level), name), getattr(getattr(whole, level), name),
                rtol=1e-6, atol=1e-4,
            )  # fmt: skip


def test_moments_of_other_blocks_do_not_add():
    h, canvas = rotation(20), (60, 60)
    two = [planned(image_frame(n, n), h, canvas, "pyramid").moments() for n in (56, 60)]
    with pytest.raises(ProbeError, match="different block sizes do not add"):
        _ = two[0] + two[1]


def test_a_pyramid_needs_the_cells_of_its_coarse_level():
    plan = SearchPlan(image_frame(60, 60), np.ones((60, 60), dtype=bool), "pyramid")
    with pytest.raises(ProbeError, match="which cells of the coarse level"):
        plan.moments()


@pytest.mark.parametrize("side", [56, 84, 112])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "h",
    [rotation(77), scaling(0.7), rotation(-140) @ scaling(1.3), translation(9, -4) @ rotation(30)],
    ids=["rotation", "scaling", "both", "similarity"],
)
def test_the_pyramid_finds_the_pose_of_scenes_as_the_exact_search_does(
    blobs, side, interpolation, h
):
    """Within 0.1 cells root mean square of each other and of the truth, and 1 % in residual."""
    frame, canvas = image_frame(side, side), (side, side)
    scene = blobs(side, narrowest=0.05 * side, radius=0.3 * side)
    moved, original = scene.on(frame, h).float(), scene.on(frame).float()
    points = frame.positions()[valid_cells(frame, [h], canvas).ravel()]
    residuals = []
    for search in ("exact", "pyramid"):
        found = searched(moved, original, frame, h, canvas, search, interpolation)
        assert found.status == "converged"
        assert displacement(found.transform, h.inverse(), points) < 0.1
        residuals.append(
            full_residual(moved, original, frame, h, canvas, found.transform, interpolation)
        )
    assert max(residuals) < 1e-3
    assert residuals[1] == pytest.approx(residuals[0], rel=0.01, abs=1e-4)


@pytest.mark.parametrize(
    "h", [rotation(30), rotation(-135), scaling(0.7), scaling(1.5), rotation(40) @ scaling(1.2)]
)
def test_the_pyramid_leaves_no_more_of_random_maps_than_the_exact_search(h):
    moved, original, frame = random_maps(h)
    residuals, found = {}, {}
    for search in ("exact", "pyramid"):
        found[search] = searched(moved, original, frame, h, (196, 196), search).transform
        residuals[search] = full_residual(moved, original, frame, h, (196, 196), found[search])
    # Each level looks at a sub-grid of the cells: with 8 images that leaves some noise.
    assert residuals["pyramid"] == pytest.approx(residuals["exact"], rel=0.01, abs=1e-3)
    points = frame.positions()[valid_cells(frame, [h], (196, 196)).ravel()]
    assert displacement(found["exact"], found["pyramid"], points) < 0.25 * frame.jump[0]
