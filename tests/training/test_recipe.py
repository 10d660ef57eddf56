"""Recipes: lengths, schedules, checks, and what JSON gives back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe import ProbeError
from invariance_probe.training import Recipe


def test_length_in_epochs_or_iterations() -> None:
    assert Recipe().epochs == 10
    assert Recipe(epochs=3, batch_size=256).steps(60_000) == 3 * 235
    assert Recipe(iterations=150_000).steps(60_000) == 150_000
    assert Recipe(batch_size=256).per_epoch(60_000) == 235
    with pytest.raises(ProbeError, match="3 epochs and 7 iterations; give one of the two"):
        Recipe(epochs=3, iterations=7)


def test_step_schedule_in_iterations() -> None:
    recipe = Recipe(iterations=150_000, learning_rate=0.01, schedule="step", switch_after=50_000)
    steps = (0, 49_999, 50_000, 99_999, 100_000, 149_999)
    assert [recipe.rate(s, 150_000) for s in steps] == pytest.approx(
        [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    )


@given(st.integers(1, 500), st.sampled_from(["onecycle", "step", "constant"]))
def test_rates_are_positive_and_at_most_the_highest(steps: int, schedule: str) -> None:
    recipe = Recipe(iterations=steps, learning_rate=0.3, schedule=schedule)
    rates = [recipe.rate(s, steps) for s in range(steps)]
    assert all(0 < rate <= 0.3 for rate in rates)


def test_json_gives_it_back() -> None:
    recipe = Recipe(iterations=7, schedule="step", switch_after=2, clip=1.5, compile=True)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    assert Recipe.from_dict({"epochs": 4}) == Recipe(epochs=4)


def test_changed() -> None:
    recipe = Recipe(iterations=7, schedule="step", switch_after=2)
    assert recipe.changed({"epochs": 2}).steps(128) == 2
    assert recipe.changed({"schedule": "constant"}).switch_after is None
    assert recipe.changed({"batch_size": 3}).iterations == 7
    with pytest.raises(ProbeError, match="no field 'learning_rat'; did you mean 'learning_rate'"):
        recipe.changed({"learning_rat": 1})
    with pytest.raises(ProbeError, match="no field 'q'; give one of epochs, batch_size"):
        recipe.changed({"q": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations=0 is out of range; give a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"report_every": 0}, "report_every=0"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
        ({"batch_size": True}, "batch_size=True must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate='fast' must be a number"),
        ({"compile": 1}, "compile=1 must be true or false"),
        ({"precision": "float16"}, "unknown precision 'float16'; give 'float32' or 'bfloat16'"),
        ({"learning_rate": math.inf}, "learning rate inf"),
        ({"localisation_factor": -1}, "localisation factor -1, clip None; give a factor >= 0"),
        ({"clip": 0}, "clip 0; give a factor >= 0 and a clip > 0"),
        ({"switch_after": 5}, "switch_after 5 has no meaning in the schedule 'onecycle'"),
    ],
)
def test_values_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError, match=message) as caught:
        Recipe(**change)
    assert "\n" not in str(caught.value)
