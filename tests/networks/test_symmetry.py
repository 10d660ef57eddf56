"""Twins: symmetric kernels, everything else kept, residuals at 90° as computed by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.models import resnet18

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Network, build_network
from invariance_probe.networks.symmetry import asymmetry, symmetrised, symmetry_path


def members(kernels: np.ndarray, group: str) -> list[np.ndarray]:
    """All turned (and mirrored) copies of kernels (..., k, k)."""
    turned = [np.rot90(kernels, k, (-2, -1)) for k in range(4)]
    return turned if group == "rotations" else turned + [k[..., ::-1] for k in turned]


def small(seed: int = 0, **arguments: object) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 9), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(6, 5, 7), nn.MaxPool2d(2), nn.ReLU(),
    )  # fmt: skip


@torch.no_grad()
def residual_at_90(network: nn.Module, images: Tensor) -> float:
    """Of the maps turned back as arrays: 28 px keep every map of `small` even."""
    original = network(images)
    aligned = torch.rot90(network(torch.rot90(images, 1, (-2, -1))), -1, (-2, -1))
    mean = original.mean(dim=(0, 2, 3), keepdim=True)
    return ((aligned - original).square().sum() / (original - mean).square().sum()).item()


IMAGES = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))


# --- the kernels -------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["rotations", "rotations+reflections"])
@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_kernels_are_averages_and_exactly_symmetric(group, size):
    layer = nn.Conv2d(3, 4, size)
    before = layer.weight.detach().double().numpy().copy()
    twin = symmetrised(layer, group=group, rescale=False)
    after = twin.weight.detach()
    assert after.numpy() == pytest.approx(np.mean(members(before, group), 0), abs=1e-7)
    for copy in members(after.numpy(), group):
        assert np.array_equal(copy, after.numpy())
    assert np.array_equal(layer.weight.detach().numpy(), before.astype(np.float32))
    assert torch.equal(twin.bias, layer.bias)


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
def test_rescaling_restores_the_norm_of_every_channel(amount):
    layer = nn.Conv2d(4, 6, 5)
    twin = symmetrised(layer, amount)
    plain = symmetrised(layer, amount, rescale=False)
    norms = [w.detach().flatten(1).norm(dim=1) for w in (layer.weight, twin.weight, plain.weight)]
    assert norms[1].tolist() == pytest.approx(norms[0].tolist(), rel=1e-5)
    ratio = (twin.weight / plain.weight).detach().flatten(1)
    assert (ratio.std(1) / ratio.mean(1)).abs().max() < 1e-4  # one factor a channel
    if amount == 0:
        assert torch.equal(plain.weight, layer.weight)


def test_odd_kernels_vanish_and_pointwise_ones_stay():
    sobel = nn.Conv2d(1, 1, 3, bias=False)
    sobel.weight.data = torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
    assert symmetrised(sobel).weight.abs().max() == 0
    point = nn.Conv2d(8, 4, 1)
    assert torch.equal(symmetrised(point).weight, point.weight)


@pytest.mark.parametrize("kind", ["grouped", "depthwise", "transposed", "transposed grouped"])
def test_groups_and_transposed_convolutions_align_at_90_degrees(kind):
    torch.manual_seed(1)
    layer = {
        "grouped": nn.Conv2d(4, 6, 3, groups=2),
        "depthwise": nn.Conv2d(4, 4, 5, groups=4, padding=2),
        "transposed": nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
        "transposed grouped": nn.ConvTranspose2d(4, 6, 3, groups=2),
    }[kind]
    images = torch.rand(4, 4, 12, 12)
    twin = symmetrised(layer)
    assert residual_at_90(layer, images) > 0.01
    assert residual_at_90(twin, images) < 1e-10
    # One input channel at a time: the norm over inputs of what each output channel answers.
    energy = []
    for module in (layer, twin):
        weight = module.weight.detach()
        if kind.startswith("transposed"):
            parts = weight.chunk(layer.groups)
            weight = torch.cat([part.transpose(0, 1) for part in parts])
        energy.append(weight.flatten(1).norm(dim=1).tolist())
    assert energy[1] == pytest.approx(energy[0], rel=1e-5)


def test_weights_that_layers_share_are_averaged_once():
    first, second = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
    second.weight = first.weight
    twin = symmetrised(nn.Sequential(first, second), 0.5, rescale=False)
    assert twin[0].weight is twin[1].weight
    expected = symmetrised(first, 0.5, rescale=False).weight
    assert torch.equal(twin[0].weight, expected)


# --- residuals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["rotations", "rotations+reflections"])
@pytest.mark.parametrize("rescale", [True, False])
def test_the_twin_aligns_at_90_degrees_on_even_grids(group, rescale):
    network = small()
    assert residual_at_90(network, IMAGES) > 0.3
    twin = symmetrised(network, group=group, rescale=rescale)
    assert residual_at_90(twin, IMAGES) < 1e-6
    mirrored = twin(IMAGES.flip(-1)).flip(-1)
    same = bool(torch.allclose(mirrored, twin(IMAGES), atol=1e-5))
    assert same == (group == "rotations+reflections")


@pytest.mark.parametrize("rescale", [True, False])
def test_the_residual_falls_along_the_path(rescale):
    amounts = [0, 0.2, 0.4, 0.6, 0.8, 0.9, 1]
    path = list(symmetry_path(small(), amounts, rescale=rescale))
    assert [amount for amount, _ in path] == amounts
    shallow = [residual_at_90(network[:3], IMAGES) for _, network in path]
    assert all(a > b for a, b in itertools.pairwise(shallow))
    assert shallow[0] == pytest.approx(residual_at_90(small()[:3], IMAGES))
    # Behind several layers the start is on the ceiling, where it need not fall yet.
    larger = torch.rand(4, 1, 60, 60, generator=torch.Generator().manual_seed(1))
    deep = [residual_at_90(network, larger) for _, network in path]
    assert all(a > b for a, b in itertools.pairwise(deep[3:]))
    assert deep[0] > 1.5 > deep[4]
    assert max(deep[-1], shallow[-1]) < 1e-6
    shares = [asymmetry(network)["0"] for _, network in path]
    assert all(a > b for a, b in itertools.pairwise(shares))


def test_one_convolution_follows_the_closed_form():
    layer = nn.Sequential(nn.Conv2d(1, 4, 5, bias=False))
    weight = layer[0].weight.detach().double().numpy()
    even = np.mean(members(weight, "rotations"), 0)
    odd = weight - even
    moved = ((np.rot90(odd, -1, (-2, -1)) - odd) ** 2).sum()
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    for t, network in symmetry_path(layer, (0, 0.25, 0.5, 0.9), rescale=False):
        expected = (1 - t) ** 2 * moved / ((even**2).sum() + (1 - t) ** 2 * (odd**2).sum())
        assert residual_at_90(network, images) == pytest.approx(expected, rel=0.05)


# --- asymmetry ---------------------------------------------------------------------------------


def test_asymmetry_by_hand():
    """A 2x2 kernel (1 0; 0 0): its average is 1/4 everywhere, energy 1/4 of 1."""
    corner = nn.Conv2d(1, 1, 2, bias=False)
    corner.weight.data = torch.tensor([[[[1.0, 0], [0, 0]]]])
    # An L of 3x3: rotations and reflections average differently.
    pinwheel = nn.Conv2d(1, 1, 3, bias=False)
    pinwheel.weight.data = torch.tensor([[[[0.0, 0, 0], [0, 2, 0], [1, 3, 0]]]])
    network = nn.Sequential(corner, nn.ReLU(), pinwheel)
    shares = asymmetry(network)
    assert list(shares) == ["0", "2"]
    assert shares["0"] == pytest.approx(3 / 4)
    assert shares["2"] == pytest.approx(1 - (4 + 1 / 4 + 9 / 4) / 14)
    both = asymmetry(network, "rotations+reflections")
    assert both["2"] == pytest.approx(shares["2"])  # its average has the mirror symmetry already
    pinwheel.weight.data = torch.tensor([[[[1.0, 2, 0], [0, 0, 0], [0, 0, 0]]]])
    assert asymmetry(network)["2"] == asymmetry(network, "rotations+reflections")["2"]


@pytest.mark.parametrize("group", ["rotations", "rotations+reflections"])
def test_the_twin_has_no_asymmetry_and_random_kernels_have_what_is_expected(group):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 32, 8), nn.Conv2d(32, 4, 1))
    shares = asymmetry(network, group)
    orbits = 16 if group == "rotations" else 10  # of 8x8 pixels; the diagonals' hold 4, not 8
    assert shares["0"] == pytest.approx(1 - orbits / 64, abs=0.02)
    assert shares["1"] == 0
    assert set(asymmetry(symmetrised(network, group=group), group).values()) == {0.0}
    nn.init.zeros_(network[0].weight)
    assert asymmetry(network)["0"] == 0


# --- whole networks ----------------------------------------------------------------------------


def test_the_twin_of_a_resnet_runs_and_keeps_everything_else():
    torch.manual_seed(0)
    network = resnet18(weights=None)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.layer1.eval()
    twin = symmetrised(network)
    assert twin is not network and twin.training and not twin.layer1.training
    kernels = {f"{n}.weight" for n, m in twin.named_modules() if isinstance(m, nn.Conv2d)}
    for name, value in twin.state_dict().items():
        assert torch.equal(network.state_dict()[name], before[name])
        if name in kernels and value.shape[-1] > 1:
            assert torch.equal(value, torch.rot90(value, 1, (-2, -1)))
            assert not torch.equal(value, before[name])
        else:
            assert torch.equal(value, before[name])
    conv = twin.layer2[0].conv1
    assert (conv.stride, conv.padding) == ((2, 2), (1, 1))
    twin.eval()
    with torch.no_grad():
        assert twin(torch.rand(1, 3, 64, 64)).isfinite().all()
        # 65 px centre the maps of a ResNet; layer 1 then turns with the image.
        stem = nn.Sequential(twin.conv1, twin.bn1, twin.relu, twin.maxpool, twin.layer1)
        assert residual_at_90(stem, torch.rand(2, 3, 65, 65)) < 1e-8


def test_a_network_stays_one_and_says_what_it_is():
    network = build_network("mnist_cnn")
    twin = symmetrised(network, 0.5, "rotations+reflections")
    assert isinstance(twin, Network)
    assert twin.description == (
        f"{network.description}, kernels averaged over rotations and reflections (amount 0.5)"
    )
    assert twin.name == "mnist_cnn twin"
    assert twin.checkpoint_sha256 is None
    assert (twin.mean, twin.canvas, twin.channels) == (network.mean, network.canvas, 1)
    assert asymmetry(twin)["conv1"] < asymmetry(network)["conv1"]
    ((_, on_path),) = symmetry_path(network, [0.5], "rotations+reflections")
    assert torch.equal(on_path.module.conv2.weight, twin.module.conv2.weight)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 1, (1, 7))), {}, "layer '0' has a 1x7 kernel, whose quarter"),
        (nn.Conv2d(1, 1, 3, dilation=(1, 2)), {}, r"a 3x3 kernel with dilation \(1, 2\)"),
        (nn.LazyConv2d(4, 3), {}, "has no weights yet; run the network once"),
        (nn.Conv2d(1, 1, 3), {"amount": 1.5}, "amount=1.5 is out of range; give 0"),
        (nn.Conv2d(1, 1, 3), {"amount": float("nan")}, "amount=nan is out of range"),
        (nn.Conv2d(1, 1, 3), {"group": "scalings"}, "group='scalings' is not known; use 'rotati"),
    ],
)
def test_what_has_no_twin_is_refused(network, arguments, message):
    with pytest.raises(ProbeError, match=message):
        symmetrised(network, **arguments)


@pytest.mark.parametrize("kind", ["parametrised", "hooked"])
def test_weights_made_in_the_forward_pass_are_refused_but_measured(kind):
    layer = nn.Conv2d(1, 2, 3)
    expected = asymmetry(nn.ModuleDict({"conv": layer}))["conv"]
    if kind == "parametrised":
        parametrizations.orthogonal(layer)
        expected = pytest.approx(asymmetry(nn.ModuleDict({"conv": layer}))["conv"])
    else:
        weight = layer.weight.detach().clone()
        del layer.weight
        layer.weight = weight  # as hooks of the old kind leave it
    network = nn.ModuleDict({"conv": layer})
    for make in (symmetrised, lambda network: symmetry_path(network, [0.5])):
        with pytest.raises(ProbeError, match=r"'conv' are computed in the forward pass; make them"):
            make(network)
    assert asymmetry(network)["conv"] == expected


def test_a_path_is_checked_before_the_first_network():
    with pytest.raises(ProbeError, match=r"amount=2\.0 is out of range"):
        symmetry_path(small(), [0.5, 2])
    with pytest.raises(ProbeError, match="1x3 kernel"):
        symmetry_path(nn.Conv2d(1, 1, (1, 3)), [0.5])
