"""Architectures by the names of torchvision and timm, and the preprocessing of their weights."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in with the few functions of timm 1.0 that are called."""
    called: dict[str, Any] = {}

    def create_model(name: str, pretrained: bool = False, **given: Any) -> nn.Module:
        called.update(given, name=name, pretrained=pretrained)
        return nn.Sequential(nn.Conv2d(given.get("in_chans", 3), 2, 3))

    made = types.ModuleType("timm")
    made.list_models = lambda: ["resnet18", "resnet50"]  # type: ignore[attr-defined]
    made.is_model = lambda name: name.partition(".")[0].startswith("resnet")  # type: ignore[attr-defined]
    made.create_model = create_model  # type: ignore[attr-defined]
    made.data = types.SimpleNamespace(  # type: ignore[attr-defined]
        resolve_model_data_config=lambda module: {
            "input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 0.95,
            "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2), "crop_mode": "center",
        }
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "timm", made)
    return called


def test_timm_by_name(timm: dict[str, Any]) -> None:
    network = build_network("timm:resnet18.a1_in1k", seed=2, num_classes=10)
    assert timm == {"name": "resnet18.a1_in1k", "pretrained": False, "num_classes": 10}
    assert network.name == "timm:resnet18.a1_in1k"
    assert network.description == "timm resnet18.a1_in1k, random weights (seed 2)"
    assert network.preprocessing == (
        "224x224 px, mean 0.5 0.4 0.3, std 0.2 0.2 0.2, centre of images with short side 235 px "
        "(bicubic); from the recipe of timm's configuration of resnet18.a1_in1k, not its weights"
    )
    again = build_network("timm:resnet18", seed=2)
    assert torch.equal(again.module[0].weight, network.module[0].weight)


def test_what_arguments_change_of_the_preprocessing(timm: dict[str, Any]) -> None:
    grey = build_network("timm:resnet18", in_chans=1, img_size=192)
    assert (grey.channels, grey.canvas) == (1, (192, 192))
    assert grey.mean == pytest.approx((0.4,)) and grey.std == pytest.approx((0.2,))


def test_checkpoints_of_timm(timm: dict[str, Any], tmp_path: Path) -> None:
    source = build_network("timm:resnet18", seed=5)
    torch.save({"state_dict": source.module.state_dict(), "arch": "x"}, tmp_path / "model_best.pth")
    network = build_network("timm:resnet18", tmp_path / "model_best.pth")
    assert torch.equal(network.module[0].weight, source.module[0].weight)
    assert network.description.startswith("timm resnet18, weights of model_best.pth (sha256 ")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("timm:resnet81", {}, r"timm has no model 'resnet81'; did you mean resnet18"),
        ("timm:hf-hub:someone/resnet18", {}, "timm has no model 'hf-hub:someone/resnet18'"),
        ("timm:resnet18", {"pretrained": True}, "pretrained=True would make timm fetch"),
        ("timm:resnet18", {"checkpoint_path": "x.pth"}, "checkpoint_path='x.pth' would make timm"),
        ("timm:resnet18", {"in_chans": "three"}, "building timm:resnet18 raised TypeError"),
    ],
)
def test_refusals(timm: dict[str, Any], spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProbeError, match=message) as caught:
        build_network(spec, **options)
    assert "\n" not in str(caught.value)


def test_timm_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ProbeError, match=r"needs the package timm .*pip install 'invariance-probe"):
        build_network("timm:resnet18")


def test_preprocessing_of_torchvision() -> None:
    text = build_network("squeezenet1_1").preprocessing
    assert text == (
        "224x224 px, mean 0.485 0.456 0.406, std 0.229 0.224 0.225, centre of images with short "
        "side 256 px (bilinear); from the recipe of torchvision's "
        "SqueezeNet1_1_Weights.IMAGENET1K_V1, not its weights"
    )


def test_a_published_file_brings_its_own_preprocessing(tmp_path: Path) -> None:
    from torchvision import models

    published = models.MobileNet_V3_Large_Weights.IMAGENET1K_V2
    module = build_network("mobilenet_v3_large").module
    for name, resize in ((published.url.rpartition("/")[2], 232), ("mine.pth", 256)):
        torch.save(module.state_dict(), tmp_path / name)
        network = build_network("mobilenet_v3_large", tmp_path / name)
        assert f"short side {resize} px" in network.preprocessing


def test_metadata_of_a_checkpoint_wins(tmp_path: Path) -> None:
    module = build_network("squeezenet1_1").module
    save_file(module.state_dict(), tmp_path / "m.safetensors", {"mean": "0.5", "std": "[0.25]"})
    network = build_network("squeezenet1_1", tmp_path / "m.safetensors")
    assert (network.mean, network.std) == ((0.5,), (0.25,))
    assert network.preprocessing.endswith("IMAGENET1K_V1 and the checkpoint's metadata")
    save_file(module.state_dict(), tmp_path / "n.safetensors", {"test_accuracy": "high"})
    assert "accuracy" not in build_network("squeezenet1_1", tmp_path / "n.safetensors").description
