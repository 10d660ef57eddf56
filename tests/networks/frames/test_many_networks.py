"""Networks of torchvision and timm: layers, choice, frames against gradients, a small probe."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.networks import (
    Activations,
    build_network,
    default_layers,
    find_frames,
    list_layers,
)
from invariance_probe.networks.layers.capture import run
from invariance_probe.probing import probe

pytestmark = pytest.mark.slow

# Layers that must be among the chosen, and the canvas if it is not the network's own.
TORCHVISION = {
    "resnet18": ["layer1", "layer2", "layer3", "layer4"],
    "resnet50": ["layer1", "layer2", "layer3", "layer4"],
    "vgg16": ["features.8", "features.15", "features.22", "features.29"],
    "convnext_tiny": ["features.1", "features.3", "features.5", "features.7"],
    "swin_t": ["features.1", "features.3", "features.5", "features.7"],
    "vit_b_16": ["encoder.layers.encoder_layer_5", "encoder.layers.encoder_layer_11"],
    "densenet121": [f"features.denseblock{i}" for i in (1, 2, 3, 4)],
    "inception_v3": ["Mixed_5d", "Mixed_6e", "Mixed_7c"],
    "mobilenet_v3_large": ["features.3", "features.6", "features.12", "features.16"],
}
TIMM = {
    "timm:efficientnet_lite0": ["blocks.1", "blocks.2", "blocks.4"],
    "timm:vit_small_patch16_dinov3": ["blocks.11"],
    "timm:convnext_atto": [f"stages.{i}" for i in range(4)],
    "timm:regnety_002": ["s1", "s2", "s3", "s4"],
}
needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
CASES = [
    *(pytest.param(*item, id=item[0]) for item in TORCHVISION.items()),
    *(pytest.param(*item, id=item[0], marks=needs_timm) for item in TIMM.items()),
]
BY_CENTROID = 0.35  # of the jump


@pytest.mark.parametrize(("name", "wanted"), CASES)
def test_layers_frames_and_a_small_probe(name: str, wanted: list[str]) -> None:
    torch.manual_seed(0)
    built = build_network(name)
    canvas = built.canvas
    listed = list_layers(built.module, torch.zeros(1, built.channels, *canvas))
    chosen = default_layers(listed)
    assert 4 <= len(chosen) <= 8 and set(wanted) <= set(chosen)
    frames, reasons = find_frames(built.module, chosen, canvas, built.channels)
    assert not reasons and list(frames) == chosen
    assert {frame.method for frame in frames.values()} == {"support"}
    network = linear(built.module)
    for layer in (chosen[0], chosen[len(chosen) // 2], chosen[-1]):
        frame = frames[layer]
        rows, columns = frame.size
        for row, column in {(rows // 2, columns // 2), ((rows - 1) // 2, (columns - 1) // 2)}:
            x, y = seen_place(network, layer, canvas, row, column)
            assert abs(frame.jump[0] * column + frame.start[0] - x) < BY_CENTROID * frame.jump[0]
            assert abs(frame.jump[1] * row + frame.start[1] - y) < BY_CENTROID * frame.jump[1]
    images = torch.rand(8, built.channels, *canvas)
    options = {"channels": False, "resamples": 20, "batch_size": 4}
    last = chosen[-2:]
    result = probe(build_network(name), last, ["rotation:90", "reflection:90"], images, **options)
    assert result.axes["layer"] == tuple(last)
    assert bool((result.summary["other_image"] > 0).all())


def linear(network: nn.Module) -> nn.Module:
    """The network in double precision with positive weights and without what bends or mixes.

    Its gradients are then spread over receptive fields without cancelling, and evenly about
    their middles: an oracle that knows nothing of marks.
    """
    norms = ("LayerNorm", "RmsNorm", "GroupNorm", "GlobalResponseNorm", "BatchNorm")
    gates = ("SqueezeExcitation", "SqueezeExcite", "SEModule")
    bends = ("ReLU", "ReLU6", "GELU", "GELUTanh", "SiLU", "Hardswish", "Hardsigmoid")
    for module in network.modules():
        for name, child in list(module.named_children()):
            kind = type(child).__name__
            if isinstance(child, nn.MultiheadAttention):
                setattr(module, name, OwnValue())
            elif kind in ("ShiftedWindowAttention", "Attention", "EvaAttention"):
                setattr(module, name, Passes())
            elif kind in gates + bends or kind.startswith(norms):
                # timm's batch norm holds the activation that follows it
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                window = (child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, nn.AvgPool2d(*window))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim >= 2:
                parameter.fill_(1 / parameter[0].numel())
            else:
                parameter.fill_(1.0)
    return network.double().eval()


class OwnValue(nn.Module):
    def forward(self, query: Tensor, *_: Tensor, **__: object) -> tuple[Tensor, None]:
        return query, None


class Passes(nn.Module):
    def forward(self, values: Tensor, *_: object, **__: object) -> Tensor:
        return values


def seen_place(
    network: nn.Module, layer: str, canvas: tuple[int, int], row: int, column: int
) -> tuple[float, float]:
    """Image coordinates (x, y) of the centroid of what one cell sees, by autograd.

    The larger the field, the more it is cut by the image: then the canvas grows on all sides by
    as much as the cell moves, where the network takes other sizes.
    """
    image = torch.rand(1, 3, *canvas, dtype=torch.float64, requires_grad=True)
    layout = Activations(network, [layer]).layouts(image).get(layer)
    taken: list[Tensor] = []

    def take(_: str, output: object) -> None:
        assert isinstance(output, Tensor)
        taken.append(output if layout is None else layout.to_map(output))

    run(network, image * 1, [layer], take, grad=True)
    (slope,) = torch.autograd.grad(taken[0][0, :, row, column].sum(), image)
    power = slope[0].abs().sum(0)
    rows, columns = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in canvas)
    total = power.sum()
    return float((power.sum(0) * columns).sum() / total), float((power.sum(1) * rows).sum() / total)


# --- known answer 9 ---------------------------------------------------------------------------

LAYERS = ["conv1", "layer1", "layer2", "layer3", "layer4"]


def test_resnet18_at_224_and_at_225() -> None:
    built = build_network("resnet18")
    frames, _ = find_frames(built.module, LAYERS, (224, 224))
    offsets = [frame.centre_offset[0] for frame in frames.values()]
    assert offsets == [-0.5, -1.5, -3.5, -7.5, -15.5]
    options = {"channels": False, "resamples": 20, "batch_size": 4}
    for side in (224, 225):
        images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0))
        result = probe(built, LAYERS, ["rotation:90", "rotation:180"], images, **options)
        grids = [warning for warning in result.warnings if warning.startswith("grid of")]
        if side == 225:
            assert not grids
            continue
        assert len(grids) == len(LAYERS)
        assert all("225" in warning for warning in grids)
