"""Controls, twins and near names in build_network, and factories that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from invariance_probe.errors import ProbeError
from invariance_probe.networks import asymmetry, build_network, network_names

FACTORIES = """
from torch import nn

from invariance_probe.networks import Network


def tower(width=4):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.Dropout())


def ready():
    return Network(tower(), "mine", "trained by me", 1, (20, 30), (0.5,), (0.25,))


class Zoo:
    tower = staticmethod(tower)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "probe_factories.py").write_text(FACTORIES)
    (tmp_path / "probe_broken.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / "probe_exits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    for name in ("probe_factories", "probe_broken", "probe_exits"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def weights(spec: str, **options: Any) -> torch.Tensor:
    return next(build_network(spec, **options).module.parameters()).detach()


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("gaussian_derivatives", (2, 1, 19, 19)),
        ("orbit_bank", (16, 1, 9, 9)),
        ("oriented_bank", (16, 1, 19, 19)),
        ("pointwise", (8, 1, 1, 1)),
    ],
)
def test_controls(name: str, kernels: tuple[int, ...]) -> None:
    network = build_network(f"controls:{name}")
    assert tuple(next(network.module.parameters()).shape) == kernels
    assert (network.name, network.channels, network.canvas) == (f"controls:{name}", 1, (28, 28))
    assert (network.mean, network.std, network.checkpoint_sha256) == ((0.0,), (1.0,), None)
    assert f"control {name}, " in network.description
    assert network.name in network_names()


def test_options_and_seeds_of_controls() -> None:
    assert len(weights("controls:gaussian_derivatives", order=2)) == 3
    assert build_network("controls:pointwise", inputs=3).channels == 3
    first, again = (weights("controls:orbit_bank", seed=1) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, weights("controls:orbit_bank", seed=2))


def test_twins(here: Path) -> None:
    own, twin = build_network("mnist_cnn"), build_network("symmetrised:mnist_cnn")
    assert max(asymmetry(twin.module).values()) < 1e-12 < 0.01 < min(asymmetry(own).values())
    assert (twin.name, twin.canvas, twin.mean) == ("symmetrised:mnist_cnn", own.canvas, own.mean)
    assert twin.description == f"{own.description}, kernels averaged over rotations (amount 1)"
    assert twin.checkpoint_sha256 is None
    assert not twin.module.training
    factory = build_network("symmetrised:probe_factories:tower", width=5)
    assert factory.module[0].out_channels == 5
    assert asymmetry(build_network("symmetrised:controls:orbit_bank"))["filters"] < 1e-12


def test_factories_in_the_current_folder(here: Path) -> None:
    path = list(sys.path)
    assert torch.equal(*(weights("probe_factories:tower", seed=4) for _ in range(2)))
    assert build_network("probe_factories:Zoo.tower").channels == 1
    ready = build_network("probe_factories:ready")
    assert (ready.name, ready.description, ready.canvas) == ("mine", "trained by me", (20, 30))
    assert not ready.module.training
    assert sys.path == path


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", forbidden)
    monkeypatch.setattr(torch.hub, "download_url_to_file", forbidden)
    monkeypatch.setattr("urllib.request.urlopen", forbidden)
    build_network("squeezenet1_1")


@pytest.mark.parametrize(
    ("spec", "options", "expected"),
    [
        ("torchvision:resnet81", {}, "no network named 'resnet81'; did you mean resnet18"),
        ("mnist_cn", {}, "did you mean mnist_cnn"),
        ("controls:pointwize", {}, "did you mean controls:pointwise"),
        ("symmetrised:resnet81", {}, "no network named 'resnet81'; did you mean resnet18"),
        ("controls:gaussian_derivatives", {"order": 3}, "order=3 is not there"),
        ("squeezenet1_1", {"hue": 1}, "building squeezenet1_1 raised TypeError: "),
        ("probe_factories:tower", {"hue": 1}, "building probe_factories:tower raised TypeError: "),
        ("probe_nowhere:tower", {}, "no module 'probe_nowhere' in "),
        ("probe_factories.inner:tower", {}, "no module 'probe_factories.inner' in "),
        ("probe_broken:tower", {}, "importing 'probe_broken' raised ModuleNotFoundError"),
        ("probe_exits:tower", {}, "importing 'probe_exits' raised SystemExit: 3"),
    ],
)
def test_refusals(here: Path, spec: str, options: dict[str, Any], expected: str) -> None:
    path = list(sys.path)
    with pytest.raises(ProbeError) as caught:
        build_network(spec, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sys.path == path
