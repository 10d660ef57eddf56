"""Runs as plain values: to JSON and back, and again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes import noise
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation
from invariance_probe.probing import (
    Options,
    ProbeConfig,
    Untrusted,
    load_result,
    probe,
    replay,
    run_config,
)

SMALL = ProbeConfig(
    layers=("relu1", "relu2"), transforms="rotation:-90:90:60", number=10,
    options=Options(resamples=20, seed=3),
)  # fmt: skip

CONFIGS = st.builds(
    ProbeConfig,
    network=st.sampled_from(["mnist_cnn", "resnet18", "a.b:c"]),
    layers=st.lists(st.text(min_size=1), min_size=1).map(tuple),
    number=st.none() | st.integers(1, 99),
    train=st.booleans(),
    arguments=st.dictionaries(
        st.text(), st.integers() | st.text() | st.lists(st.floats(-1, 1) | st.none())
    ),
    canvas=st.none() | st.tuples(st.integers(1, 99), st.integers(1, 99)),
    mean=st.none() | st.lists(st.floats(-1, 1), min_size=1, max_size=3).map(tuple),
    options=st.builds(Options, seed=st.integers(0, 9), erode=st.floats(0, 5)),
)


@given(CONFIGS)
def test_a_configuration_survives_json(config):
    assert ProbeConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ProbeConfig.from_dict(config.to_dict()) == config


def test_loose_values_are_made_plain():
    loose = ProbeConfig(layers="conv1", canvas=[28, 30], arguments={"sizes": (1, 2)})
    assert loose.layers == ("conv1",) and loose.canvas == (28, 30)
    assert loose.arguments == {"sizes": [1, 2]}


def test_defaults_fill_what_a_file_leaves_out():
    assert ProbeConfig.from_dict({"layers": ["relu1"], "options": {"seed": 2}}) == ProbeConfig(
        layers=("relu1",), options=Options(seed=2)
    )
    assert ProbeConfig.from_dict({}) == ProbeConfig()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": ["a"]}, r"unknown setting 'layer' .*; did you mean 'layers'\?"),
        ({"zzz": 1}, r"unknown setting 'zzz' in a probe's configuration$"),
        ({"options": {"sed": 1}}, r"unknown options sed; there are seed"),
        ({"options": {"seed": -1}}, r"seed=-1 is out of range"),
        ({"options": 3}, r"options=3 must be a dictionary"),
        ({"number": "600"}, r"number='600' must be a whole number"),
        ({"transforms": ["rotation:30"]}, r"transforms=\['rotation:30'\] must be a text"),
        ({"train": "no"}, r"train='no' must be true or false"),
        ({"canvas": 28}, r"canvas=\(28,\) must be two numbers: rows and columns"),
        ({"arguments": True}, "arguments=True must be a dictionary"),
        ({"arguments": ["width"]}, "arguments=.* must be a dictionary"),
        ({"layers": None}, "layers of a configuration must be texts"),
        ({"arguments": {"net": object}}, r"arguments=.* cannot be stored with the result"),
    ],
)
def test_settings_that_make_no_sense_are_named(values, message):
    with pytest.raises(ProbeError, match=message):
        ProbeConfig.from_dict(values)


@pytest.mark.parametrize("weighting", ["raw", "channel"])
def test_a_replay_gives_the_same_bits(weighting, tmp_path):
    config = replace(SMALL, options=replace(SMALL.options, weighting=weighting))
    result = run_config(config)
    assert replay(result).equals(result)
    loaded = load_result(result.save(tmp_path / "out"))
    # The batch size that was chosen stands in place of "auto": other sizes round otherwise.
    number = loaded.provenance["options"]["batch_size"]
    with_number = replace(config, options=replace(config.options, batch_size=number))
    assert isinstance(number, int) and config.options.batch_size == "auto"
    assert ProbeConfig.from_dict(loaded.provenance["config"]) == with_number
    assert replay(loaded).equals(loaded)


def test_another_seed_takes_other_images():
    results = [run_config(replace(SMALL, options=Options(resamples=20, seed=s))) for s in (0, 1)]
    assert results[0].axes["image"] != results[1].axes["image"]


def test_a_replay_tells_its_progress():
    seen: list[tuple[int, int, str]] = []
    run_config(replace(SMALL, number=4, transforms="rotation:30"), lambda *said: seen.append(said))
    assert seen[-1][0] == seen[-1][1]


def test_results_of_python_objects_cannot_be_replayed():
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    result = probe(network, "0", rotation(30), noise(6, 12, 10), resamples=20)
    with pytest.raises(ProbeError) as caught:
        replay(result)
    assert str(caught.value) == (
        "this result was measured on Python objects and has no configuration to replay; "
        "probe with run_config(ProbeConfig(...)) or the command line"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": "photos"}, r"images 'photos': no such folder; give 'digits', a folder"),
        ({"images": "./nowhere"}, r"nowhere"),
        ({"network": "mnist_cn"}, r"mnist_cnn"),
        ({"layers": ("rleu1",)}, r"no layer 'rleu1'; did you mean relu1"),
        ({"number": 10**6}, r"1000000 images asked for"),
        ({"number": 3}, r"3 images cannot be split"),
        ({"transforms": "rotate:30"}, r"rotat"),
        ({"network": "nowhere", "transforms": "rotate:30"}, r"'rotate"),
    ],
)
def test_what_does_not_exist_is_named(changes, message):
    with pytest.raises(ProbeError, match=message):
        run_config(replace(SMALL, **changes))


def test_a_folder_of_images_is_probed_and_replayed(tmp_path):
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 256, (40, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    config = replace(SMALL, images=str(tmp_path), number=None, layers=("relu1",))
    result = run_config(config)
    assert sorted(result.provenance["images"])[:2] == ["available", "beyond_source"]
    assert result.provenance["images"]["available"] == 6
    assert result.provenance["images"]["number"] == 6
    with pytest.raises(Untrusted, match="--image-set"):
        replay(result)
    assert replay(result, trust=True).equals(result)
