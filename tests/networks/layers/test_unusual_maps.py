"""Maps with more axes than four, inside other libraries' objects, complex, quantised or sparse."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invariance_probe import array_images, embedded_digits, probe
from invariance_probe.errors import ProbeError
from invariance_probe.networks import Activations, find_frames, list_layers, measure_layouts
from invariance_probe.networks.layers.replacement import run_replaced
from invariance_probe.probing import oracle

IMAGES = torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(0))


class Lift(nn.Module):
    """Six filters in four orientations: maps (N, 6, 4, H, W), and what `given` makes of them."""

    def __init__(self, given: Callable[[Tensor], Any] = lambda maps: maps) -> None:
        super().__init__()
        draw = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(1))
        self.weight, self.given = nn.Parameter(draw), given

    def forward(self, images: Tensor) -> Any:
        turned = [F.conv2d(images, self.weight.rot90(k, (2, 3)), padding=2) for k in range(4)]
        return self.given(torch.stack(turned, 2))


class Geometric:
    """As e2cnn's GeometricTensor: a tensor and what it transforms by."""

    def __init__(self, tensor: Tensor, kind: str = "regular") -> None:
        self.tensor, self.type = tensor, kind


class Slotted:
    __slots__ = ("_values", "kind")

    def __init__(self, values: Tensor) -> None:
        self._values, self.kind = values, "slots"


class Nested:
    """As DETR's: maps and a mask of what is padding."""

    def __init__(self, tensors: Tensor) -> None:
        self.tensors, self.mask = tensors, tensors[:, 0] > 0


@dataclass(frozen=True)
class Holder:
    field: Geometric


Pair = namedtuple("Pair", ["map", "number"])

FORMS: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "five axes": (lambda maps: maps, "0", "NCCHW"),
    "group first": (lambda maps: maps.transpose(1, 2), "0", "NCCHW"),
    "channels last": (lambda maps: maps.permute(0, 3, 4, 1, 2), "0", "NHWCC"),
    "group in between": (lambda maps: maps.permute(0, 3, 2, 4, 1), "0", "NHCWC"),
    "six axes": (lambda maps: maps.unflatten(1, (2, 3)), "0", "NCCCHW"),
    "flat": (lambda maps: maps.flatten(1, 2), "0", "NCHW"),
    "GeometricTensor": (Geometric, "0", "NCCHW"),
    "in a tuple": (lambda maps: (Geometric(maps), 1), "0:0", "NCCHW"),
    "in a dictionary": (lambda maps: {"out": Geometric(maps)}, "0:out", "NCCHW"),
    "in a dataclass": (lambda maps: Holder(Geometric(maps)), "0:field", "NCCHW"),
    "in a named tuple": (lambda maps: Pair(Geometric(maps), 2), "0:map", "NCCHW"),
    "slots": (Slotted, "0", "NCCHW"),
    "maps and mask": (Nested, "0:tensors", "NCCHW"),
    "one channel": (lambda maps: maps[:, 0, 0], "0", "NHW"),
    "complex": (lambda maps: torch.complex(maps[:, :3, 0], maps[:, 3:, 1]), "0", "NCHW"),
    "sparse": (lambda maps: maps[:, :, 0].to_sparse(), "0", "NCHW"),
    "truth": (lambda maps: maps[:, :, 0] > 0, "0", "NCHW"),
    "whole numbers": (lambda maps: (100 * maps[:, :, 0]).long(), "0", "NCHW"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_map_is_found_wherever_it_is(form: str) -> None:
    given, name, kind = FORMS[form]
    layer = Lift(given)
    network = nn.Sequential(layer)
    listed = {one.name: one for one in list_layers(network, IMAGES[:1])}[name]
    assert listed.layout is not None
    assert (listed.layout.kind, listed.size) == (kind, (12, 10))
    frame = find_frames(network, [name], (12, 10), 1)[0][name]
    assert (frame.jump, frame.start, frame.method) == ((1.0, 1.0), (-4.5, -5.5), "support")
    maps = Activations(network, [name])(IMAGES)[name]
    assert maps.shape == (3, listed.channels, 12, 10)
    whole = Lift()(IMAGES)
    if form == "complex":
        assert torch.equal(maps, torch.cat([whole[:, :3, 0], whole[:, 3:, 1]], 1))
    elif maps.shape[1] == 24:
        # The same maps in some order, and in this one where channels come first.
        assert torch.equal(maps.flatten(1).sort(1)[0], whole.flatten(1).sort(1)[0])


class Reads(nn.Module):
    """The end of a classifier: logits from whatever the layer gave, whose form it checks."""

    def __init__(self, like: Any) -> None:
        super().__init__()
        self.kind = type(like)
        self.seen: list[Any] = []

    def forward(self, given: Any) -> Tensor:
        assert type(given) is self.kind
        self.seen.append(given)
        return torch.ones(len(IMAGES), 2)


@pytest.mark.parametrize("form", FORMS)
def test_a_replaced_map_has_the_form_that_the_layer_gave(form: str) -> None:
    given, name, _ = FORMS[form]
    layer = Lift(given)
    own = layer(IMAGES)
    network = nn.Sequential(layer, Reads(own))
    layout = measure_layouts(network[:1], ["0"], (12, 10), 1).get(name)
    layout = layout or measure_layouts(network[:1], None, (12, 10), 1)[name]
    run_replaced(network, name, IMAGES, lambda maps: 2 * maps, layout)
    twice, before = (_tensor(each, name) for each in (network[1].seen[-1], own))
    assert twice.shape == before.shape
    assert torch.equal(twice, (2 * before).to(before.dtype))


def _tensor(output: Any, name: str) -> Tensor:
    """The tensor of an output at a part's name, dense."""
    for step in name.split(":")[1:]:
        output = output[int(step)] if step.isdecimal() else (
            output[step] if isinstance(output, dict) else getattr(output, step)
        )  # fmt: skip
    if isinstance(output, (Geometric, Slotted)):
        output = output.tensor if isinstance(output, Geometric) else output._values
    return output.to_dense() if output.is_sparse else output


def test_quantised_maps_are_read_and_written() -> None:
    layer = Lift(lambda maps: torch.quantize_per_tensor(maps[:, :, 0], 0.1, 3, torch.qint8))
    network = nn.Sequential(layer, Reads(layer(IMAGES)))
    maps = Activations(network, ["0"])(IMAGES)["0"]
    assert torch.equal(maps, layer(IMAGES).dequantize())
    run_replaced(network, "0", IMAGES, lambda held: held - 0.1)
    given = network[1].seen[-1]
    assert given.is_quantized
    assert torch.allclose(given.dequantize(), maps - 0.1)


@pytest.mark.parametrize("given", [lambda maps: maps, Geometric], ids=["axes", "object"])
def test_a_quarter_turn_permutes_the_channels_of_a_lifting(given: Callable[[Tensor], Any]) -> None:
    digits = embedded_digits(24)
    result = probe(nn.Sequential(Lift(given)), ["0"], ["rotation:90"], digits, resamples=10)
    found = result.residuals.set_index("rung")["residual"]
    assert found["inverse"] > 0.5
    assert found["inverse_permuted"] < 1e-9


class Classifier(nn.Module):
    """Logits that no quarter turn changes, from objects around maps of five axes."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = Lift(Geometric)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.lift(images).tensor.relu().amax((2, 3, 4)))


def test_the_oracle_gives_the_object_back_to_the_network() -> None:
    images = array_images(torch.rand(24, 1, 9, 9, generator=torch.Generator().manual_seed(2)))
    found = oracle(Classifier(), ["lift"], ["rotation:90"], images, resamples=10)
    assert found.accuracy["agreement"].min() == 1.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda maps: maps.flatten(1), "not a map"),
        (lambda maps: maps[..., :1, :1], "a single cell"),
        (lambda maps: "text", "gives a str, not a map"),
        (lambda maps: None, "gives a NoneType, not a map"),
        (lambda maps: maps.permute(3, 4, 0, 1, 2), "for 1 image"),
        (lambda maps: maps[0], "for 1 image"),
    ],
)
def test_what_is_no_map_is_one_line(given: Callable[[Tensor], Any], words: str) -> None:
    with pytest.raises(ProbeError, match=words) as caught:
        probe(nn.Sequential(Lift(given)), ["0"], ["rotation:90"], IMAGES.repeat(4, 1, 1, 1))
    assert "\n" not in str(caught.value)
