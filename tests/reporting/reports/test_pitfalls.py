"""Pitfalls: every warning finds its explanation, and derived ones appear when they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from invariance_probe.probing import Result
from invariance_probe.reporting.reports.text.pitfalls import pitfalls


@pytest.fixture(scope="module")
def plain(make_result: Callable[..., Result]) -> Result:
    return make_result("rotation:90", layers=("conv1", "conv2"))


@pytest.mark.parametrize(
    ("warning", "title"),
    [
        ("images: beyond the source of 28x28 the border is filled with 0", "Borders"),
        ("images: the source is 260x260 instead of 322x322 because the", "Borders: no real"),
        ("images: 1 of 60 lie outside the folder, behind links (a.png)", "Images behind links"),
        ("images: 1 of 60 cannot be decoded (a.png)", "Remarks on the images"),
        ("preprocessing: canvas 28x28 guessed, because", "Canvas or normalisation guessed"),
        ("grid of conv1: the map's centre lies (0.5, 0.5) px off", "Grid offset"),
        ("frame of conv1: estimated from gradients", "Frame estimated"),
        ("cells of conv1: only 4 of 100 stay inside", "Few cells"),
        ("sample: 12 evaluation images", "Few images"),
        ("channels of conv1: 3 of 64 never vary", "Channels that never vary"),
        ("channel maps of conv1: not determined", "Channel maps not determined"),
        ("checkpoint: two names differ", "Remarks on the checkpoint"),
    ],
)
def test_every_warning_is_explained(plain: Result, warning: str, title: str) -> None:
    result = replace(plain, provenance=dict(plain.provenance, warnings=[warning]))
    (found,) = [one for one in pitfalls([("run", result)], []) if one.title.startswith(title)]
    assert found.seen and found.seen[0] in warning
    assert found.means and found.remedy


def test_an_unknown_warning_speaks_for_itself_and_a_guess_comes_before_borders(
    plain: Result,
) -> None:
    said = ["something new", "grid of conv1: off", "preprocessing: mean 0 guessed, because"]
    result = replace(plain, provenance=dict(plain.provenance, warnings=said))
    guess, grid, other = pitfalls([("run", result)], [])
    assert (guess.title, grid.seen) == ("Canvas or normalisation guessed", ("grid of conv1: off",))
    assert other.seen == ("something new",) and not other.means + other.remedy


def test_a_warning_of_several_runs_is_said_once(plain: Result) -> None:
    result = replace(plain, provenance=dict(plain.provenance, warnings=["sample: 12 images"]))
    both = pitfalls([("a", result), ("b", result)], [])
    assert [one.seen for one in both] == [("12 images",)]
    one = pitfalls([("a", result), ("b", plain)], [])
    assert one[0].seen == ("12 images (a)",)


def test_undetermined_channel_maps_are_found_in_the_table(probed: Result) -> None:
    table = probed.channels.assign(determined=probed.channels["layer"] != "conv2")
    found = pitfalls([("run", replace(probed, channels=table))], [])
    seen = next(one.seen for one in found if one.title == "Channel maps not determined")
    assert len(seen) == 1 and seen[0].startswith("conv2: ")


def test_channel_maps_from_fewer_than_twenty_samples_a_channel_are_named(probed: Result) -> None:
    channels = dict(zip(probed.layers["layer"], probed.layers["channels"], strict=True))
    enough = [20 * channels[layer] for layer in probed.channels["layer"]]
    own = (probed.channels["layer"] == "conv2").astype(int)
    title = "Channel maps from few samples"
    for less, told in ((0, []), (1, [f"conv2: {20 * channels['conv2'] - 1} samples"])):
        table = probed.channels.assign(samples=enough - less * own, determined=True)
        found = pitfalls([("run", replace(probed, channels=table))], [])
        seen = [line for one in found if one.title == title for line in one.seen]
        assert [line.partition(" (")[0] for line in seen] == told


def test_searches_that_did_not_converge_or_looked_outside_are_named(probed: Result) -> None:
    table = probed.alignments.copy()
    table["status"], table["coverage"], table["runner_up_residual"] = "converged", 1.0, 99.0
    clean = replace(probed, alignments=table)
    titles = [one.title for one in pitfalls([("run", clean)], [])]
    assert not [title for title in titles if "search" in title.lower() or "edge" in title]
    moved = ~table["identity"].astype(bool)
    table.loc[moved, "status"], table.loc[moved, "coverage"] = "bound", 0.2
    table["runner_up_residual"] = table["fit_residual"]
    titles = [one.title for one in pitfalls([("run", replace(probed, alignments=table))], [])]
    assert "Searches that ended without a clear minimum" in titles
    assert "Best alignments that look past the map's edge" in titles
    assert "The best alignment is not unique" in titles


def test_few_images_are_a_pitfall_without_a_warning(plain: Result) -> None:
    from invariance_probe.reporting.reports.text.numbers import kind_numbers

    found = pitfalls([("run", plain)], kind_numbers(plain))
    assert any(one.title == "Few images" and one.seen == ("12 evaluation images",) for one in found)
