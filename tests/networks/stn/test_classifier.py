"""Classifiers with transformers: identity at first, sharing, counts, one reading, bad input."""

from __future__ import annotations

import copy
import math
import re

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import (
    Architecture,
    Classifier,
    build_classifier,
    in_parallel,
    parse_architecture,
    still_transformers,
)
from invariance_probe.networks.stn.warps import FAMILIES

MATRICES = [family for family in FAMILIES if family != "tps"]
NAMES = ["STN-C0", "STN-C1", "STN-C2", "STN-SL1", "STN-DL1", "STN-DL2x2", "STN-SL1x2", "STN-C0x3",
         "STN-C012", "STN-SL012", "STN-DL12x2", "STN-C12x2"]  # fmt: skip
SVHN = {"backbone": "svhn", "canvas": (32, 48), "channels": 3, "classes": 11, "positions": 5}
PLANKTON = {"backbone": "plankton", "canvas": (50, 41), "classes": 12}


def build(name: str, seed: int = 0, **fields: object) -> Classifier:
    fields = {"width": 1 / 16, **fields}
    return build_classifier(parse_architecture(name, **fields), seed).eval()


def images(network: Classifier, number: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (number, network.architecture.channels, *network.architecture.canvas)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def plain(network: Classifier, maps: Tensor) -> Tensor:
    """What the classifier says without its transformers."""
    for block in network.blocks:
        maps = block(maps)
    return network.top(maps)


def scramble(network: Classifier, scale: float = 0.05) -> Classifier:
    """Heads that say something else for every image."""
    generator = torch.Generator().manual_seed(3)
    for transformer in network.transformers:
        for parameter in transformer.regression.parameters():
            parameter.data = scale * torch.randn(parameter.shape, generator=generator).to(parameter)
    return network


CASES = [(name, {}) for name in NAMES]
CASES += [(name, SVHN) for name in ("STN-C013", "STN-SL12x2", "STN-DL2")]
CASES += [(name, PLANKTON) for name in ("STN-C27", "STN-SL4x2", "STN-DL2")]


@pytest.mark.parametrize("name, fields", CASES, ids=str)
@pytest.mark.parametrize("dtype, atol", [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_untrained_is_the_plain_network(name, fields, dtype, atol):
    network = build(name, **fields).to(dtype)
    shown = images(network, dtype=dtype)
    expected = plain(network, shown)
    torch.testing.assert_close(network(shown), expected, atol=atol, rtol=0)
    with still_transformers(network):
        assert torch.equal(network(shown), expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["STN-C0", "STN-C12", "STN-SL1", "STN-DL2", "ST-FCN"])
def test_untrained_is_the_plain_network_in_every_family(name, family):
    network = build(name, family=family, canvas=(28, 31)).double()
    shown = images(network, dtype=torch.float64)
    torch.testing.assert_close(network(shown), plain(network, shown), atol=1e-11, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_learns_from_the_first_step(name):
    """The regressions have gradients at once, and what is before them after one step.

    Maps of 2x2 cells would not do: all lie on the edge, beyond which nothing changes.
    """
    network = build(name, canvas=(60, 60), head="FCN", width=1 / 32).double().train()
    for _ in range(2):
        network.zero_grad()
        network(images(network, dtype=torch.float64)).square().sum().backward()
        for transformer in network.transformers:
            assert transformer.regression.weight.grad.abs().sum() > 0
        scramble(network)
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "name, fields, parameters",
    [
        ("CNN", {}, 208_586),
        ("STN-C0", {}, 208_586 + 27_430),
        ("STN-C1", {}, 208_586 + 207_142),
        ("STN-SL1", {}, 208_586 + 207_142),
        ("STN-SL1x2", {}, 208_586 + 207_142),
        ("STN-DL1", {}, 208_586 + 207_142 + 64 * 81 + 64),
        ("CNN", {"canvas": (60, 60)}, 270_026),
        ("STN-C0", {"canvas": (60, 60), "reduction": 2}, 208_586 + 68_286),
        ("STN-SL1", {"canvas": (60, 60), "reduction": 2}, 208_586 + 61_786),
        ("STN-DL1", {"canvas": (60, 60), "reduction": 2}, 208_586 + 61_786 + 5_248),
        ("STN-C1", {"canvas": (60, 60), "reduction": 2},
         208_586 + 64 * 5 * 10 + 61_786),  # 13 cells, 7, 3: 576 inputs instead of 256
        ("STN-C0", {"canvas": (112, 112)}, 544_586 + 59_086),
        ("STN-C1", {"canvas": (112, 112)}, 544_586 + 82_186),
        ("STN-SL1", {"canvas": (112, 112)}, 544_586 + 82_186),
        ("STN-C0", {"family": "rotation"}, 208_586 + 27_430 - 5 * 33),
        ("STN-C0", {"family": "tps"}, 208_586 + 27_430 + 26 * 33),
        ("STN-C0", {"parallel": 2}, 208_586 + 2 * 27_430 + 64 * 81),
    ],
)  # fmt: skip
def test_parameters(name, fields, parameters):
    assert count(build(name, width=1.0, **fields)) == parameters


@pytest.mark.parametrize(
    "depths, fields",
    [
        ("1", {}),
        ("012", {}),
        ("2x3", {}),
        ("123", SVHN),
        ("4", PLANKTON),
        ("2.10", {**PLANKTON, "canvas": (95, 95)}),
    ],
)
def test_shared_localisation_has_as_many_parameters_as_warping_maps(depths, fields):
    assert count(build(f"STN-SL{depths}", **fields)) == count(build(f"STN-C{depths}", **fields))


def test_shared_layers_are_shared_and_own_copies_are_new():
    shared, own = build("STN-SL1"), build("STN-DL1")
    assert len(shared.copies) == 0 and len(own.copies) == 1
    copied, original = own.copies[0][0].conv, own.blocks[0].conv
    assert copied.weight.shape == original.weight.shape
    assert not torch.equal(copied.weight, original.weight)
    assert not torch.equal(copied.bias, original.bias)
    for network, moves in ((shared, True), (own, False)):
        scramble(network)
        with torch.no_grad():
            before = network.align(images(network)).poses
            network.blocks[0].conv.weight += 1
        assert torch.equal(network.align(images(network)).poses, before) != moves
    own.copies[0][0].conv.weight.data += 1
    assert not torch.equal(own.align(images(own)).poses, before)


def test_localisation_parameters():
    for name in ("STN-C0", "STN-C1", "STN-SL1", "STN-C012", "STN-SL1x2"):
        network = build(name)
        expected = list(network.transformers.parameters())
        assert [id(p) for p in network.localisation_parameters()] == list(map(id, expected))
    own = build("STN-DL1")
    assert len(own.localisation_parameters()) == 2 + 2 * 4
    ids = {id(p) for p in own.localisation_parameters()}
    assert not ids & {id(p) for p in [*own.blocks.parameters(), *own.top.parameters()]}
    plain_ = build("CNN")
    assert plain_.localisation_parameters() == [] and not plain_.has_transformer


def turned(network: Classifier, *degrees: float) -> Classifier:
    network = network.double()
    for transformer, angle in zip(network.transformers, degrees, strict=True):
        transformer.regression.bias.data[0] = math.radians(angle)
    return network


@pytest.mark.parametrize("kind, depth", [("SL", 0), ("SL", 1), ("DL", 2), ("C", 0), ("C", 1)])
@pytest.mark.parametrize("reduction", [1, 2])
def test_two_alignments_read_the_original_once(kind, depth, reduction):
    """20 degrees twice are 40 degrees once, and not an image resampled twice."""
    fields = {"family": "rotation", "reduction": reduction, "canvas": (60, 60), "head": "FCN"}
    once = turned(build(f"STN-{kind}{depth}", **fields), 40)
    twice = turned(build(f"STN-{kind}{depth}x2", **fields), 20)
    shown = images(once, dtype=torch.float64)
    torch.testing.assert_close(twice(shown), once(shown), atol=1e-11, rtol=0)
    steps = twice.align(shown).steps
    assert len(steps) == 2
    torch.testing.assert_close(twice.align(shown).images, once.align(shown).images)


def test_several_depths_that_warp_the_input_read_it_once():
    once = turned(build("STN-SL1", family="rotation"), 45)
    thrice = turned(build("STN-SL012", family="rotation"), 10, 20, 15)
    thrice.blocks.load_state_dict(once.blocks.state_dict())
    thrice.top.load_state_dict(once.top.state_dict())
    shown = images(once, dtype=torch.float64)
    torch.testing.assert_close(thrice(shown), once(shown), atol=1e-11, rtol=0)


def test_transformers_before_and_between_blocks():
    """C012 is a chain of its parts; a repeated alignment composes on the same maps."""
    network = scramble(build("STN-C012"))
    maps = images(network)
    expected = maps
    for number in range(3):
        expected = network.transformers[number](expected)
        if number < 2:
            expected = network.blocks[number](expected)
    assert torch.equal(network(maps), network.top(expected))


def test_transformers_side_by_side():
    network = scramble(build("STN-C0", parallel=3, channels=2))
    shown = images(network)
    seen = in_parallel(network.transformers, shown)
    assert seen.shape == (3, 6, 28, 28)
    assert torch.equal(network(shown), plain(network, seen))


def test_a_reduced_input_is_what_the_blocks_see():
    network = scramble(build("STN-SL1", canvas=(60, 60), reduction=2))
    sizes = []
    network.blocks[0].register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape))
    network(images(network))
    assert [tuple(size[-2:]) for size in sizes] == [(60, 60), (30, 30)]


@pytest.mark.parametrize("name", ["CNN", "STN-C12", "STN-SL1x2", "STN-DL2"])
def test_seeds(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = build(name, 1), build(name, 1), build(name, 2)
    assert torch.equal(torch.get_rng_state(), before)
    for key, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[key])
    assert not torch.equal(one.blocks[0].conv.weight, other.blocks[0].conv.weight)


@pytest.mark.parametrize("name", ["STN-C12", "STN-SL1x2", "STN-DL2"])
def test_copies_and_states(name):
    network = scramble(build(name))
    shown = images(network)
    twin, fresh = copy.deepcopy(network), build(name, 9)
    assert torch.equal(twin(shown), network(shown))
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(shown), network(shown))
    assert Architecture.from_dict(network.architecture.as_dict()) == network.architecture


def test_bad_input():
    network = build("STN-SL1", channels=3)
    text = r"'STN-SL1' takes images of \(3, 28, 28\) \(channels, rows, columns\), not \(1, 28, 28\)"
    for call in (network, network.align):
        with pytest.raises(ProbeError, match=text + "; give such images or build it for theirs"):
            call(torch.zeros(2, 1, 28, 28))
        with pytest.raises(ProbeError, match=r"not \(3, 30, 28\)"):
            call(torch.zeros(2, 3, 30, 28))
        with pytest.raises(ProbeError, match=r"not \(28, 28\)"):
            call(torch.zeros(3, 28, 28))


@pytest.mark.parametrize(
    "name, fields, text",
    [
        ("STN-C3", {}, "'STN-C3': the mnist backbone has 2 blocks, not 3; take a depth of 0 to 2"),
        ("STN-SL11", {"backbone": "svhn"}, "depths must rise"),
        ("STN-DL9", {"backbone": "svhn"}, "the svhn backbone has 8 blocks, not 9"),
        ("CNN", {"canvas": (23, 28)}, "'CNN': a canvas of 23x28 leaves nothing after the blocks"),
        ("STN-C0", {"canvas": (28, 28), "reduction": 2}, "give larger images or a smaller reduct"),
        ("STN-C2", {"canvas": (12, 12)}, "canvas of 12x12 leaves nothing after the blocks of the"),
        ("STN-SL2", {"head": "CNN"}, "head 'CNN' does not fit maps of 2x2 cells; take 'FCN'"),
    ],
)
def test_what_cannot_be_built(name, fields, text):
    with pytest.raises(ProbeError, match=re.escape(text)):
        build(name, **fields)


def test_dropout_of_the_backbone_can_be_lowered_in_all_its_copies():
    rates = {}
    for share in (None, 0.1):
        network = build_classifier(parse_architecture("STN-DL2", **SVHN, width=0.05, dropout=share))
        modules = network.modules()
        rates[share] = [module.p for module in modules if isinstance(module, nn.Dropout)]
    assert rates == {None: [0.5] * 11, 0.1: [0.1] * 11}  # 7 blocks and 3 layers, 1 of the copy
