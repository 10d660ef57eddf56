"""Checkpoints that name the weights of the same architecture differently."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import network, same, trained
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Network, load_checkpoint
from invariance_probe.networks.building import build, siblings


def renamed(state: dict[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
    """The same weights as another implementation would name its layers."""
    layers = {name: i for i, name in enumerate(dict.fromkeys(k.rpartition(".")[0] for k in state))}
    return OrderedDict(
        (f"_part{layers[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}", value)
        for key, value in state.items()
    )


def test_weights_meet_in_their_order_only_when_asked(tmp_path: Path) -> None:
    made = trained()
    torch.save(renamed(made.state_dict()), tmp_path / "c.pt")
    fresh = network()
    with pytest.raises(ProbeError, match=r"agree in their order .* with --by-order"):
        load_checkpoint(fresh, tmp_path / "c.pt")
    assert not same(fresh, made)
    fit = load_checkpoint(fresh, tmp_path / "c.pt", by_order=True)
    assert same(fresh, made) and fit.complete
    assert fit.renamed == "matched in their order, 6 of 6 keys renamed, not by name"
    assert fit.renamed in fit.notes


def test_the_same_names_are_not_called_renamed(tmp_path: Path) -> None:
    made = trained()
    torch.save(made.state_dict(), tmp_path / "c.pt")
    fresh = network()
    fit = load_checkpoint(fresh, tmp_path / "c.pt", by_order=True)
    assert same(fresh, made) and fit.renamed == ""


def test_another_shape_another_kind_and_another_number_are_refused(tmp_path: Path) -> None:
    state = renamed(trained().state_dict())
    keys = [key for key in state if not key.endswith("num_batches_tracked")]
    broken = OrderedDict(state)
    broken[keys[0]] = torch.zeros(9, 9)
    torch.save(broken, tmp_path / "shape.pt")
    swapped = OrderedDict((key, state[key]) for key in [keys[1], keys[0], *keys[2:]])
    torch.save(swapped, tmp_path / "order.pt")
    torch.save(OrderedDict((key, state[key]) for key in keys[:-1]), tmp_path / "less.pt")
    fresh = network()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    with pytest.raises(
        ProbeError, match=r"_part0.weight \(9, 9\) of the checkpoint meets 0.weight"
    ):
        load_checkpoint(fresh, tmp_path / "shape.pt", by_order=True)
    with pytest.raises(ProbeError, match=r"_part0.bias .* meets 0.weight"):
        load_checkpoint(fresh, tmp_path / "order.pt", by_order=True)
    with pytest.raises(ProbeError, match="the checkpoint has 5, the network 6"):
        load_checkpoint(fresh, tmp_path / "less.pt", by_order=True)
    assert all(torch.equal(before[key], value) for key, value in fresh.state_dict().items())


def padded(padding: int = 0, **more: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=padding), nn.BatchNorm2d(2, **more))


LIBRARY = {
    "lite1": lambda: padded(),
    "tf_lite1": lambda: padded(1, eps=1e-3),
    "lite1_wide": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)),
    "lite1_renamed": lambda: nn.ModuleDict({"a": nn.Conv2d(1, 2, 3), "b": nn.BatchNorm2d(2)}),
    "lite1_broken": lambda: 1 // 0,
    "other": lambda: padded(),
}


def test_siblings_that_take_the_weights_as_well_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order and shapes do not tell a network from one with other padding and eps."""
    monkeypatch.setattr(siblings, "_library", lambda _: (list(LIBRARY), lambda n: LIBRARY[n]()))
    assert siblings.siblings("timm:lite1.in1k", padded(), {}) == (
        "timm:tf_lite1",
        "timm:lite1_renamed",
    )
    assert siblings.siblings("timm:lite9", padded(), {}) == ()
    assert siblings.siblings("mine:lite1", padded(), {}) == ()
    monkeypatch.setattr(build, "from_timm", lambda *_: Network(
        padded(), "timm:lite1", "timm lite1, random", 1, (28, 28), (0.0,), (1.0,)))  # fmt: skip
    torch.save(renamed(padded().state_dict()), tmp_path / "c.pt")
    network = build.build_network("timm:lite1", tmp_path / "c.pt", by_order=True)
    first, second = network.warnings
    assert first.startswith("checkpoint: weights were matched in their order, not by name: padding")
    assert second == (
        "checkpoint: these weights fit timm:tf_lite1, timm:lite1_renamed as well, in their order"
    )
    # tf_lite1 has the names of lite1, too
    torch.save(padded(1, eps=1e-3).state_dict(), tmp_path / "c.pt")
    assert build.build_network("timm:lite1", tmp_path / "c.pt", by_order=True).warnings == (second,)
    assert build.build_network("timm:lite1", tmp_path / "c.pt").warnings == ()


@pytest.mark.slow
def test_the_siblings_of_timm() -> None:
    pytest.importorskip("timm")
    own = build.build_network("timm:efficientnet_lite1")
    assert siblings.siblings(own.name, own.module, {}) == ("timm:tf_efficientnet_lite1",)
