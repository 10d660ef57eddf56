"""Tensors inside tuples, lists, dictionaries and dataclasses have names of their own."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Activations, list_layers, measure_frames, select_layers
from invariance_probe.networks.layers.replacement import all_paths_pass, run_replaced

Pair = namedtuple("Pair", "low high")
IMAGES = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))


class Output(OrderedDict):
    """A dictionary whose entries are attributes too, as model libraries return them."""

    def __getattr__(self, name: str) -> object:
        return self[name]


@dataclass(frozen=True)
class Frozen:
    maps: Tensor
    note: str = "none"


class Block(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> object:
        maps = self.conv(images)
        high = maps[:, :, ::2, ::2]
        match self.kind:
            case "tuple":
                return maps, None, high
            case "list":
                return [maps, high]
            case "named":
                return Pair(maps, high)
            case "dict":
                return {"out": (maps, high), "extra": None}
            case "output":
                return Output(maps=maps, high=high)
            case _:
                return Frozen(maps)


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = Block(kind)
        self.head = nn.Linear(4 * 36, 3)

    def forward(self, images: Tensor) -> Tensor:
        out = self.block(images)
        kind = self.block.kind
        if kind == "dict":
            maps = out["out"][0]
        elif kind == "output" or kind == "frozen":
            maps = out.maps
        else:
            maps = out[0]
        return self.head(maps.flatten(1))


NAMES = {
    "tuple": ["block:0", "block:2"],
    "list": ["block:0", "block:1"],
    "named": ["block:low", "block:high"],
    "dict": ["block:out:0", "block:out:1"],
    "output": ["block:maps", "block:high"],
    "frozen": ["block:maps"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_parts_are_listed_taken_matched_and_replaced(kind: str) -> None:
    network, names = Net(kind), NAMES[kind]
    listed = [layer.name for layer in list_layers(network, IMAGES)]
    assert listed == ["block.conv", *names, "head"]
    assert select_layers(network, "block*", IMAGES) == names
    maps = Activations(network, [*names, "block.conv"])(IMAGES)
    assert maps[names[0]].equal(maps["block.conv"])
    if len(names) > 1:
        assert maps[names[1]].equal(maps["block.conv"][:, :, ::2, ::2])
    frame = measure_frames(network, names[0], (12, 12), 1)[names[0]]
    assert (frame.jump, frame.centre_offset) == ((2, 2), (-0.5, -0.5))
    with torch.no_grad():
        logits = network(IMAGES)
    found = run_replaced(network, names[0], IMAGES, lambda own: own.flip(0))
    torch.testing.assert_close(found, logits.flip(0))
    assert all_paths_pass(network, names[0], IMAGES) == (True, "")


def test_only_the_named_part_is_replaced() -> None:
    network = Net("tuple")
    with torch.no_grad():
        logits = network(IMAGES)
    torch.testing.assert_close(run_replaced(network, "block:2", IMAGES, torch.zeros_like), logits)


def test_calls_and_parts_together() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block("list")

        def forward(self, images: Tensor) -> Tensor:
            return self.block(self.block(images)[0].mean(1, keepdim=True))[0]

    maps = Activations(Twice(), ["block#2:1", "block:0"])(IMAGES)
    assert {name: value.shape[2] for name, value in maps.items()} == {"block#2:1": 2, "block:0": 6}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("block", "layer 'block' gives a dict; name one of block:out:0, block:out:1"),
        ("block:out", "layer 'block:out' gives a tuple; name one of block:out:0, block:out:1"),
        ("block:in", "layer 'block' has no part 'in'; there are block:out:0, block:out:1"),
        ("blok:out", "the network has no layer 'blok:out'; did you mean block"),
        ("block#2:out:0", "layer 'block#2' is not reached"),
    ],
)
def test_refusals(layer: str, message: str) -> None:
    for refused in (
        lambda: Activations(Net("dict"), [layer])(IMAGES),
        lambda: select_layers(Net("dict"), layer, IMAGES),
    ):
        with pytest.raises(ProbeError) as caught:
            refused()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
