"""Networks by name: the embedded one, torchvision's, a factory of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network

FACTORIES = """
import torch.nn as nn
def small(channels=1):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU())
def broken():
    raise RuntimeError("no such thing")
def number():
    return 3
constant = 5
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"factories_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return name


def test_the_embedded_network_is_trained_and_says_so() -> None:
    network = build_network("mnist_cnn")
    assert (network.channels, network.canvas) == (1, (28, 28))
    assert (network.mean, network.std) == ((0.1307,), (0.3081,))
    assert sum(p.numel() for p in network.module.parameters()) == 208_586
    assert "test accuracy 99.3" in network.description
    assert network.checkpoint_sha256 is not None
    assert not network.module.training


def test_torchvision_weights_are_random_seeded_and_called_so() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, again, other = (build_network("resnet18", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert "random weights (seed 1)" in one.description
    weights = [n.module.conv1.weight for n in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert (one.canvas, one.channels, one.checkpoint_sha256) == ((224, 224), 3, None)
    assert one.mean == (0.485, 0.456, 0.406)


def test_a_checkpoint_replaces_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    random = build_network("resnet18", seed=5).module
    save_file(random.state_dict(), path)
    network = build_network("resnet18", path)
    assert torch.equal(network.module.conv1.weight, random.conv1.weight)
    assert "weights of mine.safetensors" in network.description


def test_a_factory_takes_arguments(factories: str) -> None:
    network = build_network(f"{factories}:small", channels=3)
    assert network.channels == 3
    assert network.module[0].in_channels == 3


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("smal", "has no 'smal'.*did you mean small"),
        ("broken", "raised RuntimeError: no such thing"),
        ("number", "returned a int; it must return a torch.nn.Module"),
        ("constant", "is a int, not a callable"),
    ],
)
def test_factories_that_give_no_network(factories: str, attribute: str, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        build_network(f"{factories}:{attribute}")


def test_unknown_names_show_near_ones() -> None:
    with pytest.raises(ProbeError, match=r"no network named 'resnet81'.*resnet18"):
        build_network("resnet81")
    with pytest.raises(ProbeError, match="no module 'nowhere'"):
        build_network("nowhere:factory")
