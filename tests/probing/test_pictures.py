"""Pictures show the maps that were computed, and the numbers under them are the probe's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scenes import convolution, fourfold, noise
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation, scaling, warp
from invariance_probe.networks import Activations, build_network
from invariance_probe.probing import Options, ProbeConfig, probe, run_config
from invariance_probe.probing import split as halves
from invariance_probe.probing.pictures import taking
from invariance_probe.probing.pictures.taking import pictures_of, take_pictures
from invariance_probe.probing.pictures.values import SHOWN_RUNGS, load_pictures

MOVES = "rotation:-90:180:45"


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def kernels(request) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.randn(6, 1, 9, 9, generator=generator) / 9).to(request.param)


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.Conv2d(8, 5, 5))


def step_of(one) -> np.ndarray:
    return ((one.high - one.low) / 255)[:, None, None]


def test_identity_leaves_no_difference(kernels):
    pictures = take_pictures(
        nn.Sequential(convolution(kernels)), "0", rotation(0), noise(4, 28, 28)
    )
    (one,) = pictures.layers
    assert np.array_equal(one.moved, one.back) and np.array_equal(one.back[:, 0], one.original)
    assert np.nanmax(np.abs(one.differences())) == 0
    assert (one.residuals == 0).all()
    assert np.array_equal(pictures.inputs[:, 0], pictures.originals)


def test_a_quarter_turn_moved_back_shows_the_counter_rotated_filters(kernels):
    """T_h⁻¹ Γ T_h f is f filtered with kernels turned back (Jansson et al., section 3)."""
    images = noise(4, 28, 28)
    network = nn.Sequential(convolution(kernels))
    (one,) = take_pictures(network, "0", rotation(90), images, channels=range(6)).layers
    f = images.batch(range(3)).to(kernels.dtype)
    turned = convolution(torch.rot90(kernels, -1, (-2, -1)))(f).detach().double().numpy()
    assert (np.abs(one.values(one.back)[:, 0] - turned) <= 0.5001 * step_of(one)).all()
    assert np.abs(turned - one.values(one.original)).max() > 20 * step_of(one).max()


def test_fourfold_filters_come_back_at_right_angles(kernels):
    network = nn.Sequential(convolution(fourfold(kernels)))
    (one,) = take_pictures(network, "0", rotation(90), noise(4, 28, 28)).layers
    assert (np.abs(np.nan_to_num(one.differences())) <= 1.001 * step_of(one)).all()
    assert one.residuals[..., 1].max() < 1e-10
    assert one.residuals[:, :, 0, 0].min() > 0.1


@pytest.mark.parametrize("weighting", ["raw", "channel"])
@pytest.mark.parametrize("moves", [MOVES, "scaling:0.7:1.4:5"])
def test_residuals_are_those_of_the_probe(network, weighting, moves):
    images = noise(10, 40, 28)
    options = Options(weighting=weighting, resamples=20, erode=1, channels=False)
    result = probe(network, ["0", "2"], moves, images, options=options)
    fit, evaluation = halves(len(images), 0)
    pictures = take_pictures(
        network, ["0", "2"], moves, images.take(evaluation), number=len(evaluation),
        scale_images=images.take(fit), options=options,
    )  # fmt: skip
    assert pictures.images == result.axes["image"]
    rungs = [result.axes["rung"].index(rung) for rung in SHOWN_RUNGS]
    for layer, one in enumerate(pictures.layers):
        errors = result.errors[layer][:, rungs]  # (transforms, rungs, images)
        expected = (errors / result.variance[layer]).transpose(2, 0, 1)
        np.testing.assert_allclose(one.residuals[:, :, 0], expected, rtol=1e-6, atol=1e-9)


def test_the_residual_of_one_channel_follows_the_definition(network):
    images = noise(6, 28, 28)
    pictures = take_pictures(network, "0", MOVES, images, channels=[5], number=[4])
    (one,) = pictures.layers
    acts = Activations(network, ["0"])
    f = images.batch(range(6))
    original = acts(f)["0"][:, 5].double().numpy()
    compared = original[:, one.cells]
    variance = ((compared[4] - compared.mean()) ** 2).sum()
    for index, move in enumerate(pictures.moves):
        shown = warp(f[[4]], move, beyond="reflect")
        back = warp(acts(shown)["0"], move.inverse(), beyond="nearest", antialias=False)
        error = ((back[0, 5].double().numpy()[one.cells] - compared[4]) ** 2).sum()
        assert one.residuals[0, index, 1, 1] == pytest.approx(error / variance, rel=1e-5, abs=1e-10)


def test_frames_hold_the_maps_within_half_a_step(network):
    images = noise(5, 40, 28)
    pictures = take_pictures(network, "2", MOVES, images, channels=[0, 3], number=2)
    (one,) = pictures.layers
    acts = Activations(network, ["2"])
    source = images.batch(range(2))
    maps = {"original": acts(warp(source, rotation(0), size=(28, 28)))["2"][:, [0, 3]]}
    for index, move in enumerate(pictures.moves):
        shown = warp(source, move, size=(28, 28), beyond="reflect")
        maps[index] = acts(shown)["2"][:, [0, 3]]
        true = maps[index].double().numpy()
        assert (np.abs(one.values(one.moved)[:, index] - true) <= 0.501 * step_of(one)).all()
    low = min(float(m[:, 1].min()) for m in maps.values())
    assert one.low[1] <= low + 1e-6  # one scale for all frames of a channel
    true = maps["original"].double().numpy()
    assert (np.abs(one.values(one.original) - true) <= 0.501 * step_of(one)).all()
    found = one.differences()
    assert np.isnan(found[..., ~one.cells]).all() and np.isfinite(found[..., one.cells]).all()
    assert (np.nanmax(np.abs(found), axis=(0, 1, 3, 4)) <= one.span + step_of(one)[:, 0, 0]).all()


def test_channels_are_spread_rather_than_copies_of_the_strongest():
    """Channel 1 is channel 0 once more, 2 answers to other edges, 3 never varies."""
    kernels = torch.zeros(4, 1, 3, 3)
    kernels[0, 0, 1] = kernels[1, 0, 1] = torch.tensor([-5.0, 0.0, 5.0])
    kernels[2, 0, :, 1] = torch.tensor([-1.0, 0.0, 1.0])
    network = nn.Sequential(convolution(kernels))
    (one,) = take_pictures(network, "0", "rotation:90", noise(3, 20, 20), channels=2).layers
    assert one.channels == (0, 2) and one.width == 4
    (one,) = take_pictures(network, "0", "rotation:90", noise(3, 20, 20), channels=9).layers
    assert one.channels == (0, 2, 1, 3)
    assert np.isnan(one.residuals[:, :, 4]).all()  # no variance, no number
    assert (one.span > 0).all() and (one.original[:, 3] == 0).all()


def test_large_maps_and_images_are_shown_small():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    images = array_images(np.random.default_rng(0).random((4, 3, 90, 150)).astype(np.float32))
    pictures = take_pictures(network, "0", "rotation:0:90:90", images, cells=40, pixels=75)
    (one,) = pictures.layers
    assert pictures.inputs.shape == (3, 2, 45, 75, 3)
    assert one.block == 4 and one.cells.shape == (23, 38) and one.extent == (90, 150)
    maps = Activations(network, ["0"])(images.batch(range(3)))["0"].double()
    first = maps[:, list(one.channels), :4, :4].mean(dim=(2, 3)).numpy()
    assert np.abs(one.values(one.original)[:, :, 0, 0] - first).max() <= step_of(one).max()
    assert one.cells[11, 19] and not one.cells[0, 0]  # corners turn out of the image


def test_pictures_survive_the_disk(tmp_path, network):
    images = noise(3, 28, 28)
    hostile = '</script><script>alert("x")</script>/../\u2028\0'
    network.add_module(hostile.replace(".", "·"), nn.ReLU())
    names = ["0", hostile.replace(".", "·")]
    pictures = take_pictures(network, names, "rotation:30 scaling:1.2", images)
    path = pictures.save(tmp_path / "new" / "pictures.npz")
    again = load_pictures(path)
    assert [one.layer for one in again.layers] == names
    assert repr(again) == repr(pictures) and again.notes == pictures.notes
    assert again.images == pictures.images and again.transforms == pictures.transforms
    assert np.array_equal(again.inputs, pictures.inputs)
    for one, other in zip(again.layers, pictures.layers, strict=True):
        assert one.channels == other.channels and one.extent == other.extent
        for name in ("original", "moved", "back", "low", "high", "span", "cells", "residuals"):
            assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
    assert sorted(p.name for p in path.parent.iterdir()) == ["pictures.npz"]


def test_what_is_no_file_of_pictures_is_refused(tmp_path, network):
    pictures = take_pictures(network, "0", "rotation:30", noise(3, 28, 28))
    path = pictures.save(tmp_path / "pictures.npz")
    with pytest.raises(ProbeError, match=r"no pictures '.*gone.npz'; save some"):
        load_pictures(tmp_path / "gone.npz")
    whole = path.read_bytes()
    for content in (b"", b"PK nothing", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ProbeError, match="holds no pictures or is damaged"):
            load_pictures(path)
    np.savez(path, head=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ProbeError, match="holds no pictures or is damaged"):
        load_pictures(path)
    path.write_bytes(whole)
    with np.load(path) as held:
        arrays = dict(held)
    head = json.loads(str(arrays["head"]))
    head["transforms"] = ["rotation:30", "rotation:60"]
    np.savez(path, **{**arrays, "head": np.array(json.dumps(head))})
    with pytest.raises(ProbeError, match="arrays do not fit together"):
        load_pictures(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, "number=0: show at least one image"),
        ({"number": [7]}, "no image 7"),
        ({"number": ["imag"]}, r"no image 'imag' among those shown; there are"),
        ({"channels": 0}, "channels=0: show at least one"),
        ({"channels": [8]}, "layer '0' has no channel 8; there are 0 to 7"),
        ({"cells": 1}, "cells=1"),
        ({"layers": "nope"}, "nope"),
        ({"transforms": "scaling:100"}, "layer '0': no cell"),
        ({"device": "cuda:99"}, "no device 'cuda:99'"),
    ],
)
def test_what_is_not_there_is_named(network, options, message):
    given = {"layers": "0", "transforms": "rotation:30", **options}
    with pytest.raises(ProbeError, match=message):
        take_pictures(
            network, given.pop("layers"), given.pop("transforms"), noise(3, 28, 28), **given
        )


def test_too_much_is_refused_before_the_work(network):
    images = noise(40, 28, 28)
    with pytest.raises(ProbeError, match=r"40 images, 181 transformations and 1 layers take 67 MB"):
        take_pictures(network, "0", "rotation:-90:90:1", images, number=40, channels=8)


def test_modes_and_gradients_are_left_as_they_were(network):
    network.train()
    take_pictures(network, "2", [rotation(30), scaling(1.1)], noise(3, 28, 28))
    assert network.training and all(p.requires_grad for p in network.parameters())


SMALL = ProbeConfig(
    layers=("pool1", "relu1", "conv2", "pool2", "relu2"),
    transforms="rotation:-180:180:45", number=12, options=Options(resamples=20, channels=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return run_config(SMALL)


def test_a_run_is_shown_from_its_configuration(result, monkeypatch):
    monkeypatch.setattr(taking, "_STEPS", 6)
    pictures = pictures_of(result, number=6)
    assert [one.layer for one in pictures.layers] == ["pool1", "relu1", "pool2", "relu2"]
    assert len(pictures.transforms) == 6
    assert set(pictures.transforms) <= set(result.axes["transform"])
    assert pictures.images == result.axes["image"]
    assert pictures.network.startswith("mnist_cnn") and "6 images" in pictures.data
    rows = result.per_image().set_index(["layer", "rung", "transform", "image"])
    expected = rows["squared_error"] / rows["variance"]
    for one in pictures.layers:
        for n, image in enumerate(pictures.images):
            for t, move in enumerate(pictures.transforms):
                for r, rung in enumerate(SHOWN_RUNGS):
                    known = expected[one.layer, rung, move, image]
                    assert one.residuals[n, t, 0, r] == pytest.approx(known, rel=1e-6, abs=1e-9)


def test_a_configuration_alone_is_shown_too():
    pictures = pictures_of(SMALL, layers="pool*", transforms="rotation:90 scaling:1.2", number=1)
    assert [one.layer for one in pictures.layers] == ["pool1", "pool2"]
    assert pictures.transforms == ("rotation:90", "scaling:1.2")


def test_a_run_that_cannot_be_built_again_says_so(network, result, tmp_path):
    measured = probe(network, "0", "rotation:30", noise(6, 28, 28), resamples=20)
    with pytest.raises(ProbeError, match=r"measured on Python objects.*take_pictures\(network"):
        pictures_of(measured)
    with pytest.raises(ProbeError, match="give a Result or a ProbeConfig"):
        pictures_of("result")
    changed = dict(result.provenance)
    changed["network"] = {**changed["network"], "state_sha256": "0" * 64}
    object.__setattr__(result, "provenance", changed)
    with pytest.raises(ProbeError, match="the network of this result's configuration changed"):
        pictures_of(result)


def test_a_network_without_a_description_goes_by_its_class(network):
    built = build_network("mnist_cnn")
    digits = noise(3, 28, 28)
    assert take_pictures(network, "0", "rotation:9", digits).network == "Sequential"
    assert take_pictures(built, "conv1", "rotation:9", digits).network.startswith("mnist_cnn: ")
