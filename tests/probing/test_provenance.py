"""Where numbers come from must be told completely, and change when it changes."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import noise
from torch import nn

import invariance_probe
from invariance_probe.data import array_images
from invariance_probe.geometry import rotation, translation
from invariance_probe.networks import Network
from invariance_probe.probing import Options, ProbeConfig, Result, probe, run_config
from invariance_probe.probing.provenance import state_sha256


def strided() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU())


def run(network: nn.Module | Network, images=None, moves="rotation:30", **changes) -> Result:
    return probe(network, "0", moves, images or noise(6, 24, 16), resamples=20, **changes)


@pytest.fixture(scope="module")
def result() -> Result:
    return run(strided(), mean=[0.5], std=[0.25], seed=7, erode=1)


def test_it_is_plain_json(result):
    described = dict(result.provenance)
    assert json.loads(json.dumps(described, allow_nan=False)) == described


def test_it_tells_everything(result):
    told = result.provenance
    assert set(told) == {
        "software", "config", "network", "images", "transforms", "options", "conventions",
        "numerics", "versions", "warnings",
    }  # fmt: skip
    assert told["software"] == {
        "name": "invariance_probe",
        "version": invariance_probe.__version__,
    }
    assert told["config"] is None
    assert told["network"]["name"] == "Sequential"
    assert told["network"]["parameters"] == 30
    assert told["network"]["checkpoint_sha256"] is None
    images = told["images"]
    assert (images["number"], images["fit"], images["evaluation"]) == (6, 3, 3)
    assert (images["canvas"], images["source"]) == ([16, 16], [24, 24])
    assert (images["mean"], images["std"]) == ([0.5], [0.25])
    assert told["transforms"] == ["rotation:30"]
    number = told["options"]["batch_size"]  # chosen for "auto"
    expected = Options(resamples=20, seed=7, erode=1, batch_size=number)
    assert number == 256 and Options.from_dict(told["options"]) == expected
    assert told["conventions"]["frames"] == {"0": "support"}
    assert told["numerics"]["device"] == "cpu"
    assert told["numerics"]["dtype"] == "float32"
    assert told["numerics"]["sums"] == "float64"
    assert told["numerics"]["tf32"] is False
    assert told["numerics"]["threads"] == torch.get_num_threads()
    assert told["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert told["versions"]["numpy"] == np.__version__
    assert all(told["versions"].values())


def test_a_run_from_a_configuration_carries_it():
    config = ProbeConfig(
        layers=("relu1",),
        transforms="rotation:30",
        number=6,
        options=Options(resamples=20, batch_size=4),
    )
    told = run_config(config).provenance
    assert ProbeConfig.from_dict(told["config"]) == config
    assert len(told["network"]["checkpoint_sha256"]) == 64
    assert told["network"]["name"] == "mnist_cnn"
    assert told["network"]["description"]
    assert told["images"]["fill"] == [0.0]
    text = json.dumps(told)
    machine = [str(Path.cwd()), str(Path.home()), str(Path(invariance_probe.__file__).parent)]
    assert not [place for place in machine if len(place) > 1 and place in text]
    assert os.uname().nodename not in text


def test_hashes_follow_every_weight_and_pixel(result):
    network, values = strided(), noise(6, 24, 16).batch(range(6)).numpy()
    images = array_images(values, 16)
    first = run(network, images).provenance
    again = run(deepcopy(network), array_images(values.copy(), 16)).provenance
    assert first["network"]["state_sha256"] == again["network"]["state_sha256"]
    assert first["images"]["sha256"] == again["images"]["sha256"]
    network[0].weight.data[2, 0, 1, 1] += 1e-6
    values[3, 0, 0, 0] = 0.123
    other = run(network, array_images(values, 16)).provenance
    assert other["network"]["state_sha256"] != first["network"]["state_sha256"]
    assert other["images"]["sha256"] != first["images"]["sha256"]


def test_the_state_hash_covers_buffers_names_and_types():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    hashes = {state_sha256(network)}
    network[1].running_mean[0] = 0.5
    hashes.add(state_sha256(network))
    network[1].num_batches_tracked += 1
    hashes.add(state_sha256(network))
    for dtype in (torch.float64, torch.bfloat16):
        hashes.add(state_sha256(deepcopy(network).to(dtype)))
    renamed = nn.Sequential()
    for name, part in network.named_children():
        renamed.add_module(f"part{name}", part)
    hashes.add(state_sha256(renamed))
    assert len(hashes) == 6
    assert state_sha256(nn.ReLU()) != next(iter(hashes))


def test_a_grid_off_centre_is_warned_of_with_the_remedy(result):
    (warning,) = [text for text in result.warnings if text.startswith("grid of 0")]
    assert "(-0.5, -0.5) px off the image's centre" in warning
    assert warning.endswith("; input 17x17 removes it")
    remedied = run(strided(), noise(6, 25, 17))
    assert not any("grid of" in text for text in remedied.warnings)


def test_translations_need_no_centred_grid():
    shifted = run(strided(), moves=[translation(2, 0)])
    assert not any("grid of" in text for text in shifted.warnings)


def test_small_samples_and_few_cells_are_warned_of():
    result = run(strided(), erode=5)
    assert any("sample: 3 evaluation images" in text for text in result.warnings)
    (few,) = [text for text in result.warnings if text.startswith("cells of 0")]
    cells = int(result.layers["compared_cells"].iloc[0])
    assert f"only {cells} of 64 stay 5 px inside the image's edge" in few


def test_notes_of_the_images_are_warnings():
    values = np.random.default_rng(0).random((6, 1, 16, 16)).astype(np.float32)
    result = run(strided(), array_images(values, background=0.25))
    assert result.provenance["images"]["fill"] == [0.25]
    assert [f"images: {note}" for note in result.provenance["images"]["notes"]] == [
        text for text in result.warnings if text.startswith("images: ")
    ]


def test_the_network_describes_itself():
    network = Network(strided(), "mine", "random weights", 1, (16, 16), (0.5,), (0.5,), "ab" * 32)
    told = run(network).provenance["network"]
    assert (told["name"], told["description"]) == ("mine", "random weights")
    assert told["checkpoint_sha256"] == "ab" * 32


def test_a_bound_that_few_samples_decide_is_warned_of():
    def warned(images: int) -> list[str]:
        values = np.random.default_rng(0).random((images, 1, 12, 12)).astype(np.float32)
        network = nn.Sequential(nn.Conv2d(1, 10, 3))
        result = probe(network, "0", [rotation(20)], values, resamples=10, erode=0)
        (row,) = result.bounds.to_dict("records")
        assert row["determined"] and row["samples"] == images // 2 * 10 and row["positions"] == 100
        return [text for text in result.warnings if text.startswith("bounds of 0: ")]

    (few,) = warned(24)
    assert "120 samples (images x channels) for 100 positions" in few
    assert warned(60) == []


def test_how_photographs_came_to_the_canvas_is_told(tmp_path):
    from PIL import Image

    from invariance_probe.data import image_folder
    from invariance_probe.reporting.reports.text.methods import onto_canvas

    for name in "abcdef":
        Image.effect_noise((60, 40), 90).save(tmp_path / f"{name}.png")
    photos = run(strided(), image_folder(tmp_path, (20, 20), 1)).provenance["images"]
    assert onto_canvas(photos) == (
        "Each was resized, anti-aliased and in proportion, until it covered 32×32 pixels, and "
        "cropped to its centre; the canvas is the middle 20×20 of it, and what lies around that "
        "comes in where images turn."
    )
    assert onto_canvas(run(strided(), noise(6, 25, 17)).provenance["images"]) == (
        "Each has 25×25 pixels; the canvas is the middle 17×17 of it."
    )
    assert onto_canvas({"source": [17, 17], "canvas": [17, 17], "resized": False}) == ""
    assert onto_canvas({}) == ""
