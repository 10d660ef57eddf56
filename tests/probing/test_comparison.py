"""Comparisons: paired intervals against a bootstrap by hand, and what may not be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from compared_results import LEVELS, RUNGS, made_result, with_changes

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Comparison, Result, compare, load_comparison, probe
from invariance_probe.probing.comparison.compared import QUANTITIES
from invariance_probe.probing.comparison.pairing import pair_layers

MEAN = "mean of 2 rotations"


def row(found: Comparison, network: str, quantity: str, move: str, layer: str = "conv1") -> Any:
    table = found.table
    same = (table["network"] == network) & (table["quantity"] == quantity)
    (one,) = table[same & (table["transform"] == move) & (table["layer"] == layer)].to_dict(
        "records"
    )
    return one


def by_hand(a: Result, b: Result, quantity: str, which: list[int], layer: int = 0) -> np.ndarray:
    """Pseudo-values of a, of b and of their difference, summed in loops, below their values."""
    number = a.variance.shape[-1]
    out = []
    for draw in [np.arange(number), *(np.delete(np.arange(number), n) for n in range(number))]:
        values = []
        for result in (a, b):
            total = result.variance[layer, draw].sum()
            over = {
                rung: np.mean([result.errors[layer, w, r, draw].sum() / total for w in which])
                for r, rung in enumerate(result.axes["rung"])
            }
            if quantity == "recovered":
                span = over["other_image"] - over["input_aligned"]
                values.append((over["other_image"] - over["inverse"]) / span)
            elif quantity == "gain":
                span = over["unaligned"] - over["input_aligned"]
                values.append((over["unaligned"] - over["inverse"]) / span)
            elif quantity == "won_by_linear":
                span = over["inverse"] - over["input_aligned"]
                values.append((over["inverse"] - over["inverse_linear"]) / span)
            else:
                values.append(over[quantity])
        out.append([*values, values[1] - values[0]])
    whole, rest = np.array(out[0]), np.array(out[1:])
    return np.vstack([whole, number * whole - (number - 1) * rest])


QUANTITY = ["inverse", "spatial_bound", "gain", "recovered", "won_by_linear"]


@pytest.mark.parametrize("quantity", QUANTITY)
@pytest.mark.parametrize(("move", "which"), [("rotation:45", [1]), (MEAN, [1, 2])])
def test_intervals_are_students_over_paired_pseudo_values_by_hand(
    quantity: str, move: str, which: list[int]
) -> None:
    a, b = made_result(seed=1, images=9), made_result(seed=2, factor=0.9, images=9)
    found = compare({"a": a, "b": b})
    whole, *pseudo = by_hand(a, b, quantity, which)
    half = 2.306004 * np.std(pseudo, axis=0, ddof=1) / 3  # Student's t of 8 degrees of freedom
    low, high = whole - half, whole + half
    if quantity in ("inverse", "spatial_bound"):  # sums of squares
        low[:2] = np.maximum(low[:2], 0)
    for index, name in enumerate(("a", "b")):
        one = row(found, name, quantity, move)
        assert [one["value"], one["low"], one["high"]] == pytest.approx(
            [whole[index], low[index], high[index]], rel=1e-5
        )
    one = row(found, "b", quantity, move)
    assert [one["difference"], one["difference_low"], one["difference_high"]] == pytest.approx(
        [whole[2], low[2], high[2]], rel=1e-5
    )
    assert one["excludes_zero"] == (low[2] > 0 or high[2] < 0)
    base = row(found, "a", quantity, move)
    assert np.isnan([base["difference"], base["difference_low"], base["p_adjusted"]]).all()
    assert not base["excludes_zero"]


def test_p_values_are_those_of_the_largest_of_all_rows_by_hand() -> None:
    a, b = (made_result(seed=s, images=9, layers=["conv1"]) for s in (1, 2))
    found = compare({"a": a, "b": b}, quantities="inverse")
    rows = {"rotation:45": [1], "rotation:90": [2], MEAN: [1, 2]}
    signs = 2.0 * np.random.default_rng(0).integers(2, size=(200, 9)) - 1
    t, worst = {}, np.zeros(200)
    for move, which in rows.items():
        pseudo = by_hand(a, b, "inverse", which)[1:, 2]

        def studentised(values: np.ndarray) -> float:
            return abs(values.mean()) / (values.std(ddof=1) / 3)

        t[move] = studentised(pseudo)
        worst = np.maximum(worst, [studentised(one * pseudo) for one in signs])
    for move in rows:
        expected = (1 + (worst >= t[move] * (1 - 1e-9)).sum()) / 201
        assert row(found, "b", "inverse", move)["p_adjusted"] == pytest.approx(expected)
    assert row(found, "b", "inverse", "rotation:0")["p_adjusted"] == 1.0


def test_equal_results_differ_by_exactly_nothing() -> None:
    found = compare([made_result(), made_result(), made_result()])
    assert found.networks == ("net", "net (2)", "net (3)")
    others = found.table[(found.table["network"] != found.baseline) & ~found.table["identity"]]
    assert (others[["difference", "difference_low", "difference_high"]] == 0.0).all(axis=None)
    assert (others["p_adjusted"] == 1.0).all()
    assert not others["excludes_zero"].any()
    assert found.quantities == QUANTITIES


def test_errors_scaled_by_two_differ_by_the_residual_itself() -> None:
    a = made_result()
    found = compare({"a": a, "b": replace(a, errors=2 * a.errors)})
    for quantity in ("inverse", "best", "inverse_linear", "other_image"):
        one, base = (row(found, name, quantity, "rotation:90", "conv2") for name in "ba")
        assert one["difference"] == pytest.approx(base["value"], rel=1e-12)
        assert one["difference_low"] == pytest.approx(base["low"], rel=1e-12)
        assert one["difference_high"] == pytest.approx(base["high"], rel=1e-12)
    for quantity in ("recovered", "won_by_linear"):  # shares have no unit to scale
        one = row(found, "b", quantity, MEAN)
        assert one["difference"] == pytest.approx(0, abs=1e-12)
        assert one["p_adjusted"] == 1.0


def test_features_in_other_units_compare_alike() -> None:
    a = made_result()
    b = replace(a, errors=a.errors * 2.0**20, variance=a.variance * 2.0**20)
    others = compare({"a": a, "b": b}).table.query("network == 'b' and not identity")
    assert (others["difference"] == 0.0).all()


def test_a_planted_difference_is_found_and_its_sign_is_network_less_baseline() -> None:
    a, b = made_result(seed=1), made_result(seed=2, factor=0.8)
    one = row(compare({"a": a, "b": b}), "b", "inverse", MEAN)
    assert one["difference"] == pytest.approx(-0.18, abs=0.06)
    assert one["excludes_zero"] and one["difference_high"] < 0
    assert one["p_adjusted"] == pytest.approx(1 / 201)  # no flip of signs strays so far
    turned = row(compare({"a": a, "b": b}, baseline="b"), "a", "inverse", MEAN)
    assert turned["difference"] == -one["difference"]
    assert turned["difference_low"] == -one["difference_high"]


def test_pairing_narrows_the_interval_of_networks_that_find_the_same_images_hard() -> None:
    a = made_result(seed=1, noise=0.0)
    shift = np.random.default_rng(3).uniform(0.2, 3, a.variance.shape[-1])
    a = replace(a, errors=a.errors * shift)
    b = replace(a, errors=1.1 * a.errors)
    one = row(compare({"a": a, "b": b}), "b", "inverse", MEAN)
    own = one["high"] - one["low"]
    assert one["difference_high"] - one["difference_low"] < 0.2 * own
    assert one["excludes_zero"]


def test_coverage_and_error_of_the_family_on_simulated_networks() -> None:
    held, wrong, trials = 0, 0, 120
    truth = 0.9 * 0.05
    for trial in range(trials):
        a = made_result(seed=2 * trial, layers=["l1", "l2", "l3"], rungs=RUNGS[1:2])
        b = made_result(
            seed=2 * trial + 1, layers=["l1", "l2", "l3"], rungs=RUNGS[1:2], factor=1.05
        )
        same = replace(b, errors=b.errors / 1.05)
        one = row(compare({"a": a, "b": b}), "b", "inverse", MEAN, "l2")
        held += one["difference_low"] <= truth <= one["difference_high"]
        null = compare({"a": a, "b": same}).table
        wrong += (null["p_adjusted"] <= 0.1).any()
        # Row by row, many more studies would claim something that is not there.
    assert 0.88 <= held / trials <= 1.0  # 95 % by design
    assert wrong / trials <= 0.1 + 3 * np.sqrt(0.09 / trials)


def test_many_rows_cost_a_small_difference_its_significance() -> None:
    names = [f"conv{n}" for n in range(1, 13)]
    a, b = (made_result(seed=s, layers=names, rungs=RUNGS[1:2], noise=0.2) for s in (5, 6))
    b.errors[0, -1] = a.errors[0, -1] * np.linspace(0.82, 1.37, 40)
    b.variance[0] = a.variance[0]
    few, many = (
        row(compare({"a": a, "b": b}, layers=layers), "b", "inverse", "rotation:90")
        for layers in ("conv1", None)
    )
    assert few["p_adjusted"] < 0.05 and few["excludes_zero"]
    assert many["p_adjusted"] > 2 * few["p_adjusted"]
    for name in ("difference", "difference_low", "difference_high"):  # the interval is its own
        assert many[name] == few[name]


def test_layers_without_variance_and_undetermined_rungs_are_nan() -> None:
    a, b = made_result(seed=1), made_result(seed=2)
    b.variance[1], b.errors[1] = 0.0, 0.0
    a.errors[0, :, RUNGS.index("inverse_linear")] = np.nan
    found = compare({"a": a, "b": b})
    dead = row(found, "b", "inverse", "rotation:90", "conv2")
    assert np.isnan([dead["value"], dead["difference"], dead["p_adjusted"]]).all()
    lost = row(found, "b", "inverse_linear", "rotation:90")
    assert lost["value"] > 0 and np.isnan([lost["difference"], lost["p_adjusted"]]).all()
    assert not lost["excludes_zero"]
    assert np.isfinite(row(found, "b", "best", "rotation:90")["p_adjusted"])


def test_means_are_over_a_kind_without_the_identity() -> None:
    plan = "rotation:0:90:30 scaling:2"
    found = compare({n: made_result(transforms=plan, seed=s) for s, n in enumerate("ab")})
    assert list(dict.fromkeys(found.means()["transform"])) == ["scaling:2", "mean of 3 rotations"]
    rows = found.table.query("network == 'b' and quantity == 'best' and layer == 'conv1'")
    single = rows[rows["transform"].isin(["rotation:30", "rotation:60", "rotation:90"])]
    mean = rows[rows["transform"] == "mean of 3 rotations"].iloc[0]
    assert mean["value"] == pytest.approx(single["value"].mean())
    assert mean["transforms"] == 3 and np.isnan(mean["parameter"]) and not mean["identity"]


def test_a_folder_loads_equal_and_is_not_half_written(tmp_path: Path) -> None:
    found = compare(
        {"0": made_result(layers=["1"]), "NA": made_result(seed=4, layers=["1"])}, along=[0, 5000]
    )
    found.save(tmp_path / "c")
    again = load_comparison(tmp_path / "c")
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.equals(found)
    assert again.networks == ("0", "NA") and again.layers == ("1",)
    assert again.along == {"0": 0.0, "NA": 5000.0}
    assert set(again.provenance["parts"]) == {"0", "NA"}
    with pytest.raises(ProbeError, match="already holds a result"):
        found.save(tmp_path / "c")
    found.save(tmp_path / "c", overwrite=True)
    text = (tmp_path / "c" / "pairs.csv").read_text()
    (tmp_path / "c" / "pairs.csv").write_text(text.rpartition("\n1")[0])
    with pytest.raises(ProbeError, match="damaged"):
        load_comparison(tmp_path / "c")


def test_a_notebook_shows_the_means() -> None:
    found = compare({"a": made_result(), "b": made_result(seed=4)})
    page = found._repr_html_()
    assert MEAN in page and "rotation:45" not in page and "<td>b</td>" in page
    assert repr(found) == "Comparison(a | b: 2 layers)"


# --- one plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            with_changes(made_result(), "images", sha256="cd" * 32),
            "sha256 of the images is abababababab in the one and cdcdcdcdcdcd in the other",
        ),
        (with_changes(made_result(), "images", canvas=[32, 32]), "canvas of the images is [28, 28"),
        (made_result(weighting="channel"), "the option weighting is 'raw' in the one and 'channel"),
        (made_result(erode=2.0), "the option erode is 'auto' in the one and 2.0 in the other"),
        (made_result(family="affine"), "the option family is none in the one and 'affine'"),
        (made_result(transforms="rotation:0:90:30"), "transformation 2 is 'rotation:45' in the on"),
        (made_result(transforms="rotation:0:45:45"), "transformation 3 is 'rotation:90' in the on"),
        (made_result(images=41), "evaluation image 41 is none in the one and 'image 40' in the"),
    ],
)
def test_other_plans_are_refused_in_one_line(changed: Result, message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        compare({"a": made_result(), "b": made_result(), "c": changed})
    said = str(caught.value)
    assert said.startswith("'a' and 'c' were not probed under one plan: ") and "\n" not in said
    assert message in said and said.endswith("; probe both the same way")


def test_another_order_of_the_images_is_another_plan() -> None:
    a = made_result()
    names = a.axes["image"]
    b = replace(a, axes={**a.axes, "image": (names[1], names[0], *names[2:])})
    with pytest.raises(ProbeError, match="evaluation image 1 is 'image 0' in the one and 'image 1"):
        compare([a, b])


def test_what_changes_no_number_may_differ_and_normalisation_is_told() -> None:
    b = made_result(batch_size=7, resamples=50, level=0.5)
    a = made_result(erode=0.0)
    del b.provenance["options"]["erode"]  # as in a result of a version without that option
    found = compare({"a": a, "b": with_changes(b, "images", mean=[0.5])})
    assert found.notes == ("mean of b is [0.5], that of a [0.1]",)
    assert found.provenance["bootstrap"] == {"level": 0.95, "resamples": 200, "seed": 0}


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", " -x", "@SUM(A1)"])
def test_names_that_spreadsheets_would_compute_are_refused(name: str) -> None:
    with pytest.raises(ProbeError, match="would be a formula where a spreadsheet opens"):
        compare({"a": made_result(), name: made_result()})


def test_rungs_that_one_result_lacks_are_named() -> None:
    less = made_result(rungs=("unaligned", "inverse", "input_aligned", "other_image"))
    found = compare({"a": made_result(), "b": less})
    assert found.quantities == ("inverse", "input_aligned", "other_image", "gain", "recovered")
    assert found.notes[0].startswith("not compared, since not every result has it: best, spatial_b")
    with pytest.raises(ProbeError, match="no quantity 'won_by_linear'; there are unaligned"):
        compare({"a": made_result(), "b": less}, quantities="won_by_linear")
    with pytest.raises(ProbeError, match="no quantity 'invers'; did you mean 'inverse'"):
        compare([less, less], quantities=["invers"])


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ([made_result()], {}, "1 result to compare; give two or more"),
        (made_result(), {}, "one result has nothing to be compared with"),
        ({"a": made_result(), "b": "folder"}, {}, "'b' is a str; give what probe"),
        ([made_result()] * 2, {"baseline": "nett"}, "no result 'nett'; did you mean 'net"),
        ([made_result()] * 2, {"along": [1]}, "along has 1 numbers for 2 results"),
        ([made_result()] * 2, {"along": {"net": 1, "x": 2}}, "along has 2 numbers for 2 results"),
        ([made_result()] * 2, {"along": [1, 1]}, "repeats a number"),
        ([made_result()] * 2, {"along": [1, "end"]}, "along='end' of 'net (2)' must be a number"),
        ([made_result()] * 2, {"level": 1.5}, "level=1.5 is out of range"),
        ([made_result()] * 2, {"layers": "conv3"}, "no layer 'conv3' in 'net'; did you mean"),
        ([made_result()] * 2, {"layers": {}}, "layers={} pairs nothing"),
    ],
)
def test_bad_input_is_one_line(results: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        compare(results, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


# --- layers --------------------------------------------------------------------------------------


def test_layers_pair_by_name_then_by_order_or_as_given() -> None:
    a = made_result(layers=["conv1", "conv2", "conv3"])
    b = made_result(layers=["conv2", "conv1"], seed=1)
    c = made_result(layers=["features.0", "features.3"], seed=2)
    paired, how, notes = pair_layers({"a": a, "b": b})
    assert list(paired) == ["conv1", "conv2"] and how == "by name"
    assert notes == ["layers of a without a namesake in every other result are left out: conv3"]
    paired, how, notes = pair_layers({"b": b, "c": c})
    assert paired == {
        "conv2 / features.0": ("conv2", "features.0"),
        "conv1 / features.3": ("conv1", "features.3"),
    }
    assert how == "by order" and "paired by their order" in notes[0]
    with pytest.raises(ProbeError, match=r"numbers differ \(3 in 'a', 2 in 'c'\); say which"):
        pair_layers({"a": a, "c": c})
    for entry in ({"c": "features.3", "a": "conv3"}, ("conv3", "features.3")):
        found = compare({"a": a, "c": c}, layers={"late": entry})
        assert found.layers == ("late",) and found.provenance["pairing"] == "as given"
        assert found.pairs[["network_layer", "place", "of"]].to_numpy().tolist() == [
            ["conv3", 3, 3],
            ["features.3", 2, 2],
        ]
        value = row(found, "c", "inverse", "rotation:90", "late")["value"]
        assert value == pytest.approx(c.errors[1, 2, 1].sum() / c.variance[1].sum())
    three = pair_layers({"b": b, "c": c, "d": made_result(layers=["x", "y"])})[0]
    assert list(three) == ["1: conv2, ...", "2: conv1, ..."]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"a": "conv1"}, "layers['early'] names a; give a layer for each of a, b"),
        (("conv1",), "'early' pairs 1 layers (conv1) of 2 results; give one for each of a, b"),
        (("conv1", "con2"), "no layer 'con2' in 'b'; did you mean 'conv2'"),
        ("other", "no layer 'other' in 'a'; there are conv1, conv2"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(entry: Any, message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        compare({"a": made_result(), "b": made_result()}, layers={"early": entry})
    assert message in str(caught.value)


# --- measured results ----------------------------------------------------------------------------


def test_probed_networks_keep_their_own_intervals_and_the_symmetric_one_wins_at_90() -> None:
    import torch
    from torch import nn

    from invariance_probe.networks import symmetrised

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    images = np.random.default_rng(0).random((24, 1, 16, 16), dtype=np.float32)
    results = {
        name: probe(module, "1", "rotation:45 rotation:90", images, channels=False, resamples=100)
        for name, module in (("plain", plain), ("twin", symmetrised(plain)))
    }
    found = compare(results)
    for name, result in results.items():
        for stored in result.residuals.query("transform == 'rotation:90'").to_dict("records"):
            if stored["rung"] not in found.quantities:
                continue
            one = row(found, name, stored["rung"], "rotation:90", "1")
            assert one["value"] == pytest.approx(stored["residual"], rel=1e-12, abs=1e-15)
            assert one["low"] == pytest.approx(stored["low"], rel=1e-12, abs=1e-15)
            assert one["high"] == pytest.approx(stored["high"], rel=1e-12, abs=1e-15)
    won = row(found, "twin", "inverse", "rotation:90", "1")
    assert won["value"] < 1e-6 and won["difference"] < -0.1 and won["excludes_zero"]
    other = probe(plain, "1", "rotation:45 rotation:90", images, channels=False, seed=1)
    with pytest.raises(ProbeError, match="the option seed is 0 in the one and 1 in the other"):
        compare({"a": results["plain"], "b": other})


def test_a_share_of_a_gap_that_is_hardly_there_does_not_blur_the_others() -> None:
    rung = list(RUNGS).index
    results = {}
    for name, seed, linear in (("a", 1, 0.3), ("b", 2, 0.6)):
        made = made_result(network=name, seed=seed, layers=("conv1",), images=80)
        made.errors[:, :, rung("inverse_linear")] *= linear / LEVELS[rung("inverse_linear")]
        # At 45 degrees moving the maps leaves the floor and no gap that a share could be of.
        floor = made.errors[:, 1, rung("input_aligned")]
        wobble = np.random.default_rng(seed).normal(1.03, 0.1, floor.shape)
        made.errors[:, 1, rung("inverse")] = floor * wobble
        results[name] = made
    rows = compare(results, quantities=["won_by_linear"], resamples=400).table
    rows = rows[rows["network"] == "b"].set_index("transform")
    clear = rows.loc["rotation:90"]
    assert clear["difference_high"] < -0.2 and clear["p_adjusted"] < 0.01
