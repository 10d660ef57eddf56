"""Runs of transformations and their text."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    identity,
    parse_transforms,
    reflection,
    rotation,
    rotations,
    scaling,
    scalings,
    shear,
    translation,
)


def test_rotations_include_both_ends() -> None:
    assert [h.parameter for h in rotations(-30, 45, step=15)] == [-30, -15, 0, 15, 30, 45]


def test_rotations_stop_short_of_an_end_that_the_step_misses() -> None:
    assert [h.parameter for h in rotations(0, 50, step=20)] == [0, 20, 40]


def test_a_single_rotation_is_a_run() -> None:
    assert rotations(30, 30, step=5) == (rotation(30),)


@pytest.mark.parametrize(("start", "stop"), [(-180, 180), (0, 360), (-90, 270), (0, 1000)])
def test_a_full_turn_has_each_direction_once(start: float, stop: float) -> None:
    run = rotations(start, stop, step=15)
    directions = {tuple(np.round(h.matrix, 9).ravel()) for h in run}
    assert len(run) == len(directions) == 24


@given(st.integers(1, 40), st.floats(0.01, 9, allow_nan=False), st.floats(-170, -100))
def test_number_of_rotations_survives_rounding(number: int, step: float, start: float) -> None:
    stop = start + step * (number - 1)
    run = rotations(start, stop, step=step)
    if stop - start < 360:
        assert len(run) == number
        assert run[-1].isclose(rotation(stop), 1e-9)


def test_tenth_degrees_hit_the_identity_within_rounding() -> None:
    run = rotations(-1, 1, step=0.1)
    assert len(run) == 21
    assert run[10].isclose(identity(), 1e-12)


@pytest.mark.parametrize("arguments", [(0.5, 2, 9), (2, 0.5, 5), (0.25, 4, 13), (1 / 3, 3, 11)])
def test_scalings_are_equal_steps_in_log_scale(arguments: tuple[float, float, int]) -> None:
    start, stop, number = arguments
    factors = [h.parameter for h in scalings(start, stop, number=number)]
    np.testing.assert_allclose(factors, np.geomspace(start, stop, number), rtol=1e-12)
    assert (factors[0], factors[-1]) == (start, stop)
    assert factors[number // 2] == 1.0, "the identity is exact, so that no resampling happens there"


def test_one_scaling_is_a_run() -> None:
    assert scalings(2, 2, number=1) == (scaling(2),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identity", (identity(),)),
        ("rotation:30", (rotation(30),)),
        ("rotation:-90:90:90", (rotation(-90), rotation(0), rotation(90))),
        ("scaling:0.5", (scaling(0.5),)),
        ("scaling:2,3", (scaling(2, 3),)),
        ("scaling:0.5:2:3", (scaling(0.5), scaling(1), scaling(2))),
        ("translation:4,-2", (translation(4, -2),)),
        ("reflection:90", (reflection(90),)),
        ("shear:0.5", (shear(0.5),)),
        ("shear:0.5,0.25", (shear(0.5, 0.25),)),
        ("rotation:1e1", (rotation(10),)),
    ],
)
def test_text_is_read(text: str, expected: tuple[object, ...]) -> None:
    assert parse_transforms(text) == expected


@pytest.mark.parametrize("text", ["rotation:30 scaling:2", " rotation:30;scaling:2 ; "])
def test_several_are_joined_by_spaces_or_semicolons(text: str) -> None:
    assert parse_transforms(text) == (rotation(30), scaling(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no transformation in ''; write for example rotation:30"),
        (" ; ", r"no transformation in ' ; '"),
        ("rotatoin:30", r"unknown transformation 'rotatoin:30'; did you mean 'rotation'\?"),
        ("zzz:1", r"unknown transformation 'zzz:1'; write for example rotation:30"),
        ("rotation:thirty", r"cannot read the numbers in 'rotation:thirty'"),
        ("rotation:", r"cannot read the numbers in 'rotation:'"),
        ("rotation", r"'rotation' has the wrong number of parameters; write for example"),
        ("rotation:1,2", r"'rotation:1,2' has the wrong number of parameters"),
        ("rotation:1:2", r"'rotation:1:2' has the wrong number of parameters"),
        ("translation:1:2:3", r"'translation:1:2:3' has the wrong number of parameters"),
        ("scaling:1:2:2.5", r"'scaling:1:2:2.5' has the wrong number of parameters"),
        ("scaling:1:2:nan", r"'scaling:1:2:nan' has the wrong number of parameters"),
        ("scaling:1:2:inf", r"'scaling:1:2:inf' has the wrong number of parameters"),
        ("scaling:-2", r"scaling\(-2.0\) needs positive factors"),
        ("scaling:0:2:5", r"scalings\(0, 2, number=5\) needs positive ends"),
        ("rotation:0:90:-5", r"rotations\(0, 90, step=-5\) needs start <= stop and step > 0"),
        ("rotation:nan", r"rotation\(nan\) has a parameter that is not finite"),
        ("rotation:30 scalling:2", r"unknown transformation 'scalling:2'; did you mean 'scaling'"),
    ],
)
def test_text_that_is_not_understood_is_quoted_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        parse_transforms(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotations(0, 90, step=0), r"rotations\(0, 90, step=0\) needs start <= stop"),
        (lambda: rotations(90, 0, step=5), r"rotations\(90, 0, step=5\) needs start <= stop"),
        (lambda: rotations(0, math.inf, step=5), r"needs start <= stop"),
        (lambda: rotations(0, math.nan, step=5), r"needs start <= stop"),
        (lambda: scalings(1, 2, number=0), r"number=0\) needs positive ends and number >= 1"),
        (lambda: scalings(1, math.inf, number=3), r"needs positive ends"),
        (lambda: scalings(1, 2, number=1), r"number=1\): give number >= 2 or one factor"),
    ],
)
def test_runs_without_an_order_are_refused(call: object, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        call()  # type: ignore[operator]
