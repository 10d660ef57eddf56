"""Frames are those of the arithmetic and of gradients, whatever weights and global operations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import Frame
from invariance_probe.networks import (
    MnistCNN,
    measure_frames,
    nearest_aligned_size,
    nearest_aligned_sizes,
)

RESNET_LAYERS = ["conv1", "layer1", "layer2", "layer3", "layer4"]


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return torchvision.models.resnet18(weights=None)


def one(network: nn.Module, layer: str, canvas: tuple[int, int], channels: int = 1) -> Frame:
    frame = measure_frames(network, [layer], canvas, channels)[layer]
    assert frame.method == "support"
    return frame


# --- known answers ----------------------------------------------------------------------------


def test_convention_frames_of_resnet18_at_224(resnet: nn.Module) -> None:
    frames = measure_frames(resnet, [*RESNET_LAYERS, "maxpool"], (224, 224))
    offsets = [frames[layer].centre_offset for layer in RESNET_LAYERS]
    assert offsets == [(-d, -d) for d in (0.5, 1.5, 3.5, 7.5, 15.5)]
    assert frames["maxpool"].centre_offset == (-1.5, -1.5)
    assert [frames[layer].jump[0] for layer in RESNET_LAYERS] == [2, 4, 8, 16, 32]
    assert frames["layer4"].size == (7, 7)
    assert {frame.method for frame in frames.values()} == {"support"}


def test_resnet18_at_225_is_centred(resnet: nn.Module) -> None:
    frames = measure_frames(resnet, RESNET_LAYERS, (225, 225))
    assert all(frame.centre_offset == (0, 0) for frame in frames.values())


def test_wide_canvas_and_axis_order(resnet: nn.Module) -> None:
    frame = measure_frames(resnet, ["layer3"], (225, 224))["layer3"]
    assert frame.size == (15, 14)
    assert frame.centre_offset == (-7.5, 0)  # (x, y): columns are even, rows odd


@pytest.mark.parametrize(("canvas", "offset"), [(32, 0.0), (48, 0.0), (33, -0.5), (35, -1.5)])
def test_two_by_two_pools(canvas: int, offset: float) -> None:
    blocks = [nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2)) for _ in range(2)]
    frame = one(nn.Sequential(*blocks), "1", (canvas, canvas))
    assert (frame.jump, frame.centre_offset) == ((4, 4), (offset, offset))


def test_mnist_cnn() -> None:
    frames = measure_frames(MnistCNN(), ["conv1", "pool1", "conv2", "pool2"], (28, 28), 1)
    assert [frame.jump[0] for frame in frames.values()] == [1, 2, 2, 4]
    assert all(frame.centre_offset == (0, 0) for frame in frames.values())
    assert frames["conv1"].start == (-9.5, -9.5)


# --- the arithmetic of a chain, any kernel, stride, padding, dilation -------------------------


def chain(steps: list[tuple[int, int, int, int]]) -> tuple[nn.Module, Callable[[int], Frame]]:
    """A chain of convolutions (kernel, stride, padding, dilation) and its frame in closed form."""
    network = nn.Sequential(*(nn.Conv2d(1, 1, k, s, p, d) for k, s, p, d in steps))

    def frame(canvas: int) -> Frame:
        jump, start, size = 1.0, 0.0, canvas
        for kernel, stride, padding, dilation in steps:
            extent = dilation * (kernel - 1)
            start += jump * (extent / 2 - padding)
            size = (size + 2 * padding - extent - 1) // stride + 1
            jump *= stride
        assume(size > 1)  # a single cell is refused
        start -= (canvas - 1) / 2
        return Frame((jump, jump), (start, start), (size, size))

    return network, frame


steps = st.tuples(
    st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)
).filter(lambda s: s[2] <= s[3] * (s[0] - 1))


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=3), st.integers(48, 60))
def test_chains_of_convolutions(chosen: list[tuple[int, int, int, int]], canvas: int) -> None:
    network, expected = chain(chosen)
    want = expected(canvas)
    frame = one(network, str(len(chosen) - 1), (canvas, canvas))
    assert (frame.jump, frame.start, frame.size) == (want.jump, want.start, want.size)


def test_anisotropic_stride_on_an_oblong_image() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, (5, 2), stride=(3, 2), padding=(2, 0)))
    frame = one(network, "0", (31, 40))
    assert frame.size == (11, 20)
    assert frame.jump == (2, 3)
    assert frame.centre_offset == (0, 0)
    assert frame.start == (0.5 - 19.5, 0 - 15)


def test_asymmetric_padding() -> None:
    network = nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(1, 1, 3))
    frame = one(network, "1", (16, 16))
    assert frame.centre_offset == (0.5, -1)


def test_kernels_with_holes_that_a_thin_strip_only_meets_in_the_padding() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near = nn.Conv2d(1, 1, 1)
            self.far = nn.Conv2d(1, 1, 2, padding=4, dilation=6)
            self.all = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            far = self.far(images)  # at u - 4 and u + 2, two cells more than the image has
            return self.all(self.near(images) + far[:, :, :-2, :-2])

    frames = measure_frames(Sum(), ["near", "far", "all"], (32, 32), 1)
    assert [frame.method for frame in frames.values()] == ["support"] * 3
    assert [frame.start[0] + 15.5 for frame in frames.values()] == [0, -1, -1]


def test_padding_that_depends_on_the_size() -> None:
    class Same(nn.Conv2d):
        """As TensorFlow pads: so much that the size is ceil(size / stride), the odd one behind."""

        def forward(self, images: Tensor) -> Tensor:
            pads = []
            for size in images.shape[:1:-1]:
                total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
                pads += [total // 2, total - total // 2]
            return super().forward(F.pad(images, pads))

    network = nn.Sequential(Same(1, 1, 3, stride=2), Same(1, 1, 3, stride=2))
    even, odd = (one(network, "1", (n, n)) for n in (32, 33))
    assert even.start == (1 + 2 * 1 - 15.5,) * 2
    assert odd.centre_offset == (0, 0)
    assert nearest_aligned_size(network, "1", (32, 32), 1) == (33, 33)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 5, stride=2, padding=2, padding_mode=mode))
    assert one(network, "0", (32, 32)).centre_offset == (-0.5, -0.5)


def test_kernels_smaller_than_the_stride() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1, stride=4), nn.Conv2d(1, 1, 1, stride=2))
    frame = one(network, "1", (64, 64))
    assert (frame.jump, frame.start) == ((8, 8), (-31.5, -31.5))


@pytest.mark.parametrize(
    "grow",
    [
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.PixelShuffle(2),
        nn.ConvTranspose2d(4, 1, 2, stride=2),
        nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1),
    ],
    ids=lambda module: str(module),
)
def test_upsampled_maps(grow: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(4), grow)
    frame = one(network, "2", (32, 32))
    assert (frame.jump, frame.size) == ((2, 2), (16, 16))
    assert frame.centre_offset == (0, 0)


# --- an independent oracle: gradients with positive weights -----------------------------------


class Tower(nn.Module):
    """Branches, a reused module, groups and channels joined: only the network knows its fields."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 4, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.AvgPool2d(3, stride=2)
        self.last = nn.Conv2d(8, 2, (1, 3), padding=(0, 2))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = self.again(self.again(maps)) + self.wide(maps)
        maps = self.pool(maps)
        return self.last(torch.cat([maps, maps.relu()], 1))


def gradient_frame(network: nn.Module, layer: str, canvas: tuple[int, int]) -> Frame:
    """Middles of the non-zero gradients of two inner cells, by autograd."""
    network = network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.1)
    image = torch.rand(1, 1, *canvas, dtype=torch.float64, requires_grad=True)
    maps: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *a: maps.append(a[2]))
    network(image)
    handle.remove()
    rows, columns = maps[0].shape[2:]
    cells = [(rows // 2, columns // 2), (rows // 2 + 1, columns // 2 + 1)]
    middles = []
    for row, column in cells:
        (slope,) = torch.autograd.grad(maps[0][0, :, row, column].sum(), image, retain_graph=True)
        seen = slope[0, 0].nonzero()
        low, high = seen.min(0).values, seen.max(0).values
        assert bool((low > 0).all()) and bool((high < torch.tensor(canvas) - 1).all())
        middles.append((low + high) / 2)
    jump = middles[1] - middles[0]
    start = middles[0] - jump * torch.tensor(cells[0]) - (torch.tensor(canvas) - 1) / 2
    (jy, jx), (sy, sx) = jump.tolist(), start.tolist()
    return Frame((jx, jy), (sx, sy), (rows, columns))


@pytest.mark.parametrize("canvas", [(48, 64), (49, 51)])
def test_against_gradients_of_positive_weights(canvas: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = Tower()
    measured = measure_frames(network, ["wide", "pool", "last"], canvas, 1)
    for layer, frame in measured.items():
        oracle = gradient_frame(network, layer, canvas)
        assert (frame.jump, frame.start, frame.size) == (oracle.jump, oracle.start, oracle.size)


def test_calls_of_a_reused_module_have_their_own_frames() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(1, 1, 3, stride=2, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.down(self.down(images))

    frames = measure_frames(Twice(), ["down", "down#2"], (32, 32), 1)
    assert [frame.centre_offset[0] for frame in frames.values()] == [-0.5, -1.5]


# --- weights, activations and global operations do not matter ---------------------------------


def test_weights_do_not_matter() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.fill_(-1)  # every unit is dead
    assert one(network, "2", (16, 16)).centre_offset == (0, 0)


class Squeeze(nn.Module):
    """Global operations of several kinds between two convolutions."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.gate = nn.Conv2d(4, 4, 1)
        self.norm = {"group": nn.GroupNorm(2, 4), "instance": nn.InstanceNorm2d(4)}.get(kind)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.hardswish(self.first(images))
        match self.kind:
            case "pool":
                maps = maps * F.hardsigmoid(self.gate(F.adaptive_avg_pool2d(maps, 1)))
            case "avg_pool2d":
                maps = maps * self.gate(F.avg_pool2d(maps, maps.shape[2:])).sigmoid()
            case "mean":
                maps = maps * self.gate(maps.mean((2, 3), keepdim=True)).sigmoid()
            case "flat":
                maps = maps * maps.flatten(2).mean(-1)[..., None, None].sigmoid()
            case "strips":
                maps = maps * (maps.mean(2, keepdim=True) + maps.mean(3, keepdim=True)).sigmoid()
            case "norm":
                maps = maps / torch.linalg.vector_norm(maps, dim=(1, 2, 3), keepdim=True)
            case "spread":
                maps = (maps - maps.mean()) / (maps.std() + 1)
            case "max":
                maps = maps * maps.flatten(2).max(-1).values[..., None, None].sigmoid()
            case "spatial gate":
                maps = maps * torch.cat([maps.mean(1, True), maps.max(1, True).values], 1).sum(
                    1, True
                )
            case "attention":
                tokens = maps.flatten(2).transpose(1, 2)
                score = (tokens @ tokens.transpose(1, 2)).softmax(-1)
                maps = (score @ tokens).transpose(1, 2).reshape(maps.shape)
            case "sdpa":
                tokens = maps.flatten(2).transpose(1, 2)
                mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
                maps = mixed.transpose(1, 2).reshape(maps.shape)
            case "multihead":
                tokens = maps.flatten(2).transpose(1, 2)
                maps = self.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(maps.shape)
        if self.norm is not None:
            maps = self.norm(maps)
        return self.last(maps)


@pytest.mark.parametrize(
    "kind",
    [
        "pool", "avg_pool2d", "mean", "flat", "strips", "norm", "spread", "max", "spatial gate",
        "attention", "sdpa", "multihead", "group", "instance",
    ],
)  # fmt: skip
def test_global_operations_are_passed_over(kind: str) -> None:
    frame = one(Squeeze(kind), "last", (32, 32))
    assert (frame.jump, frame.centre_offset) == ((4, 4), (-1.5, -1.5))


def test_a_batch_norm_without_statistics() -> None:
    norm = nn.BatchNorm2d(2, track_running_stats=False)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.MaxPool2d(2))
    assert one(network, "2", (32, 32)).centre_offset == (-0.0, -0.0)


def test_mobilenet_v3_with_squeeze_and_excitation() -> None:
    network = torchvision.models.mobilenet_v3_small(weights=None)
    frames = measure_frames(network, ["features.0", "features"], (224, 224))
    assert [f.centre_offset for f in frames.values()] == [(-0.5, -0.5), (-15.5, -15.5)]
    assert {f.method for f in frames.values()} == {"support"}


def test_a_network_of_one_fixed_size() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, stride=2, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            if images.shape[2:] != (32, 32):
                raise ValueError("images must be 32x32")
            return self.conv(images)

    assert one(Fixed(), "conv", (32, 32)).centre_offset == (-0.5, -0.5)


def test_pooling_to_a_fixed_size() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AdaptiveAvgPool2d(8))
    frame = one(network, "1", (32, 32))
    assert (frame.jump, frame.centre_offset) == ((4, 4), (0, 0))


def test_the_network_is_as_before(resnet: nn.Module) -> None:
    resnet.train()
    state = {key: value.clone() for key, value in resnet.state_dict().items()}
    measure_frames(resnet, ["layer1"], (64, 64))
    assert resnet.training
    assert all(torch.equal(value, state[key]) for key, value in resnet.state_dict().items())
    assert not any(module._forward_hooks for module in resnet.modules())
    resnet.eval()


# --- where fields are not seen ----------------------------------------------------------------


class Soft(nn.Module):
    """Attention in a form that is not recognised: keys are half as many as queries."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, stride=4, padding=1)
        self.mix = nn.Conv2d(8, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        tokens = maps.flatten(2).transpose(1, 2)
        keys = tokens[:, ::2]
        mixed = (tokens @ keys.transpose(1, 2)).softmax(-1) @ keys
        return self.mix(maps + 0.1 * mixed.transpose(1, 2).reshape(maps.shape))


def test_what_passes_around_unknown_attention_gives_the_frame() -> None:
    torch.manual_seed(0)
    frame = measure_frames(Soft(), ["mix"], (64, 64), 1)["mix"]
    assert frame.method == "moment" and not frame.estimated
    assert frame.jump == pytest.approx((4, 4), abs=1e-6)
    assert frame.centre_offset == pytest.approx((-1.5, -1.5), abs=1e-5)


class Reshaped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(256, 2 * 36)
        self.fold = nn.Unflatten(1, (2, 6, 6))
        self.swap = Last()

    def forward(self, images: Tensor) -> Tensor:
        self.swap(images)
        return self.fold(self.fc(images.flatten(1)))


class Last(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).expand(-1, -1, -1, 5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("fc", "layer 'fc' gives (1, 72), not a map (N, C, H, W)"),
        ("fold", "layer 'fold': its cells have no regular places in the image"),
        ("flod", "the network has no layer 'flod'; did you mean fold?"),
    ],
)
def test_refusals(layer: str, message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        measure_frames(Reshaped(), [layer], (16, 16), 1)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_single_cell_is_refused(resnet: nn.Module) -> None:
    with pytest.raises(ProbeError, match="layer 'avgpool' gives a single cell"):
        measure_frames(resnet, ["avgpool"], (64, 64))


# --- input sizes that centre a map ------------------------------------------------------------


def test_nearest_aligned_size(resnet: nn.Module) -> None:
    sizes = nearest_aligned_sizes(resnet, RESNET_LAYERS, (224, 224))
    assert sizes == dict.fromkeys(RESNET_LAYERS, (225, 225))
    assert nearest_aligned_size(resnet, "layer2", (225, 225)) == (225, 225)
    assert nearest_aligned_size(resnet, "layer2", (224, 230)) == (225, 233)


def test_nearest_aligned_size_of_pools() -> None:
    network = nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2))
    assert nearest_aligned_size(network, "1", (33, 35), 1) == (32, 36)


def test_no_aligned_size() -> None:
    network = nn.Sequential(nn.ZeroPad2d((1, 0, 0, 0)), nn.Conv2d(1, 1, 1))
    assert nearest_aligned_size(network, "1", (32, 32), 1) is None
