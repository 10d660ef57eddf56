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


def test_random_weights_are_called_so_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drawing.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def drawn(): return nn.Sequential(nn.Conv2d(1, 2, 3))\n"
        "def given():\n    made = nn.Sequential(nn.AvgPool2d(3, 1))\n    return made\n"
    )
    monkeypatch.chdir(tmp_path)
    for spec in ("squeezenet1_1", "classifier:STN-C1", "symmetrised:squeezenet1_1"):
        network = build_network(spec, seed=3)
        assert network.drawn == "random weights (seed 3)" in network.description
        assert network.warnings == (
            "weights: random weights (seed 3); give trained ones as the checkpoint",
        )
    own = build_network("drawing:drawn", seed=3)
    assert own.warnings[0].startswith("weights: random weights (seed 3) unless drawing:drawn loads")
    for sure in ("mnist_cnn", "drawing:given", "controls:pointwise"):
        assert build_network(sure).warnings == ()
    torch.save(own.module.state_dict(), tmp_path / "c.pt")
    assert build_network("drawing:drawn", tmp_path / "c.pt").warnings == ()
    torch.save({"0.bias": torch.ones(2)}, tmp_path / "c.pt")
    some = build_network("drawing:drawn", tmp_path / "c.pt", allow_partial=True, seed=3).warnings
    assert "where none were loaded" in some[0] and "only 1 weights" in some[1]


def test_random_weights_are_a_warning_and_a_pitfall_of_a_result() -> None:
    from invariance_probe.probing import probe
    from invariance_probe.reporting.reports.text.pitfalls import pitfalls

    network = build_network("classifier:CNN", width=0.25, seed=2)
    images = torch.rand(4, 1, *network.canvas).numpy()
    result = probe(network, "blocks.0", "rotation:90", images)
    assert any(text.startswith("weights: random weights (seed 2)") for text in result.warnings)
    found = next(each for each in pitfalls([("mine", result)], []) if "Random" in each.title)
    assert found.seen == ("random weights (seed 2); give trained ones as the checkpoint",)
