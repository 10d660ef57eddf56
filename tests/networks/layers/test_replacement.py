"""Replacing one layer's output, and whether every path goes through it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks.layers.replacement import all_paths_pass, run_replaced


class Plain(nn.Module):
    """Two convolutions that share one in-place ReLU, batch norm and dropout, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv1(x)))
        x = self.relu(self.conv2(x))
        return self.fc(self.drop(x.flatten(1)))


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.relu(self.conv1(x)))
        y += x
        return self.relu(y)


class Residual(nn.Module):
    """A stem, two residual blocks, and a branch on the side that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.layer1 = nn.Sequential(Block(4), Block(4))
        self.side = nn.Conv2d(4, 2, 1)
        self.fc = nn.Linear(4 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.stem(x))
        self.side(x)
        return self.fc(x.flatten(1))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 10, 10)


def clean(network: nn.Module) -> bool:
    return not any(module._forward_hooks for module in network.modules())


def test_the_network_goes_on_with_the_replacement(images):
    network = Plain().eval()
    with torch.no_grad():
        first = torch.relu(network.norm(network.conv1(images)))
        expected = network.fc(torch.relu(network.conv2(first * 2)).flatten(1))
    found = run_replaced(network, "relu", images, lambda output: output * 2)
    torch.testing.assert_close(found, expected)


def test_calls_of_a_reused_module_are_numbered(images):
    network = Plain().eval()
    with torch.no_grad():
        maps = network.conv2(torch.relu(network.norm(network.conv1(images))))
        expected = network.fc(torch.relu(maps).flatten(1).flip(1))

    def flip(output: Tensor) -> Tensor:
        return output.flatten(1).flip(1).reshape(output.shape)

    torch.testing.assert_close(run_replaced(network, "relu#2", images, flip), expected)


def test_leaving_the_output_alone_changes_nothing(images):
    network = Plain()
    with torch.no_grad():
        expected = network.eval()(images)
    network.train()
    for layer in ("conv1", "norm", "relu", "conv2", "relu#2"):
        assert run_replaced(network, layer, images, lambda same: same).equal(expected)


def test_operations_in_place_reach_neither_output_nor_replacement(images):
    """The ReLU after each convolution works in place, and the block adds in place."""
    network = Residual().eval()
    kept = {}

    def replace(output: Tensor) -> Tensor:
        kept["output"], kept["copy"] = output, output.clone()
        kept["replacement"] = -output
        return kept["replacement"]

    for layer in ("layer1.0.conv1", "layer1.0.conv2", "layer1.0.relu", "stem"):
        run_replaced(network, layer, images, replace)
        assert kept["output"].equal(kept["copy"])
        assert kept["replacement"].equal(-kept["copy"])


def test_images_are_left_as_they_are(images):
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 2, 3), nn.Flatten())
    given = images - 0.5
    before = given.clone()
    run_replaced(network, "1", given, torch.zeros_like)
    assert given.equal(before)


def test_modes_statistics_and_hooks_are_as_before(images):
    network = Plain().train()
    network.drop.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run_replaced(network, "relu#2", images, torch.zeros_like)
    assert network.training and network.norm.training and not network.drop.training
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    assert clean(network)


def test_errors_of_the_replacement_come_out_unchanged(images):
    network = Plain().train()

    def broken(output: Tensor) -> Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_replaced(network, "conv2", images, broken)
    assert clean(network) and network.training


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("conv3", "no layer 'conv3'; did you mean conv"),
        ("relu#3", "layer 'relu#3' is not reached: a forward pass calls 'relu' 2 times"),
        ("conv1", r"replacement for layer 'conv1' is \(5, 4, 8, 7\), its output \(5, 4, 8, 8\)"),
    ],
)
def test_what_cannot_be_replaced_is_named(images, layer, message):
    network = Plain()
    with pytest.raises(ProbeError, match=message):
        run_replaced(network, layer, images, lambda output: output[..., 1:])
    assert clean(network)


@pytest.mark.parametrize(
    ("head", "gives"),
    [
        (nn.Identity(), r"gives \(5, 2, 8, 8\), not logits \(N, classes\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(128, 1)), r"a single number per image \(5, 1\)"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(images, head, gives):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), head)
    with pytest.raises(ProbeError, match=gives):
        run_replaced(network, "0", images, lambda same: same)


@pytest.mark.parametrize("layer", ["conv1", "norm", "relu", "conv2", "relu#2"])
def test_every_layer_of_a_chain_is_admitted(images, layer):
    network = Plain().train()
    assert all_paths_pass(network, layer, images) == (True, "")
    assert network.training and clean(network)


@pytest.mark.parametrize("layer", ["stem", "layer1", "layer1.0", "layer1.1", "layer1.1.relu#2"])
def test_layers_between_residual_blocks_are_admitted(images, layer):
    assert all_paths_pass(Residual(), layer, images) == (True, "")


@pytest.mark.parametrize("layer", ["layer1.0.conv1", "layer1.0.conv2"])
def test_a_shortcut_is_found_and_the_block_recommended(images, layer):
    admitted, reason = all_paths_pass(Residual(), layer, images)
    assert not admitted
    assert reason == (
        f"layer '{layer}': the logits still depend on the input when its output is fixed; "
        "a shortcut passes around it; choose 'layer1.0'"
    )


def test_the_call_of_a_reused_module_is_named(images):
    admitted, reason = all_paths_pass(Residual(), "layer1.1.relu", images)
    assert not admitted
    assert "'layer1.1.relu' (call 1 of 2 of this module, the last is 'layer1.1.relu#2')" in reason
    assert reason.endswith("choose 'layer1.1'")


def test_a_faint_shortcut_is_found(images):
    class Faint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            self.fc = nn.Linear(256, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).flatten(1)) + 1e-3 * x[:, 0, 0, :3]

    admitted, reason = all_paths_pass(Faint(), "conv", images)
    assert not admitted
    assert reason.endswith("choose a layer through which all paths pass")


def test_a_layer_without_influence_is_refused(images):
    admitted, reason = all_paths_pass(Residual(), "side", images)
    assert not admitted
    assert reason.startswith("layer 'side': it has no influence on the logits; choose")


def test_a_layer_without_positions_is_refused(images):
    admitted, reason = all_paths_pass(Plain(), "fc", images)
    assert not admitted
    assert "layer 'fc': it gives (5, 3), not a map (N, C, H, W)" in reason


def test_logits_that_never_differ_decide_nothing(images):
    network = Plain()
    nn.init.zeros_(network.fc.weight)
    admitted, reason = all_paths_pass(network, "conv1", images)
    assert not admitted
    assert "layer 'conv1': the logits are the same for all example images" in reason
    admitted, reason = all_paths_pass(Plain(), "conv1", images[:1].expand(4, -1, -1, -1))
    assert not admitted and "the same for all example images" in reason


def test_examples_must_be_enough_and_finite(images):
    with pytest.raises(ProbeError, match="give two or more that differ"):
        all_paths_pass(Plain(), "conv1", images[:1])
    images[2] = torch.nan
    with pytest.raises(ProbeError, match="layer 'conv1' gives NaN for image number 2"):
        all_paths_pass(Plain(), "conv1", images)
    with pytest.raises(ProbeError, match="no layer 'conv9'"):
        all_paths_pass(Plain(), "conv9", images)


def test_resnet_blocks():
    from torchvision.models import resnet18

    network, images = resnet18(weights=None), torch.rand(3, 3, 64, 64)
    for layer in ("conv1", "layer1.0", "layer3"):
        assert all_paths_pass(network, layer, images) == (True, "")
    for layer in ("layer1.0.conv1", "layer2.0.downsample.0"):
        admitted, reason = all_paths_pass(network, layer, images)
        assert not admitted and reason.endswith(f"choose '{layer[:8]}'")
