"""The result as a value: tables, sums per image, and the way to disk and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scenes import noise
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import affine, rotation, rotations, scaling, shear
from invariance_probe.probing import RUNGS, Result, load_result, probe
from invariance_probe.running.storage import TABLES

MOVES = [rotation(-30), rotation(0), scaling(1.25), shear(0.1, 0.2), affine(1, 0.1, 2, 0, 1, 0)]


@pytest.fixture(scope="module")
def result() -> Result:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, stride=2))
    return probe(network, ["0", "2"], MOVES, noise(10, 18, 14), resamples=20)


def variants() -> dict[str, Result]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
    dull = nn.Sequential(nn.Conv2d(1, 2, 3))
    dull[0].weight.data.zero_()
    images = np.random.default_rng(0).random((6, 1, 12, 12)).astype(np.float32)
    names = ["a,b.png", 'say "hi"', "NaN", "", "ünï", "None"]
    named = array_images(images, names=names, background=0.2)
    return {
        "fill, odd names": probe(network, "0", [rotation(30)], named, resamples=20),
        "constant": probe(dull, "0", [rotation(30)], named, resamples=20),
        "composition": probe(network, "*", rotations(-90, 180, step=90), named, resamples=20),
        "plain": probe(network, "1", [scaling(1.2)], named, channels=False, resamples=20),
        "per image": probe(network, "1", [scaling(1.2)], named, per_image=True, resamples=20),
    }


def test_what_is_loaded_equals_what_was_saved(result, tmp_path):
    loaded = load_result(result.save(tmp_path / "out"))
    assert loaded.equals(result) and result.equals(loaded)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(result, name))
    assert loaded.axes == result.axes
    assert loaded.warnings == result.warnings
    assert set(loaded.extra) == set(result.extra) != set()
    assert load_result(loaded.save(tmp_path / "again")).equals(result)


@pytest.mark.parametrize(
    "name", ["fill, odd names", "constant", "composition", "plain", "per image"]
)
def test_every_kind_of_result_survives_the_disk(name, tmp_path):
    result = variants()[name]
    loaded = load_result(result.save(tmp_path / "out"))
    assert loaded.equals(result)
    for table in TABLES:
        one, two = getattr(loaded, table), getattr(result, table)
        pd.testing.assert_frame_equal(one, two, check_index_type=bool(len(one)))


def test_floats_in_csv_are_exact(result, tmp_path):
    folder = result.save(tmp_path / "out")
    texts = pd.read_csv(folder / "residuals.csv", dtype=str)["residual"]
    assert [float(text) for text in texts.fillna("nan")] == pytest.approx(
        result.residuals["residual"].tolist(), rel=0, abs=0, nan_ok=True
    )


@pytest.mark.parametrize("name", ["residuals", "summary", "alignments", "channels", "layers"])
def test_another_number_is_another_result(result, name):
    table = getattr(result, name).copy()
    column = table.select_dtypes("float").columns[-1]
    table.loc[0, column] = np.nextafter(np.nan_to_num(table.loc[0, column]), 9)
    assert not result.equals(replace(result, **{name: table}))


def test_other_sums_axes_extras_or_provenance_are_another_result(result):
    key = next(iter(result.extra))
    changes = {
        "errors": result.errors + 1e-12,
        "variance": result.variance * 2,
        "axes": {**result.axes, "image": tuple("abcde")},
        "extra": {**result.extra, key: result.extra[key] + 1},
        "provenance": {**result.provenance, "warnings": []},
    }
    for name, value in changes.items():
        assert not result.equals(replace(result, **{name: value})), name
    assert result.equals(replace(result))


def test_one_row_per_layer_transform_and_rung(result):
    layers, moves, rungs, images = result.errors.shape
    assert (layers, moves, images) == (2, 5, 5)
    assert result.axes["rung"] == tuple(rung for rung in RUNGS if rung != "best_per_image")
    assert len(result.residuals) == layers * moves * rungs
    assert not result.residuals.duplicated(["layer", "transform", "rung"]).any()
    assert len(result.summary) == len(result.alignments) == layers * moves
    assert (result.residuals["images"] == 5).all()
    known = result.residuals.dropna(subset="residual")
    assert (known["low"] <= known["residual"] + 1e-12).mean() > 0.9
    assert (known["low"] <= known["high"]).all()
    first = result.residuals.iloc[0]
    assert (first["kind"], first["parameter"], bool(first["identity"])) == (
        "rotation",
        -30.0,
        False,
    )


def test_summary_and_residuals_agree(result):
    wide = result.residuals.pivot(index=["layer", "transform"], columns="rung", values="residual")
    summary = result.summary.set_index(["layer", "transform"])[list(result.axes["rung"])]
    pd.testing.assert_frame_equal(
        wide.sort_index()[list(summary)], summary.sort_index(), check_names=False
    )


def test_sums_per_image_give_the_residuals(result):
    table = result.per_image()
    assert list(table) == ["layer", "transform", "rung", "image", "squared_error", "variance"]
    sums = table.groupby(["layer", "transform", "rung"], sort=False).sum(numeric_only=True)
    ratio = (sums["squared_error"] / sums["variance"]).to_numpy()
    # Sums skip what is not determined.
    known = result.residuals["residual"].notna().to_numpy()
    np.testing.assert_allclose(ratio[known], result.residuals["residual"][known], rtol=1e-12)


def test_the_ladder_of_one_transform_and_of_all(result):
    one = result.ladder("scaling:1.25")
    assert one.equals(result.ladder(scaling(1.25)))
    assert list(one.index) == ["0", "2"] and list(one.columns) == list(result.axes["rung"])
    rows = result.residuals[result.residuals["rung"] == "inverse"]
    there = rows[(rows["layer"] == "2") & (rows["transform"] == "scaling:1.25")]
    assert one.loc["2", "inverse"] == there["residual"].iloc[0]
    moving = rows[(rows["layer"] == "2") & ~rows["identity"]]
    assert result.ladder().loc["2", "inverse"] == pytest.approx(moving["residual"].mean())


def test_a_transform_that_was_not_measured_is_refused(result):
    with pytest.raises(ProbeError, match=r"no transform 'rotation:31' .*; there are rotation:-30"):
        result.ladder("rotation:31")


def test_a_result_shows_itself(result):
    assert repr(result) == "Result(2 layers x 5 transforms, 5 evaluation images)"
    assert "<table" in result._repr_html_()


def test_arrays_that_do_not_fit_together_are_refused(result, tmp_path):
    folder = replace(result, errors=result.errors[:, :2]).save(tmp_path / "out")
    with pytest.raises(
        ProbeError, match=r"is damaged \(errors has shape .* not fit its names\); run"
    ):
        load_result(folder)
