"""Every rung of the ladder against its definition, computed image by image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from reference import Reference, frame_of, prefix
from scenes import noise, smooth
from torch import nn

from invariance_probe.data import ImageSet, array_images
from invariance_probe.geometry import parse_transforms, rotation, scaling, shear, translation
from invariance_probe.probing import Options, probe

MOVES = (rotation(35), scaling(1.3), shear(0.2), translation(1.5, -1))
PLAIN = ("unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image")
FITTED = ("inverse_permuted", "inverse_orthogonal", "inverse_linear", "spatial_bound")


def tiny(dtype: torch.dtype = torch.float32, channels: int = 1) -> nn.Sequential:
    """Two convolutions with a nonlinearity; channel 1 of the first one is dead."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(channels, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 3, stride=2))
    with torch.no_grad():
        network[0].weight[1] = 0
        network[2].weight *= torch.tensor([0.3, 1.0, 3.0])[:, None, None, None]
    return network.to(dtype)


FRAMES = {"0": [(3, 1)], "2": [(3, 1), (3, 2)]}


def filled(number: int, rows: int, columns: int) -> ImageSet:
    values = np.random.default_rng(1).random((number, 1, rows, columns)).astype(np.float32)
    return array_images(values, background=0.25)


CASES = {
    "plain": (noise(16, 16, 12), torch.float64, {}),
    "float32": (noise(16, 16, 12), torch.float32, {}),
    "channel weights": (noise(16, 16, 12), torch.float64, {"weighting": "channel"}),
    "channel weights, float32": (noise(16, 16, 12), torch.float32, {"weighting": "channel"}),
    "bicubic maps": (noise(16, 16, 12), torch.float64, {"map_interpolation": "bicubic"}),
    "bicubic images": (noise(16, 16, 12), torch.float64, {"image_interpolation": "bicubic"}),
    "eroded": (noise(16, 20, 14), torch.float64, {"erode": 2.5, "seed": 4}),
    "filled, not square": (filled(16, 11, 15), torch.float64, {"seed": 2}),
    "dense maps": (noise(16, 16, 12), torch.float64, {"dense": 2}),
    "denser maps, bicubic": (
        noise(16, 18, 12),
        torch.float64,
        {"dense": 3, "map_interpolation": "bicubic"},
    ),
    "a margin": (smooth(16, 30, 13, shortest=6), torch.float64, {"weighting": "channel"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_the_definition(name):
    images, dtype, changes = CASES[name]
    network = tiny(dtype)
    options = Options(resamples=50, batch_size=5, **changes)
    result = probe(network, ["0", "2"], MOVES, images, mean=[0.4], std=[0.3], options=options)
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-4}
    places = {rung: result.axes["rung"].index(rung) for rung in result.axes["rung"]}
    rows = result.residuals.set_index(["layer", "transform", "rung"])["residual"]
    found = result.alignments.set_index(["layer", "transform"])
    for number, layer in enumerate(("0", "2")):
        frame = replace(frame_of(FRAMES[layer], images.canvas), margin=result.margins[layer])
        expected = Reference(
            prefix(network, layer), frame, images, MOVES, options, mean=0.4, std=0.3
        )
        described = result.layers.set_index("layer").loc[layer]
        assert described["compared_cells"] == expected.cells.sum()
        assert described["dead_channels"] == (layer == "0")
        variance = expected.variance()
        np.testing.assert_allclose(result.variance[number], variance, **close)
        for which, move in enumerate(MOVES):
            searched = found.loc[(layer, move.text)]
            (best,) = parse_transforms(searched["best"])
            errors = {rung: expected.errors(rung, move, best) for rung in PLAIN}
            errors |= expected.channel_errors(move)
            errors["spatial_bound"] = expected.bound_errors(move)
            if layer == "0":  # 3 channels of 8 images are fewer samples than there are cells
                errors["spatial_bound"][:] = np.nan
            for rung, sums in errors.items():
                message = f"{layer} {move} {rung}"
                slack = close if rung not in FITTED or dtype == torch.float64 else {"rtol": 5e-3}
                measured = result.errors[number, which, places[rung]]
                if rung in FITTED:
                    slack = slack if dtype == torch.float32 else {"rtol": 1e-6}
                np.testing.assert_allclose(measured, sums, err_msg=message, **slack)
                ratio = rows[layer, move.text, rung]
                np.testing.assert_allclose(
                    ratio, sums.sum() / variance.sum(), err_msg=message, **slack
                )
            loose = {"rtol": 1e-6} if dtype == torch.float64 else {"rtol": 1e-3}
            moved, by_chance = expected.by_chance(move)
            told = result.channels.set_index(["layer", "transform"]).loc[(layer, move.text)]
            exact = dtype == torch.float64
            assert told["moved_by_chance"] == pytest.approx(moved, rel=1e-6 if exact else 1e-3)
            row = result.summary.set_index(["layer", "transform"]).loc[(layer, move.text)]
            for name, rung in (("rho", "inverse"), ("rho_input", "input_aligned")):
                ends = [row[name], row[f"low_{name}"], row[f"high_{name}"]]
                np.testing.assert_allclose(ends, expected.rho(rung, move), atol=slack["rtol"])
            ridge = expected.ridge(move)
            assert told["ridge"] == (
                ridge if np.isfinite(ridge) else pytest.approx(np.nan, nan_ok=True)
            )
            stored = result.extra[f"by_chance/{layer}"][which]
            np.testing.assert_allclose(stored, by_chance, atol=1e-6 if exact else 1e-3)
            for column, g in (
                ("fit_residual", best),
                ("fit_inverse", move.inverse()),
                ("fit_unaligned", rotation(0)),
            ):
                value = expected.in_sample(move, g)
                np.testing.assert_allclose(searched[column], value, err_msg=column, **loose)


def test_the_ceiling_of_constant_maps_is_twice_the_variance_of_their_levels():
    """With the unbiased variance s², the mean over pairs is 2 s² a cell."""
    levels = np.linspace(0, 1, 9, dtype=np.float32)
    images = array_images(np.broadcast_to(levels[:, None, None, None], (9, 1, 6, 6)).copy())
    network = nn.Conv2d(1, 1, 1, bias=False)
    network.weight.data.fill_(1.0)
    result = probe(nn.Sequential(network), "0", "rotation:90", images, seed=6, resamples=50)
    order = np.random.default_rng(6).permutation(9)[4:]
    assert result.axes["image"] == tuple(f"{i:05d}" for i in order)
    drawn = levels[order].astype(float)
    ceiling = result.errors[0, 0, result.axes["rung"].index("other_image")]
    assert ceiling.sum() == pytest.approx(5 * 36 * 2 * drawn.var(ddof=1), rel=1e-5)
    np.testing.assert_allclose(result.variance[0], 36 * (drawn - drawn.mean()) ** 2, rtol=1e-5)


def reordered(images: np.ndarray, seed: int, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images whose halves are sorted `by` a value, but hold the same; and where each came from."""
    order = np.random.default_rng(seed).permutation(len(images))
    place = np.arange(len(images))
    for half in (order[: len(images) // 2], order[len(images) // 2 :]):
        place[half] = half[np.argsort(by[half], kind="stable")]
    return images[place], place


def test_ceiling_and_chance_do_not_depend_on_the_order_of_images():
    """In a folder sorted by class neighbours are alike: bright ones here, and dark ones."""
    random = np.random.default_rng(3)
    classes = random.integers(3, size=24)
    values = (random.random((24, 1, 12, 12)) + 2 * classes[:, None, None, None]).astype(np.float32)
    sorted_ones, place = reordered(values / 5, 0, classes)
    results = [
        probe(tiny(), ["0", "2"], rotation(90), array_images(of), resamples=50, seed=0)
        for of in (values / 5, sorted_ones)
    ]
    ceiling = results[0].axes["rung"].index("other_image")
    order = np.random.default_rng(0).permutation(24)[12:]
    one, two = (result.errors[:, :, ceiling] for result in results)
    same = [list(order).index(place[image]) for image in order]
    assert same != list(range(12))
    np.testing.assert_allclose(two, one[..., same], rtol=1e-5)
    rows = [r.residuals.set_index(["layer", "rung"])[["residual", "low", "high"]] for r in results]
    for layer in ("0", "2"):
        told = [row.loc[(layer, "other_image")].to_numpy(dtype=float) for row in rows]
        np.testing.assert_allclose(told[0], told[1], rtol=1e-5)
        assert results[0].channels["moved_by_chance"].equals(results[1].channels["moved_by_chance"])
        chance = [result.extra[f"by_chance/{layer}"] for result in results]
        np.testing.assert_allclose(chance[0], chance[1], atol=1e-5)


@pytest.mark.parametrize("weighting", ["raw", "channel"])
def test_in_sample_the_ladder_is_nested(weighting):
    result = probe(tiny(), ["0", "2"], MOVES, noise(24, 20, 14), resamples=50, weighting=weighting)
    found = result.alignments
    assert (found["fit_residual"] <= found["fit_inverse"] * (1 + 1e-6)).all()
    assert (found["fit_residual"] <= found["fit_unaligned"] * (1 + 1e-6)).all()
    channels = result.channels
    assert (channels["fit_inverse_permuted"] <= channels["fit_inverse"] * (1 + 1e-6)).all()
    within = channels["fit_inverse_permuted"] * (1 + 1e-6)
    assert (channels["fit_inverse_orthogonal"] <= within).all()
    within = channels["fit_inverse_orthogonal"] * (1 + 1e-6)
    assert (channels["fit_inverse_linear"] <= within).all()
    bounds = result.bounds
    best = found["fit_residual"].to_numpy() * (1 + 1e-6)
    determined = bounds["determined"].to_numpy()
    assert determined.any() and not determined.all()
    assert (bounds["bound"].to_numpy()[determined] <= best[determined]).all()
    assert bounds["bound"][~determined].isna().all()


def test_held_out_the_ladder_reads_between_floor_and_ceiling():
    result = probe(
        tiny(), ["0", "2"], [rotation(30), rotation(-30)], smooth(60, 40, 21, shortest=8),
        resamples=50, erode=1,
    )  # fmt: skip
    table = result.summary
    assert (table["best"] <= table["inverse"] * 1.05).all()
    assert (table["inverse"] < table["unaligned"]).all()
    assert (table["input_aligned"] < table["inverse"]).all()
    assert (table["inverse"] < table["other_image"]).all()
    assert table["other_image"].between(1.5, 2.6).all()
    assert table["recovered"].between(0, 1).all()


def test_what_is_read_off_and_its_interval_follow_from_the_sums_per_image():
    result = probe(tiny(), "2", MOVES[:2], noise(20, 20, 14), resamples=60, level=0.8, seed=3)
    rungs = result.axes["rung"]
    t = 1.383029  # Student's, 9 degrees of freedom, 80 %
    for which, row in enumerate(result.summary.itertuples()):
        floor, plain, inverse, ceiling, grid = (
            result.errors[0, which, rungs.index(rung)]
            for rung in (
                "input_aligned", "unaligned", "inverse", "other_image", "resampling_floor"
            )
        )  # fmt: skip
        variance = result.variance[0]

        def blurred(i: Any, floor: Any = floor, grid: Any = grid, inverse: Any = inverse) -> float:
            return (np.sqrt(floor[i].sum()) + np.sqrt(grid[i].sum())) ** 2 / 4 / inverse[i].sum()

        told = {
            "recovered": lambda i, a=ceiling, b=inverse, c=floor: (
                (a[i].sum() - b[i].sum()) / (a[i].sum() - c[i].sum())
            ),
            "gain": lambda i, a=plain, b=inverse, c=floor: (
                (a[i].sum() - b[i].sum()) / (a[i].sum() - c[i].sum())
            ),
            "excess": lambda i, b=inverse, c=floor, v=variance: (b[i] - c[i]).sum() / v[i].sum(),
            "attribution": blurred,
        }
        for name, of in told.items():
            value = of(np.arange(10))
            rest = np.array([of(np.delete(np.arange(10), n)) for n in range(10)])
            half = t * np.std(10 * value - 9 * rest, ddof=1) / np.sqrt(10)
            suffix = "" if name == "recovered" else f"_{name}"
            assert getattr(row, name) == pytest.approx(value, rel=1e-9)
            ends = (getattr(row, f"low{suffix}"), getattr(row, f"high{suffix}"))
            assert ends == pytest.approx((value - half, value + half), rel=1e-5)
    rows = result.residuals.set_index(["transform", "rung"])
    for which, move in enumerate(MOVES[:2]):
        sums = result.errors[0, which, rungs.index("inverse")]
        rest = [
            np.delete(sums, n).sum() / np.delete(result.variance[0], n).sum() for n in range(10)
        ]
        value = sums.sum() / result.variance[0].sum()
        half = t * np.std(10 * value - 9 * np.array(rest), ddof=1) / np.sqrt(10)
        ends = rows.loc[(move.text, "inverse"), ["low", "high"]].tolist()
        assert ends == pytest.approx((value - half, value + half), rel=1e-5)


def test_resamples_are_the_same_for_all_transforms():
    images = noise(16, 16, 12)
    both = probe(tiny(), ["0"], [rotation(30), rotation(-30)], images, resamples=50)
    alone = probe(tiny(), ["0"], [rotation(-30)], images, resamples=50)
    rows = both.residuals[both.residuals["transform"] == "rotation:-30"].reset_index(drop=True)
    columns = ["rung", "residual", "low", "high"]
    assert rows[columns].equals(alone.residuals[columns])
    ceilings = both.residuals[both.residuals["rung"] == "other_image"]
    assert ceilings["low"].nunique() == ceilings["high"].nunique() == 1


def test_every_image_at_its_best_beats_one_transform_for_all():
    result = probe(tiny(), "2", [rotation(40)], noise(8, 16, 12), resamples=50, per_image=True)
    rungs = result.axes["rung"]
    own, inverse, plain = (
        result.errors[0, 0, rungs.index(rung)]
        for rung in ("best_per_image", "inverse", "unaligned")
    )
    assert (own <= inverse * (1 + 1e-5)).all()
    assert (own <= plain * (1 + 1e-5)).all()
    assert own.sum() < result.errors[0, 0, rungs.index("best")].sum()


@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
def test_best_reads_as_much_of_the_map_as_is_asked(least):
    """Maps of noise align nowhere: the least is left where one cell of the border repeats."""
    moves, images = [rotation(40), rotation(90)], noise(8, 16, 12)
    result = probe(
        tiny(), ["0", "2"], moves, images, resamples=50, per_image=True, least_coverage=least
    )
    found = result.alignments
    assert (found["coverage"] >= least - 1e-9).all()
    assert (found["fit_residual"] <= found["fit_unaligned"] * (1 + 1e-9)).all()
    assert (result.summary["best_coverage"].to_numpy() == found["coverage"].to_numpy()).all()
    assert (result.summary["best_status"].to_numpy() == found["status"].to_numpy()).all()
    assert result.provenance["options"]["least_coverage"] == least
    if not least:
        assert (found["coverage"] < 0.5).any()


def test_identity_in_the_run_gives_exact_zeros():
    result = probe(tiny(), ["0", "2"], [rotation(20), rotation(0)], noise(12, 16, 12), resamples=50)
    rungs = [rung for rung in PLAIN if rung != "other_image"]
    rows = result.summary[result.summary["identity"]]
    assert (rows[rungs] == 0).all(axis=None)
    assert (rows["other_image"] > 0.5).all()
    assert (rows["recovered"] == 1).all()
    assert (rows[["inverse_permuted", "inverse_orthogonal", "inverse_linear"]] < 1e-10).all(
        axis=None
    )
    assert (result.alignments[result.alignments["identity"]]["best"] == "identity").all()
    assert (result.summary[~result.summary["identity"]][rungs] > 0).all(axis=None)


@pytest.mark.parametrize(
    ("dtype", "changes"),
    [
        (torch.float32, {}),
        (torch.float64, {"weighting": "channel", "map_interpolation": "bicubic"}),
    ],
    ids=["float32", "float64"],
)
def test_batch_size_changes_no_number(dtype, changes):
    images, moves = noise(15, 18, 14), [rotation(30), rotation(0)]
    results = [
        probe(tiny(dtype), "*", moves, images, resamples=50, batch_size=size, **changes)
        for size in (64, 1, 3, 7)
    ]
    first = results[0]
    for other in results[1:]:
        assert first.axes == other.axes
        for name in ("residuals", "summary", "layers", "bounds", "channels", "landscape"):
            one, two = (getattr(r, name) for r in (first, other))
            numbers = one.select_dtypes("number").columns
            texts = [column for column in one.columns if column not in numbers]
            assert one[texts].equals(two[texts])
            # Entries of a channel map are less certain than what it leaves.
            slack = 1e-5 if name == "channels" else 1e-6
            np.testing.assert_allclose(
                one[numbers].to_numpy(), two[numbers].to_numpy(), rtol=slack, atol=slack,
                err_msg=name,
            )  # fmt: skip
        # The place of a flat minimum is less certain than its depth.
        for column, slack in (("fit_residual", 1e-6), ("distance_px", 1e-2), ("coverage", 0.05)):
            np.testing.assert_allclose(
                first.alignments[column], other.alignments[column], atol=slack, rtol=1e-6
            )
