"""Names that wrappers put in front, whatever they are called; where two fit, one is to be named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import network, same, trained
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Fit, build_network, load_checkpoint


class Around(nn.Module):
    """What a user writes around a network to hand it one tensor or keep one output."""

    def __init__(self, made: nn.Module | None = None) -> None:
        super().__init__()
        self.net = made or network()


class Large(nn.Module):
    """A network of which the checkpoint is a small part."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*(nn.Conv2d(2, 2, 3) for _ in range(9)))
        self.eyes = nn.ModuleDict({"left": network()})


def named(prefix: str, made: nn.Module) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in made.state_dict().items()}


def loaded(content: Any, fresh: nn.Module, folder: Path, **options: Any) -> Fit:
    torch.save(content, folder / "c.pt")
    return load_checkpoint(fresh, folder / "c.pt", **options)


@pytest.mark.parametrize(
    "prefix",
    ["online_network.encoder.", "module.encoder_q.", "student.", "ema_model.", "visual.trunk.",
     "_fsdp_wrapped_module.model.", "a.b.c.d.e."],
)  # fmt: skip
def test_any_prefix_is_dropped(tmp_path: Path, prefix: str) -> None:
    made, fresh = trained(), network()
    fit = loaded(named(prefix, made), fresh, tmp_path)
    assert same(fresh, made) and fit.complete
    assert fit.renamed == f"prefix '{prefix}' dropped (7 keys)"


def test_one_is_dropped_and_another_added(tmp_path: Path) -> None:
    made, fresh = trained(), Around()
    fit = loaded(named("module.", made), fresh, tmp_path)
    assert same(fresh.net, made) and fit.complete
    assert fit.renamed == "prefix 'module.' dropped and 'net.' added (7 keys)"
    fit = loaded(named("module.backbone.", made), Around(Around()), tmp_path)
    assert fit.renamed == "prefix 'module.backbone.' dropped and 'net.net.' added (7 keys)"


def test_marks_of_wrappers_on_either_side(tmp_path: Path) -> None:
    made = trained()
    state = {key.replace("0.", "0._fsdp_wrapped_module._checkpoint_wrapped_module."): value
             for key, value in made.state_dict().items()}  # fmt: skip
    fresh = nn.Sequential(nn.DataParallel(network()[0]), *network()[1:])
    fit = loaded(named("model.", made) | {}, fresh, tmp_path)
    assert torch.equal(fresh[0].module.weight, made[0].weight) and fit.complete
    fit = loaded(state, fresh, tmp_path)
    assert fit.complete and torch.equal(fresh[0].module.weight, made[0].weight)


def test_a_checkpoint_that_is_one_part_of_the_network(tmp_path: Path) -> None:
    made, fresh = trained(), Large()
    with pytest.raises(ProbeError, match="18 missing"):
        loaded(named("module.", made), fresh, tmp_path)
    fit = loaded(named("module.", made), fresh, tmp_path, allow_partial=True)
    assert same(fresh.eyes["left"], made) and fit.loaded == 7
    assert fit.renamed == "prefix 'module.' dropped and 'eyes.left.' added (7 keys)"


def test_few_weights_that_happen_to_fit_are_not_taken(tmp_path: Path) -> None:
    """Other than the marks of known wrappers, a prefix must bring half of the network."""
    other = {f"head.{key}": torch.ones(2) for key in ("0.bias", "1.weight", "1.bias")}
    with pytest.raises(ProbeError, match="build the architecture"):
        loaded(other | {"a.x": torch.ones(2)}, network(), tmp_path, allow_partial=True)


def test_of_two_that_fit_one_is_to_be_named(tmp_path: Path) -> None:
    one, two = trained(), trained(4)
    both = named("module.encoder_q.", one) | named("module.encoder_k.", two)
    fresh = network()
    with pytest.raises(ProbeError) as caught:
        loaded(both, fresh, tmp_path)
    assert "found under several prefixes" in str(caught.value)
    assert "module.encoder_q., module.encoder_k.; choose one with --checkpoint-prefix" in str(
        caught.value
    )
    for prefix, made in (("module.encoder_k.", two), ("module.encoder_q", one)):
        fit = loaded(both, fresh, tmp_path, prefix=prefix)
        assert same(fresh, made) and fit.complete and fit.warnings == ()
        assert f"7 keys under {prefix.rstrip('.')}., 7 others not used" in fit.notes[1]
    with pytest.raises(ProbeError, match=r"begins with 'encoder_k'; the network is found under "
                       r"module.encoder_q., module.encoder_k."):  # fmt: skip
        loaded(both, fresh, tmp_path, prefix="encoder_k")
    # who asks for what fits gets the first, and is told of the other
    fit = loaded(both, fresh, tmp_path, allow_partial=True)
    assert same(fresh, one)
    assert any("found under module.encoder_k. too" in text for text in fit.warnings)
    same_twice = named("model.", one) | named("copy.", one)
    assert loaded(same_twice, fresh, tmp_path, allow_partial=True).doubts == ()


def test_a_network_with_two_such_parts_says_so(tmp_path: Path) -> None:
    pair = nn.ModuleDict({"left": network(), "right": network()})
    fit = loaded(trained().state_dict(), pair, tmp_path, allow_partial=True)
    assert fit.loaded == 7 and "prefix 'left.' added" in fit.renamed
    assert any("fits right. of the network too" in text for text in fit.warnings)


def test_the_prefix_of_a_built_network(tmp_path: Path) -> None:
    module = build_network("mnist_cnn").module
    other = {key: value + 1 for key, value in named("b.", module).items()}
    torch.save(named("a.", module) | other, tmp_path / "c.pt")
    network = build_network("mnist_cnn", tmp_path / "c.pt", checkpoint_prefix="b.")
    assert same_values(network.module, other)
    twin = build_network("symmetrised:mnist_cnn", tmp_path / "c.pt", checkpoint_prefix="b.")
    assert twin.fit == network.fit


def same_values(module: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[f"b.{key}"]) for key, value in module.state_dict().items())
