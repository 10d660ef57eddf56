"""Maps are what the layer gave when it gave it, and a pass leaves the network as it was."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torchvision
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Activations, check_finite


class Branching(nn.Module):
    """What tracing cannot follow: control flow on values, a reused ReLU, in-place additions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.split = Split()
        self.fc = nn.Linear(3, 2)
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        kept = self.conv(images)
        maps = self.relu(kept)
        maps = self.second(maps)
        maps += kept
        if float(maps.sum()) > -1e9:
            maps = self.relu(maps)
        maps, _ = self.split(maps)
        return self.fc(maps.mean((2, 3)))


class Split(nn.Module):
    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps, maps * 2


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


@pytest.fixture
def network() -> Branching:
    torch.manual_seed(0)
    return Branching()


IMAGES = torch.linspace(-1, 1, 2 * 36).reshape(2, 1, 6, 6)


def test_maps_survive_what_later_layers_do_in_place(network: Branching) -> None:
    maps = Activations(network, ["conv", "relu", "second", "relu#2"])(IMAGES)
    conv = network.conv(IMAGES)
    relu = conv.relu()
    second = network.second(relu)
    assert torch.equal(maps["conv"], conv)
    assert torch.equal(maps["relu"], relu)
    assert torch.equal(maps["second"], second)
    torch.testing.assert_close(maps["relu#2"], (second + relu).relu())
    assert list(maps) == ["conv", "relu", "second", "relu#2"]
    assert not any(value.requires_grad for value in maps.values())


def test_residual_blocks_of_resnet() -> None:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    images = torch.randn(2, 3, 64, 64)
    maps = Activations(network, ["layer1.0.bn2", "layer1.0.conv1", "layer2"])(images)
    with torch.no_grad():
        stem = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        block = network.layer1[0]
        inner = block.conv1(stem)
        after = block.bn2(block.conv2(torch.relu(block.bn1(inner))))
        deep = network.layer2(network.layer1(stem))
    assert torch.equal(maps["layer1.0.conv1"], inner)
    assert torch.equal(maps["layer1.0.bn2"], after)
    assert torch.equal(maps["layer2"], deep)


def test_outputs_come_along_when_asked(network: Branching) -> None:
    maps, outputs = Activations(network, ["conv"])(IMAGES, outputs=True)
    with torch.no_grad():
        assert torch.equal(outputs, network(IMAGES))
    assert set(maps) == {"conv"}


def test_the_pass_stops_when_all_maps_are_in(network: Branching) -> None:
    after: list[str] = []
    network.second.register_forward_hook(lambda *_: after.append("second"))
    Activations(network, ["conv", "relu"])(IMAGES)
    assert after == []
    Activations(network, ["conv", "relu"], stop_early=False)(IMAGES)
    assert after == ["second"]


def test_an_except_clause_of_the_network_does_not_eat_the_stop() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3)
            self.later = nn.Conv2d(1, 1, 3)

        def forward(self, images: Tensor) -> Tensor:
            try:
                images = self.conv(images)
            except Exception:
                images = images * 0
            return self.later(images)

    later: list[int] = []
    network = Careful()
    network.later.register_forward_hook(lambda *_: later.append(1))
    Activations(network, ["conv"])(IMAGES)
    assert later == []


def test_hooks_and_modes_are_as_before(network: Branching) -> None:
    own: list[int] = []
    network.conv.register_forward_hook(lambda *_: own.append(1))
    network.train()
    network.relu.eval()
    before = hooks(network), [module.training for module in network.modules()]
    with Activations(network, ["conv", "second"]) as activations:
        activations(IMAGES)
    with pytest.raises(ProbeError):
        Activations(network, ["fc"])(IMAGES)
    assert (hooks(network), [module.training for module in network.modules()]) == before
    assert own == [1, 1, 1]  # once more to see how the output of "fc" lies


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_hooks_are_removed_when_a_pass_is_interrupted(
    network: Branching, error: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    handle = network.second.register_forward_hook(interrupt)
    with pytest.raises(error):
        Activations(network, ["conv", "relu#2"])(IMAGES)
    handle.remove()
    assert hooks(network) == 0
    assert network.training


def test_dropout_is_off_during_the_pass() -> None:
    network = nn.Sequential(nn.Dropout(0.9), nn.Conv2d(1, 1, 1)).train()
    maps = Activations(network, ["0"])(IMAGES)
    assert torch.equal(maps["0"], IMAGES)
    assert maps["0"].data_ptr() != IMAGES.data_ptr()


def test_works_inside_inference_mode(network: Branching) -> None:
    with torch.inference_mode():
        maps = Activations(network, ["conv"])(IMAGES * 1)
    assert torch.equal(maps["conv"], network.conv(IMAGES))


def test_nothing_is_kept_between_calls(network: Branching) -> None:
    activations = Activations(network, ["conv", "second"])
    reference = weakref.ref(activations(IMAGES)["conv"])
    gc.collect()
    assert reference() is None


def test_a_module_under_two_names() -> None:
    shared = nn.Conv2d(1, 1, 3, padding=1)
    network = nn.Sequential(shared, shared)
    maps = Activations(network, ["0", "1", "1#2"])(IMAGES)
    assert torch.equal(maps["0"], maps["1"])
    assert torch.equal(maps["1#2"], shared(shared(IMAGES)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("covn", "the network has no layer 'covn'; did you mean conv"),
        ("zzz", "the network has no layer 'zzz'; there are conv, second, relu"),
        ("relu#3", "layer 'relu#3' is not reached: a forward pass calls 'relu' 2 times"),
        ("unused", "layer 'unused' is not reached by a forward pass in eval mode"),
        ("split", "layer 'split' gives a tuple; name one of split:0, split:1"),
        ("fc", "layer 'fc' gives (2, 2), not a map (N, C, H, W); choose a convolutional layer: "
               "conv, second, unused"),
    ],
)  # fmt: skip
def test_refusals_name_the_layer(network: Branching, layer: str, message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        Activations(network, ["conv", layer])(IMAGES)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_single_cell_is_no_map() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1))
    with pytest.raises(ProbeError, match=r"layer '1' gives a single cell \(2, 2, 1, 1\)"):
        Activations(network, ["1"])(IMAGES)


def test_images_that_do_not_fit_the_network(network: Branching) -> None:
    message = r"the network cannot take images \(2, 3, 6, 6\): .*channels"
    with pytest.raises(ProbeError, match=message) as caught:
        Activations(network, ["conv"])(torch.zeros(2, 3, 6, 6))
    assert "\n" not in str(caught.value)


def test_no_layers() -> None:
    with pytest.raises(ProbeError, match="give at least one layer"):
        Activations(nn.Identity(), [])


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "Inf")])
def test_check_finite_names_layer_and_image(value: float, word: str) -> None:
    features = {"a": torch.zeros(3, 2, 2, 2), "b": torch.zeros(3, 2, 2, 2)}
    check_finite(features)
    features["b"][1, 0, 1, 1] = value
    with pytest.raises(ProbeError, match=rf"layer 'b' gives {word} for image 'two.png' \(1 of 3"):
        check_finite(features, ["one.png", "two.png", "three.png"])
    with pytest.raises(ProbeError, match="image number 1 of the batch"):
        check_finite(features)


def test_check_finite_forgives_a_sum_that_overflows() -> None:
    check_finite({"a": torch.full((2, 1, 2, 2), 3e38)})
