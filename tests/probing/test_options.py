"""What a probe is asked to do: defaults, ranges, and the way to JSON and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.probing import RUNGS, Options

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**40),
        "batch_size": st.integers(1, 999),
        "weighting": st.sampled_from(["raw", "channel"]),
        "map_interpolation": st.sampled_from(["bilinear", "bicubic"]),
        "family": st.sampled_from([None, "rotation", "similarity", "affine"]),
        "erode": st.floats(0, 99),
        "least_coverage": st.floats(0, 1),
        "channels": st.booleans(),
        "per_image": st.booleans(),
        "level": st.floats(0.01, 0.999),
    },
)


@given(CHANGES)
def test_options_survive_json(changes):
    options = Options(**changes)
    assert Options.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_numpy_numbers_are_plain_afterwards():
    options = Options(seed=np.int64(3), erode=np.float32(0.5), batch_size=np.uint8(4))
    assert json.loads(json.dumps(options.to_dict()))["seed"] == 3
    assert options == Options(seed=3, erode=0.5, batch_size=4)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("seed", -1, "give a whole number of at least 0"),
        ("seed", 1.5, "give a whole number of at least 0"),
        ("batch_size", 0, "give a whole number of at least 1"),
        ("batch_size", "8", "give a whole number of at least 1"),
        ("batch_size", True, "give a whole number of at least 1"),
        ("dense", 0, "give a whole number of at least 1 and at most 64, or 'auto'"),
        ("dense", "x", "give a whole number of at least 1 and at most 64, or 'auto'"),
        ("dense", 65, "give a whole number of at least 1"),
        ("dense", True, "give a whole number of at least 1"),
        ("resamples", 9, "give a whole number of at least 10"),
        ("resamples", 50.0, "give a whole number of at least 10"),
        ("level", 0, "give a share between 0 and 1"),
        ("level", 1.0, "give a share between 0 and 1"),
        ("level", "0.9", "give a share between 0 and 1"),
        ("least_coverage", 1.1, "give a share from 0 to 1"),
        ("least_coverage", True, "give a share from 0 to 1"),
        ("erode", -0.1, "give a margin in pixels"),
        ("erode", float("nan"), "give a margin in pixels"),
        ("erode", float("inf"), "give a margin in pixels"),
        ("erode", None, "give a margin in pixels"),
    ],
)
def test_values_out_of_range_are_named(name, value, remedy):
    with pytest.raises(ProbeError) as caught:
        Options(**{name: value})
    assert str(caught.value).startswith(f"{name}={value!r} is out of range; {remedy}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("weighting", "channels", "'raw', 'channel'"),
        ("map_interpolation", "nearest", "'bilinear', 'bicubic'"),
        ("image_interpolation", None, "'bilinear', 'bicubic'"),
        ("family", "shift", "None, 'rotation', 'similarity', 'affine'"),
        ("channels", "no", "True or False"),
        ("per_image", 1, "True or False"),
    ],
)
def test_unknown_choices_are_named_with_the_known_ones(name, value, known):
    with pytest.raises(ProbeError) as caught:
        Options(**{name: value})
    assert f"{name}={value!r} is not known" in str(caught.value)
    assert known in str(caught.value)


def test_unknown_options_are_named_with_the_known_ones():
    with pytest.raises(ProbeError, match=r"unknown options bach_size, sed; there are seed, batch"):
        Options.from_dict({"sed": 1, "bach_size": 2})


def test_the_rungs_follow_the_options():
    assert Options(per_image=True).rungs == RUNGS
    assert set(RUNGS) - set(Options().rungs) == {"best_per_image"}
    assert Options(channels=False).rungs == (
        "unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image",
    )  # fmt: skip
