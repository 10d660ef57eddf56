"""The pass: what goes in, what is refused, and what the caller's network looks like afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import noise, smooth
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import identity, rotation, rotations, scaling, translation
from invariance_probe.networks import Network
from invariance_probe.probing import Result, probe

QUICK = {"resamples": 20}
IMAGES = noise(8, 16, 12)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3),
        nn.Flatten(), nn.Linear(128, 4),
    )  # fmt: skip


def residuals(result: Result, layer: str, column: str = "residual") -> np.ndarray:
    return result.residuals[result.residuals["layer"] == layer][column].to_numpy()


def test_a_probe_is_ten_lines():
    from invariance_probe import build_network, embedded_digits, probe, rotations

    network = build_network("mnist_cnn")
    images = embedded_digits().take(12, seed=0)
    result = probe(network, ["relu1", "relu2"], rotations(-90, 90, step=90), images, resamples=20)
    table = result.ladder()
    assert list(table.index) == ["relu1", "relu2"]
    assert (table["input_aligned"] < table["inverse"]).all()
    assert (table["inverse"] < 3).all() and (table["other_image"] < 3).all()
    assert table["input_aligned"].max() < 1e-6


def test_transforms_are_values_or_texts_and_doubles_are_dropped():
    network = small()
    given = [
        "rotation:30; translation:2,0", ["rotation:30", translation(2, 0)],
        (move for move in [rotation(30), translation(2, 0), rotation(390), rotation(30)]),
    ]  # fmt: skip
    first, *others = [probe(network, "3", moves, IMAGES, **QUICK) for moves in given]
    assert first.axes["transform"] == ("rotation:30", "translation:2,0")
    for other in others:
        assert other.residuals.equals(first.residuals)
    alone = probe(network, "3", rotation(30), IMAGES, **QUICK)
    assert alone.axes["transform"] == ("rotation:30",)


@pytest.mark.parametrize("moves", [[], "", [30], [None], np.eye(3)])
def test_what_is_no_transform_is_refused(moves):
    with pytest.raises(ProbeError, match="transformation"):
        probe(small(), "3", moves, IMAGES)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("covn", r"the network has no layer 'covn'"),
        (["3", "conv1"], r"the network has no layer 'conv1'"),
        ("5", r"layer '5' gives \(1, 4\), not a map \(N, C, H, W\); choose a convolutional layer"),
        ("4*", r"no layer that matches '4\*' gives a map"),
        ("x*", r"no layer matches 'x\*'"),
        ([], r"no layer named: give at least one name"),
    ],
)
def test_layers_that_cannot_be_probed_are_named(layers, message):
    with pytest.raises(ProbeError, match=message):
        probe(small(), layers, rotation(30), IMAGES)


def test_unknown_layers_show_near_matches():
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(1, 2, 3))
    network.add_module("conv2", nn.Conv2d(2, 2, 3))
    with pytest.raises(ProbeError, match=r"no layer 'cnov1'; did you mean conv1, conv2\?"):
        probe(network, "cnov1", rotation(30), IMAGES)


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "NaN"), (float("inf"), "Inf")])
def test_values_that_are_not_finite_name_layer_and_image(value, what):
    network = small()
    network[3].bias.data[1] = value
    with pytest.raises(ProbeError) as caught:
        probe(network, ["0", "3"], rotation(30), IMAGES)
    assert f"layer '3' gives {what} for image '0000" in str(caught.value)
    assert "check the checkpoint" in str(caught.value)


class OnlyBright(nn.Module):
    """Fails for images with a pixel above a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.where(x.amax((1, 2, 3), keepdim=True) > 0.9, x / 0, x))


def test_the_one_image_at_fault_is_named():
    values = np.full((8, 1, 12, 12), 0.5, np.float32)
    values[5, 0, 6, 6] = 1.0
    images = array_images(values, names=[f"photo-{i}.png" for i in range(8)])
    with pytest.raises(
        ProbeError,
        match=r"layer 'conv' gives .* for image 'photo-5\.png' \(evaluate: original; 1 of",
    ):
        probe(OnlyBright(), "conv", translation(1, 0), images)


def test_images_with_another_number_of_channels_are_refused():
    with pytest.raises(ProbeError) as caught:
        probe(small(), "3", rotation(30), noise(8, 16, 12, channels=3))
    assert str(caught.value) == (
        "the network takes 1 channels, the images have 3; load them with channels=1"
    )


class HeadFirst(nn.Module):
    """Registers its last convolution first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.stem = nn.Conv2d(3, 2, 1), nn.Conv2d(1, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(x))


def test_the_order_of_registration_does_not_matter():
    result = probe(HeadFirst(), ["stem", "head"], rotation(30), IMAGES, **QUICK)
    assert result.axes["layer"] == ("stem", "head")


def test_an_empty_region_names_layer_and_transform():
    with pytest.raises(ProbeError) as caught:
        probe(small(), ["0", "3"], [rotation(30), translation(40, 0)], IMAGES)
    assert str(caught.value).startswith("layer '0': no cell of the 10x10 map stays inside")
    assert "translation:40,0 alone leaves 0 of 100" in str(caught.value)
    with pytest.raises(ProbeError, match=r"layer '0': no cell .* erode=6 px .*less erosion"):
        probe(small(), "0", rotation(30), IMAGES, erode=6)


def test_unknown_options_are_refused():
    with pytest.raises(ProbeError, match=r"unknown options sed; there are seed, batch_size"):
        probe(small(), "3", rotation(30), IMAGES, sed=1)
    with pytest.raises(ProbeError, match=r"batch_size=0 is out of range"):
        probe(small(), "3", rotation(30), IMAGES, batch_size=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": [0.1, 0.2]}, "mean has 2 values for images of 1 channels; give one or all"),
        ({"std": [1, 1, 1]}, "std has 3 values for images of 1 channels; give one or all"),
        ({"std": [0.0]}, r"std=\[0.0\] must be positive"),
        ({"device": "gpu"}, "there is no device 'gpu' here; use cpu, or auto"),
    ],
)
def test_normalisation_and_device_are_checked(changes, message):
    with pytest.raises(ProbeError, match=message):
        probe(small(), "3", rotation(30), IMAGES, **changes)


def test_normalisation_comes_from_the_network_or_the_caller():
    module = small()
    network = Network(module, "small", "", 1, (12, 12), (0.5,), (0.25,))
    own = probe(network, "3", rotation(30), IMAGES, **QUICK)
    given = probe(module, "3", rotation(30), IMAGES, mean=[0.5], std=[0.25], **QUICK)
    assert own.residuals.equals(given.residuals)
    other = probe(network, "3", rotation(30), IMAGES, mean=np.zeros(1), **QUICK)
    assert other.provenance["images"]["mean"] == [0.0]
    assert not other.residuals.equals(own.residuals)


class Seen(list[tuple[int, int, str]]):
    """What a progress callback was told."""

    def __call__(self, done: int, total: int, text: str) -> None:
        self.append((done, total, text))


def test_progress_ends_at_its_total():
    for changes in ({}, {"weighting": "channel", "batch_size": 3}):
        seen = Seen()
        moves = [rotation(30), identity(), scaling(1.2)]
        probe(small(), "3", moves, noise(9, 16, 12), progress=seen, **QUICK, **changes)
        done, totals, texts = zip(*seen, strict=True)
        assert len(set(totals)) == 1
        assert list(done) == sorted(done)
        assert done[-1] == totals[0]
        # originals, scales, three transforms and the aligned input of two, on 4 + 5 images
        assert totals[0] == 9 + 3 * 9 + 2 * 9 + (4 if changes else 0)
        assert any("rotation:30" in text for text in texts)


def state_of(network: nn.Module) -> tuple:
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    return (
        [m.training for m in network.modules()], hooks,
        [p.requires_grad for p in network.parameters()], [p.grad for p in network.parameters()],
        [value.clone() for value in network.state_dict().values()],
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32,
    )  # fmt: skip


def same(one: object, two: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("flags", [(True, False), (False, True)])
def test_network_and_settings_are_left_as_they_were(fails, flags, monkeypatch):
    # Attributes of the backend are properties of a module: set and restore them by hand.
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags
    try:
        network = small().train()
        network[1].eval()
        network[0].weight.requires_grad_(False)
        if fails:
            network[3].bias.data[0] = 0
            monkeypatch.setattr("invariance_probe.probing.run.assemble", None)
        network[0].register_forward_hook(lambda *_: None)
        before = state_of(network)
        if fails:
            network[0].register_forward_pre_hook(interrupt_at(20))
            before = state_of(network)
            with pytest.raises(KeyboardInterrupt):
                probe(network, ["0", "3"], rotations(-90, 90, step=30), IMAGES, batch_size=1)
        else:
            probe(network, ["0", "3"], [rotation(30)], IMAGES, **QUICK)
        assert same(before, state_of(network))
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


def interrupt_at(call: int):
    """A hook that is Ctrl-C at its nth call."""
    calls = []

    def hook(*_: object) -> None:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt

    return hook


def test_measured_in_full_precision_whatever_the_setting(monkeypatch):
    seen = []
    network = small()
    network[0].register_forward_pre_hook(
        lambda *_: seen.append(
            (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32,
             network[1].training)
        )
    )  # fmt: skip
    probe(network.train(), "3", [rotation(30)], IMAGES, **QUICK)
    assert set(seen) == {(False, False, False)}


class Reused(nn.Module):
    """One ReLU called twice, in place, after layers whose outputs it changes."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.conv2(self.relu(self.conv1(x))))


def test_layers_that_are_reused_or_changed_in_place_read_as_their_plain_twins():
    layers = ["conv1", "relu", "conv2", "relu#2"]
    twins = [probe(Reused(how), layers, [rotation(40)], IMAGES, **QUICK) for how in (True, False)]
    assert twins[0].residuals.equals(twins[1].residuals)
    assert twins[0].axes["layer"] == tuple(layers)
    assert not np.array_equal(residuals(twins[0], "conv2"), residuals(twins[0], "relu#2"))


@pytest.mark.parametrize("weighting", ["raw", "channel"])
def test_dead_channels_are_counted_and_harm_nothing(weighting):
    network = small()
    network[0].weight.data[1] = 0
    network[0].bias.data[1] = 0.37
    result = probe(network, ["0", "3"], [rotation(30)], IMAGES, weighting=weighting, **QUICK)
    assert result.layers["dead_channels"].tolist() == [1, 0]
    determined = [r for r in result.axes["rung"] if r != "spatial_bound"]
    assert np.isfinite(result.summary[determined]).all(axis=None)
    # The dead channel changes nothing: a network without it reads the same.
    alive = small()[:1]
    with torch.no_grad():
        alive[0].weight = nn.Parameter(network[0].weight[[0, 2]])
        alive[0].bias = nn.Parameter(network[0].bias[[0, 2]])
    twin = probe(alive, "0", [rotation(30)], IMAGES, weighting=weighting, **QUICK)
    plain = ["unaligned", "inverse", "best", "input_aligned", "resampling_floor", "other_image"]
    np.testing.assert_allclose(
        result.summary[plain].iloc[0], twin.summary[plain].iloc[0], rtol=1e-5
    )


@pytest.mark.parametrize("weighting", ["raw", "channel"])
@pytest.mark.parametrize("level", [0.0, 0.1, -37.3])
def test_a_constant_layer_has_no_residual(weighting, level):
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 4))
    for layer in network:
        layer.weight.data.zero_()
        layer.bias.data = level * torch.arange(1.0, len(layer.bias) + 1)
    result = probe(network, ["0", "1"], [rotation(30)], noise(7, 17, 13), weighting=weighting)
    assert result.residuals["residual"].isna().all()
    assert result.residuals[["low", "high"]].isna().all(axis=None)
    assert result.summary["recovered"].isna().all()
    assert (result.layers["dead_channels"] == result.layers["channels"]).all()
    assert (result.alignments["status"] == "flat").all()


def test_canvases_need_not_be_square():
    images = array_images(np.random.default_rng(0).random((8, 1, 11, 23)).astype(np.float32))
    result = probe(small()[:4], ["0", "3"], [rotation(180), scaling(1.2)], images, **QUICK)
    assert result.layers[["rows", "columns"]].to_numpy().tolist() == [[9, 21], [7, 19]]
    half_turn = result.summary[result.summary["transform"] == "rotation:180"]
    assert (half_turn["input_aligned"] < 1e-10).all()


def test_what_lies_beyond_the_edge_matters_and_is_told():
    wide = smooth(8, 60, 30, shortest=6)
    values = wide.batch(range(8))[:, :, 15:45, 15:45].numpy()
    sets = {
        "margin": wide,
        "reflect": array_images(values, background="reflect"),
        "fill": array_images(values, background=0.1),
    }
    found = {
        name: probe(small()[:4], "3", [rotation(45)], images, **QUICK)
        for name, images in sets.items()
    }
    told = {name: result.provenance["images"] for name, result in found.items()}
    assert told["margin"]["source"] == [60, 60] and told["margin"]["canvas"] == [30, 30]
    assert told["margin"]["notes"] == []
    assert told["reflect"]["beyond_source"] == "reflect" and told["reflect"]["fill"] is None
    assert told["fill"]["beyond_source"] == "fill" and told["fill"]["fill"] == [0.1]
    assert any("border is reflected" in text for text in found["reflect"].warnings)
    values = {name: result.summary["unaligned"].iloc[0] for name, result in found.items()}
    assert len(set(values.values())) == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_neither_overflow_nor_vanish(dtype):
    for factor in (1e-3, 1.0, 3e3):
        network = small()[:1]
        network[0].weight.data *= factor
        network[0].bias.data *= factor
        wide = probe(network, "0", [rotation(30)], IMAGES, **QUICK)
        half = probe(network.to(dtype), "0", [rotation(30)], IMAGES, **QUICK)
        plain = ["unaligned", "inverse", "resampling_floor", "other_image"]
        np.testing.assert_allclose(half.summary[plain], wide.summary[plain], rtol=0.05)
