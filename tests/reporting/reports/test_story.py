"""What the sentences claim: every condition under which one says more or less."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.reporting.reports.text.headline import headline
from invariance_probe.reporting.reports.text.numbers import (
    Estimate,
    KindNumbers,
    LayerNumbers,
    OracleNumbers,
    TreatmentNumbers,
    kind_numbers,
)
from invariance_probe.reporting.reports.text.story import (
    answer,
    caveats,
    channel_sentence,
    oracle_sentence,
    search_sentence,
    state,
    verdict,
)

NAN = Estimate(float("nan"), float("nan"), float("nan"))
FULLY = "as well as aligning the input does"


def about(value: float, reach: float = 0.02) -> Estimate:
    return Estimate(value, value - reach, value + reach)


def layer(name: str = "conv1", **given_: Any) -> LayerNumbers:
    values = {
        "gain": about(0.4), "won": about(0.6), "span": about(1.5), "excess": about(0.9),
        "attribution": about(0.05), "inverse": about(1.2), "searched": about(0.0),
        "permuted": about(0.9), "linear": about(0.3), "relieved": about(0.9),
    }  # fmt: skip
    return LayerNumbers(name, **{**values, **given_})


def kind(*layers: LayerNumbers, images: int = 100, **given_: Any) -> KindNumbers:
    values: dict[str, Any] = {
        "kind": "rotation", "transforms": ("rotation:90",), "parameters": (90.0,),
        "families": ("similarity",),
    }  # fmt: skip
    return KindNumbers(images=images, layers=layers, **{**values, **given_})


# --- the state of a layer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.97, 0.95, 1.01), "full"),
        ((1.2, 1.1, 1.3), "full"),
        ((0.97, 0.96, 0.98), "nearly"),
        ((0.9, 0.8, 1.0), "open"),
        ((0.4, 0.3, 0.5), "partly"),
        ((0.94, 0.93, 0.999), "partly"),
        ((0.1, 0.0, 0.2), "none"),
        ((-0.1, -0.2, 0.0), "none"),
        ((-0.3, -0.4, -0.1), "worse"),
        ((0.5, -0.1, 1.1), "wide"),
        ((0.5, 0.0, 1.0), "wide"),
    ],
)
def test_the_state_follows_from_the_ends_of_the_interval(
    ends: tuple[float, float, float], expected: str
) -> None:
    assert state(layer(gain=Estimate(*ends))) == expected


def test_without_a_range_between_floor_and_ceiling_nothing_is_read() -> None:
    assert state(layer(span=Estimate(0.1, -0.01, 0.2))) == "unread"
    assert state(layer(span=Estimate(0.1, 0.0, 0.2))) == "unread"
    assert state(layer(gain=NAN)) == "unread"


@given(st.tuples(*[st.floats(-2, 3)] * 3))
def test_full_alignment_is_claimed_of_no_layer_whose_interval_excludes_it(
    ends: tuple[float, float, float],
) -> None:
    low, value, high = sorted(ends)
    said = verdict(kind(layer(gain=Estimate(value, low, high))))
    if FULLY in said and "nearly" not in said:
        assert high >= 1 and low >= 0.95
    if "does not align" in said:
        assert high < 1
    if high >= 1 and low < 0.95:
        assert "not excluded" in said or "open" in said


# --- the verdict --------------------------------------------------------------------------------


def test_all_layers_aligned() -> None:
    said = verdict(kind(layer("a", gain=about(0.99)), layer("b", gain=about(1.0))))
    assert f"aligns both layers {FULLY}, within the intervals" in said
    assert " not " not in said


def test_no_layer_aligned() -> None:
    said = verdict(kind(*(layer(name) for name in "abc")))
    assert "aligns none of the 3 layers fully" in said
    assert "40\u00a0% [38, 42] (a)" in said


def test_one_layer_is_named() -> None:
    said = verdict(kind(layer()))
    assert said.startswith("Under a rotation by 90°, moving the feature maps back does not align")
    assert "does not align conv1 fully; it wins 40\u00a0% [38, 42] of what" in said


def test_some_layers_aligned_and_others_not() -> None:
    said = verdict(kind(layer("a", gain=about(1.0)), layer("b")))
    assert f"aligns a {FULLY}, within the intervals, but not b" in said


def test_an_undecided_layer_is_not_counted_as_failed() -> None:
    said = verdict(kind(layer("a", gain=about(0.9, 0.2)), layer("b")))
    assert "does not align b fully" in said
    assert "full alignment is not excluded at a" in said
    assert "none of" not in said


def test_only_undecided_layers() -> None:
    said = verdict(kind(layer("a", gain=about(0.9, 0.2))))
    assert "leaves open whether" in said
    wide = verdict(kind(layer("a", gain=about(0.5, 0.7))))
    assert "leaves open whether" in wide and "too wide to distinguish none from all" in wide


def test_an_undecided_layer_is_not_said_to_be_missed_by_the_aligned_ones() -> None:
    said = verdict(kind(layer("a", gain=about(1.0)), layer("b", gain=about(0.9, 0.2))))
    assert "but not" not in said
    assert "not excluded at b" in said


def test_nearly_is_not_fully() -> None:
    said = verdict(kind(layer("a", gain=Estimate(0.97, 0.96, 0.98))))
    assert "aligns a nearly, but not quite" in said


def test_rounding_is_no_shortfall() -> None:
    """A network that is exactly equivariant misses 1 by the rounding of float32."""
    exact = Estimate(1 - 1e-12, 1 - 2e-12, 1 - 1e-13)
    assert state(layer(gain=exact)) == "full"
    assert state(layer(gain=Estimate(0.999, 0.998, 0.9999))) == "nearly"
    tiny = Estimate(2e-13, 1e-13, 3e-13)
    assert "nothing that beats" in search_sentence(kind(layer(searched=tiny)))
    said = channel_sentence(kind(layer(inverse=tiny, linear=about(0.2), relieved=about(-0.2))))
    assert said.endswith("nothing is left for a map of the channels to restore.")


def test_what_cannot_be_told_from_nothing_is_said() -> None:
    said = verdict(kind(layer("a", gain=about(0.0)), layer("b", gain=about(-0.5))))
    assert "at a that is not distinguishable from nothing" in said
    assert "at b they end farther off than with nothing done" in said


def test_what_is_left_beyond_the_floor_is_said_where_it_is_there() -> None:
    said = verdict(kind(layer("a"), layer("b", gain=about(1.0), excess=about(0.0))))
    assert (
        "stay 0.90 [0.88, 0.92] of the variance farther off than the aligned input's at a" in said
    )
    assert "farther off" not in verdict(kind(layer(gain=about(1.0), excess=about(0.0))))


def test_what_interpolation_may_leave_is_no_misalignment() -> None:
    said = verdict(kind(layer("a", gain=about(0.9), attribution=about(0.7)), layer("b")))
    assert "does not align b fully" in said
    assert (
        "at a interpolation alone may leave as much, and denser maps (--dense auto) would decide"
        in said
    )
    assert state(layer(gain=about(0.9), attribution=about(0.3))) == "partly"


def test_a_layer_that_cannot_be_read_is_named_and_left_out() -> None:
    said = verdict(kind(layer("a"), layer("flat", span=about(0.0))))
    assert "flat cannot be read" in said
    assert "(flat)" not in said
    nothing = verdict(kind(layer("flat", span=about(0.0))))
    assert "no statement is made" in nothing and "%" not in nothing


@pytest.mark.parametrize("images", [2, 9])
def test_few_images_allow_no_statement(images: int) -> None:
    said = verdict(kind(layer(gain=about(1.0)), images=images))
    assert "no statement is made" in said and str(images) in said
    assert FULLY not in said
    assert search_sentence(kind(layer(), images=images)) == ""
    assert channel_sentence(kind(layer(), images=images)) == ""


def test_many_layers_are_counted() -> None:
    layers = [layer(f"l{n}", gain=about(1.0 if n < 5 else 0.3)) for n in range(9)]
    said = verdict(kind(*layers))
    assert "aligns 5 of the 9 layers" in said and "but not 4 of the 9 layers" in said


# --- the search ---------------------------------------------------------------------------------


def test_the_search_is_credited_only_beyond_its_interval() -> None:
    nothing = search_sentence(kind(layer(searched=about(0.01))))
    assert "finds nothing that beats" in nothing
    better = search_sentence(kind(layer("a", searched=about(0.1)), layer("b")))
    assert better.endswith("h⁻¹, does at a, by 0.10 [0.08, 0.12] of the variance.")
    assert search_sentence(kind(layer(searched=NAN))) == ""


# --- channels -----------------------------------------------------------------------------------


def test_a_channel_map_that_restores_is_credited() -> None:
    said = channel_sentence(kind(layer()))
    assert "explains 70\u00a0% [68, 72] of the variance" in said
    assert "leave a residual of 1.20 [1.18, 1.22]" in said


def test_predicting_the_mean_is_no_restoration() -> None:
    said = channel_sentence(
        kind(layer(inverse=about(1.8), linear=about(0.99), relieved=about(0.8)))
    )
    assert "restores nothing detectable" in said and "explains" not in said


def test_a_map_that_does_not_help_is_not_credited() -> None:
    said = channel_sentence(kind(layer(inverse=about(0.3), linear=about(0.3), relieved=about(0.0))))
    assert "restores nothing detectable" in said


def test_maps_that_are_not_determined_are_said_to_be() -> None:
    none = channel_sentence(kind(layer(linear=NAN, relieved=NAN)))
    assert "not determined: too few samples" in none
    some = channel_sentence(kind(layer("a"), layer("b", linear=NAN, relieved=NAN)))
    assert "not determined at b" in some


# --- the classifier -----------------------------------------------------------------------------


def oracle(*layers: TreatmentNumbers, **given_: Any) -> OracleNumbers:
    values: dict[str, Any] = {
        "kind": "rotation", "transforms": ("rotation:90",), "parameters": (90.0,),
        "measure": "accuracy", "images": 100, "untransformed": 0.99, "nothing": about(0.2),
        "input_aligned": about(0.97),
    }  # fmt: skip
    return OracleNumbers(layers=layers, **{**values, **given_})


def treated(name: str, inverse: float, linear: Estimate, over: float, under: float) -> Any:
    return TreatmentNumbers(name, about(inverse), linear, about(over), about(under))


def test_the_classifier_is_compared_where_the_differences_allow() -> None:
    said = oracle_sentence(
        oracle(
            treated("a", 0.05, about(0.9), -0.15, -0.9),
            treated("b", 0.2, about(0.9), 0.0, -0.8),
            treated("c", 0.97, NAN, 0.77, 0.0),
        )
    )
    assert "worse than doing nothing, at a;" in said
    assert "no detectable difference from doing nothing, at b;" in said
    assert "better than doing nothing, at c;" in said
    assert "short of the aligned input at a and b" in said
    assert "with its channels mapped too, 90\u00a0% [88, 92]" in said
    assert "every layer" not in said


def test_agreement_is_not_called_right() -> None:
    said = oracle_sentence(oracle(measure="agreement", untransformed=1.0))
    assert "keeps its answer" in said and "is right" not in said and "untransformed" not in said


def test_few_images_allow_no_statement_on_the_classifier() -> None:
    assert "no statement is made" in oracle_sentence(oracle(images=5))


# --- the whole ----------------------------------------------------------------------------------


def test_the_answer_has_three_sentences_and_a_verdict_per_kind() -> None:
    one = kind(layer(searched=about(0.1)))
    two = kind(layer(), kind="scaling", transforms=("scaling:2",), parameters=(2.0,))
    assert len(answer([one], [])) == 3
    assert len(answer([one], [oracle()])) == 3
    both = answer([one, two], [oracle()])
    assert len(both) == 3
    assert both[0].startswith("Under a rotation") and both[1].startswith("Under a scaling by 2")
    assert "classifier" in both[2]
    assert len(answer([one, two, one, two], [oracle()])) == 4


def test_caveats_name_small_samples_and_narrow_gaps() -> None:
    assert any("rough" in one for one in caveats([kind(layer())], 0.95, 12))
    assert not any("rough" in one for one in caveats([kind(layer())], 0.95, 30))
    narrow = caveats([kind(layer(span=Estimate(0.1, 0.05, 0.15)))], 0.95, 100)
    assert any("conv1" in one and "mean little" in one for one in narrow)
    assert "90\u00a0%" in caveats([], 0.9, 50)[0]


def test_caveats_give_every_run_its_own_number_of_images_and_level() -> None:
    several = caveats([], [0.9, 0.95, 0.9], [500, 12, 20, 12])
    assert several[0].startswith(
        "Brackets hold 90\u00a0% or 95\u00a0% intervals over the 12, 20 or 500 "
        "evaluation images, by run. They"
    )
    assert several[1] == "With 12 or 20 evaluation images the intervals themselves are rough."
    assert "the 50 evaluation images. They" in caveats([], [0.95, 0.95], [50, 50])[0]


def test_numbers_are_those_of_the_ladder(make_result: Any) -> None:
    from invariance_probe.reporting import ladder_table

    result = make_result()
    table = ladder_table(result).set_index(["kind", "layer", "rung"])
    for numbers, each in itertools.product(kind_numbers(result), result.axes["layer"]):
        mine = next(one for one in numbers.layers if one.layer == each)
        row = table.loc[(numbers.kind, each, "gain")]
        np.testing.assert_allclose(
            (mine.gain.value, mine.gain.low, mine.gain.high),
            (row["residual"], row["low"], row["high"]),
            rtol=1e-9,
        )
        assert numbers.images == 12
        inverse = table.loc[(numbers.kind, each, "inverse")]
        assert mine.inverse.value == pytest.approx(inverse["residual"])


def test_a_dead_layer_has_no_numbers(make_result: Any) -> None:
    with np.errstate(invalid="ignore"):
        (numbers,) = kind_numbers(make_result("rotation:90", dead=("conv1",)))
    assert state(numbers.layers[0]) == "unread"


def test_several_runs_of_one_kind_are_told_apart() -> None:
    said = verdict(kind(layer(), where="“twin”"))
    assert said.startswith("In “twin”, under a rotation by 90°, moving")


# --- the headline -------------------------------------------------------------------------------

FULL_GAIN, HALF_OPEN = Estimate(1.0, 0.96, 1.04), Estimate(0.5, -0.1, 1.1)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((about(0.4), about(0.1)), "wins 10 % [8, 12] (conv1) to 40 % [38, 42] (conv0) of what "
         "moving the input wins; it aligns no layer fully."),
        ((FULL_GAIN, about(0.1)), "wins 10 % [8, 12] (conv1) to 100 % [96, 104] (conv0) of what "
         "moving the input wins; it aligns 1 of 2 layers fully."),
        ((HALF_OPEN, about(0.1)), "wins 10 % [8, 12] of what moving the input wins; it aligns no "
         "layer fully (1 undecided)."),
        ((about(-0.4), about(0.1)), "wins at most 10 % [8, 12] (conv1) of what moving the input "
         "wins and does harm at conv0; it aligns no layer fully."),
        ((about(0.0), about(0.01)), "wins nothing detectable of what moving the input wins; it "
         "aligns no layer fully."),
        ((about(0.4),), "wins 40 % [38, 42] of what moving the input wins; it does not align conv0 "
         "fully."),
        ((FULL_GAIN,), "wins 100 % [96, 104] of what moving the input wins; it aligns conv0 "
         "fully."),
        ((HALF_OPEN,), "wins an undecided share of what moving the input wins; whether it aligns "
         "conv0 fully is undecided."),
    ],
)  # fmt: skip
def test_the_headline_says_what_moving_wins_and_how_many_layers_are_aligned(
    gains: Any, said: str
) -> None:
    layers = [layer(f"conv{number}", gain=gain) for number, gain in enumerate(gains)]
    head = "Under a rotation by 90°, moving the feature maps back "
    assert headline([kind(*layers)], []).replace("\u00a0", " ") == head + said


def test_the_headline_says_what_it_is_worth_to_the_classifier() -> None:
    layers = treated("a", 0.05, about(0.9), -0.15, -0.9), treated("b", 0.1, NAN, 0.0, -0.8)
    said = headline([], [oracle(*layers)]).replace("\u00a0", " ")
    assert said == (
        "The classifier is right for 99 % of the images as they are, for 20 % under a rotation by "
        "90°, for 10 % at best with a layer's maps moved back, and for 97 % with the input moved "
        "back."
    )
    scaled = oracle(*layers, kind="scaling", transforms=("scaling:2",), parameters=(2.0,))
    more = headline([], [oracle(*layers), oracle(*layers), scaled]).replace("\u00a0", " ")
    assert more == (
        f"{said} Under a scaling by 2 it is right for 20 % of the images, for 10 % at best with a "
        "layer's maps moved back, and for 97 % with the input moved back."
    )
    said = headline([], [oracle(*layers, measure="agreement")])
    assert "keeps its answer for 20\u00a0% of the images under" in said and "99" not in said


def test_the_headline_says_nothing_of_few_images_or_of_what_cannot_be_read() -> None:
    few = "These images allow no answer."
    assert headline([kind(layer(), images=5)], [oracle(images=5)]) == few
    assert headline([kind(layer(span=about(0.0)))], []) == few
