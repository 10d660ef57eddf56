"""Operators that are no monotone spread of what they read: each has the frame of its geometry."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from invariance_probe.networks import find_frames
from invariance_probe.networks.frames.measure import LayerFrame


class Fn(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


def between(function: Callable[[Tensor], Tensor] | nn.Module) -> nn.Module:
    """A strided convolution, what is to be tested, and a convolution: offset -0.5, jump 2."""
    middle = function if isinstance(function, nn.Module) else Fn(function)
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), middle, nn.Conv2d(4, 4, 3, padding=1))


def framed(network: nn.Module, layer: str, side: int = 32) -> LayerFrame:
    torch.manual_seed(0)
    frames, reasons = find_frames(network.eval(), [layer], (side, side), 1)
    assert not reasons
    return frames[layer]


BOOK = torch.linspace(-1, 1, 64).view(16, 4)


def code(maps: Tensor) -> Tensor:
    number, channels, rows, columns = maps.shape
    vectors = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    found = BOOK[torch.cdist(vectors, BOOK.to(vectors)).argmin(1)]
    return found.view(number, rows, columns, channels).permute(0, 3, 1, 2)


def gated_by_largest(maps: Tensor) -> Tensor:
    return F.one_hot(maps.argmax(1), 4).permute(0, 3, 1, 2).float()


def flow(maps: Tensor) -> Tensor:
    """A warp by a field of displacements that the maps themselves hold."""
    eye = torch.eye(2, 3).expand(len(maps), 2, 3)
    grid = F.affine_grid(eye, list(maps.shape), align_corners=False)
    grid = grid + maps[:, :2].permute(0, 2, 3, 1).tanh()
    return F.grid_sample(maps, grid, align_corners=False)


class Deformable(nn.Module):
    def __init__(self, mask: bool) -> None:
        super().__init__()
        self.offset, self.mask = nn.Conv2d(4, 18, 3, padding=1), nn.Conv2d(4, 9, 3, padding=1)
        self.deform = torchvision.ops.DeformConv2d(4, 4, 3, padding=1)
        self.masked = mask

    def forward(self, maps: Tensor) -> Tensor:
        mask = self.mask(maps).sigmoid() if self.masked else None
        return self.deform(maps, self.offset(maps), mask)


class Attention(nn.Module):
    """`kind`: values first (SAGAN), without softmax (non-local), or as an einsum."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.query, self.key, self.value = (nn.Conv2d(4, d, 1) for d in (2, 2, 4))

    def forward(self, maps: Tensor) -> Tensor:
        query, key, value = (f(maps).flatten(2) for f in (self.query, self.key, self.value))
        scores = query.transpose(1, 2) @ key
        if self.kind == "non-local":
            found = value @ (scores / scores.shape[-1]).transpose(1, 2)
        elif self.kind == "einsum":
            found = torch.einsum("ncj,nij->nci", value, scores.softmax(-1))
        else:
            found = value @ scores.softmax(-1).transpose(1, 2)
        return maps + 0.1 * found.view(maps.shape)


class Joined(nn.Module):
    """A transformer whose pose comes out of a mean over the image, about an angle or a mesh."""

    def __init__(self, mesh: bool, channels: int = 4, size: int = 16) -> None:
        super().__init__()
        self.pose, self.mesh, self.size = nn.Linear(channels, 1), mesh, size
        nn.init.constant_(self.pose.bias, 0.5)

    def forward(self, maps: Tensor) -> Tensor:
        angle = self.pose(F.adaptive_avg_pool2d(F.relu(maps), 1).flatten(1))
        shift = torch.zeros_like(angle)
        theta = torch.stack(
            [torch.cat([angle.cos(), -angle.sin(), shift], 1),
             torch.cat([angle.sin(), angle.cos(), shift], 1)], 1,
        )  # fmt: skip
        if self.mesh:
            line = torch.linspace(-1, 1, self.size)
            y, x = torch.meshgrid(line, line, indexing="ij")
            points = torch.stack([x, y, torch.ones_like(x)], -1)
            grid = (points.view(1, -1, 3) @ theta.mT).view(-1, self.size, self.size, 2)
        else:
            size = [*maps.shape[:2], self.size, self.size]
            grid = F.affine_grid(theta, size, align_corners=False)
        return F.grid_sample(maps, grid, align_corners=self.mesh)


class Boxed(nn.Module):
    """RoI pooling of the box that is the whole map."""

    def forward(self, maps: Tensor) -> Tensor:
        box = torch.tensor([[0.0, 0, maps.shape[3], maps.shape[2]]]).expand(len(maps), 4)
        boxes = torch.cat([torch.arange(len(maps))[:, None].float(), box], 1)
        half = (maps.shape[2] // 2, maps.shape[3] // 2)
        return torchvision.ops.roi_align(maps, boxes, half, aligned=True)


class Mixer(nn.Module):
    """A linear map over 64 tokens, as in MLP-Mixer; its places are mixed for good."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(64, 64)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = F.layer_norm(maps.flatten(2), (64,))
        return (maps.flatten(2) + self.mix(tokens)).view(maps.shape)


class Pooled(nn.Module):
    """Pooling with indices and unpooling by them, as SegNet."""

    def forward(self, maps: Tensor) -> Tensor:
        pooled, indices = F.max_pool2d(maps, 2, return_indices=True)
        return F.max_unpool2d(pooled, indices, 2)


@pytest.mark.parametrize(
    "middle",
    [
        pytest.param(lambda x: torch.where(x > 0, x, torch.zeros_like(x)), id="where"),
        pytest.param(lambda x: (x > 0.1).float(), id="spikes"),
        pytest.param(lambda x: (10 * x).long() / 10, id="whole numbers"),
        pytest.param(torch.sign, id="sign"),
        pytest.param(lambda x: x * (x > x.mean(1, True)), id="compared"),
        pytest.param(lambda x: x.sort(1).values, id="sorted channels"),
        pytest.param(lambda x: x.topk(4, 1).values, id="topk of channels"),
        pytest.param(lambda x: x.masked_fill(x < 0, 0.0), id="masked"),
        pytest.param(lambda x: torch.maximum(x, -x), id="maximum"),
        pytest.param(lambda x: torch.nan_to_num(x), id="nan_to_num"),
        pytest.param(code, id="code book"),
        pytest.param(gated_by_largest, id="argmax, one hot"),
        pytest.param(flow, id="flow"),
        pytest.param(Joined(mesh=False), id="transformer by a mean"),
        pytest.param(Joined(mesh=True), id="transformer by a mean, own mesh"),
        pytest.param(Pooled(), id="unpooled by indices"),
        pytest.param(Deformable(mask=False), id="deformable"),
        pytest.param(Deformable(mask=True), id="deformable, masked"),
        pytest.param(Attention("values first"), id="values first"),
        pytest.param(Attention("non-local"), id="non-local"),
        pytest.param(Attention("einsum"), id="einsum"),
    ],
)
def test_what_stays_in_its_place(middle: Callable[[Tensor], Tensor] | nn.Module) -> None:
    frame = framed(between(middle), "2")
    assert (frame.jump, frame.centre_offset) == ((2, 2), (-0.5, -0.5))
    assert not frame.estimated


torch.manual_seed(0)
MIX = nn.Conv2d(1, 6, 3, padding=1)
SMALL = nn.AvgPool2d(4)


def resized(**how: object) -> nn.Module:
    return Fn(lambda x: F.interpolate(x, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("steps", "jump", "offset"),
    [
        pytest.param(
            [resized(size=(56, 56), mode="bilinear"), nn.Conv2d(1, 6, 8, 8)], 32 / 7, 0.0,
            id="resized inside, then patches",
        ),
        pytest.param(
            [resized(size=(48, 48), mode="bicubic"), nn.Conv2d(1, 6, 4, 4)], 8 / 3, 0.0,
            id="bicubic",
        ),
        pytest.param(
            [resized(size=(24, 24), mode="bilinear", antialias=True), MIX, nn.Conv2d(6, 2, 2, 2)],
            8 / 3, 0.0, id="antialiased",
        ),
        pytest.param(
            [MIX, SMALL, nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)],
            4 * 7 / 15, 0.0, id="corners aligned",
        ),
        pytest.param(
            [MIX, nn.Upsample(size=(20, 20), mode="bicubic", align_corners=True)], 31 / 19, 0.0,
            id="bicubic, corners aligned",
        ),
        pytest.param([MIX, resized(size=(41, 41), mode="bicubic")], 32 / 41, 0.0, id="larger"),
        pytest.param([MIX, Boxed()], 2.0, 0.0, id="box of all"),
        pytest.param([MIX, Joined(mesh=False, channels=6)], 2.0, 0.0, id="posed, half the size"),
        pytest.param([MIX, nn.PixelUnshuffle(4)], 4.0, 0.0, id="space to depth"),
        pytest.param([MIX, Fn(lambda x: x.roll((1, 1), (2, 3)))], 1.0, -1.0, id="rolled"),
        pytest.param([MIX, Fn(lambda x: x[..., 1::2, 1::2])], 2.0, 0.5, id="sliced"),
        pytest.param([MIX, Fn(lambda x: x.unfold(2, 4, 4).unfold(3, 4, 4).amax((-1, -2)))],
                     4.0, 0.0, id="own pooling"),
        pytest.param([MIX, Fn(lambda x: x.flip(3).flip(2))], -1.0, 0.0, id="flipped"),
    ],
)  # fmt: skip
def test_other_grids(steps: list[nn.Module], jump: float, offset: float) -> None:
    frame = framed(nn.Sequential(*steps, nn.Identity()), str(len(steps)))
    assert frame.jump == pytest.approx((jump, jump), abs=1e-5)
    assert frame.centre_offset == pytest.approx((offset, offset), abs=1e-4)
    assert not frame.estimated


@pytest.mark.parametrize("seed", [2, 6, 10])
def test_places_do_not_hang_on_the_draw_of_weights(seed: int) -> None:
    # Kernels whose gradients lie more than half a cell off the middle of what they see.
    torch.manual_seed(seed)
    mix = nn.Conv2d(1, 6, 3, padding=1)
    larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    frame = framed(nn.Sequential(mix, SMALL, larger, nn.Identity()), "3")
    assert frame.jump == pytest.approx((28 / 15, 28 / 15), abs=1e-5)
    assert frame.centre_offset == pytest.approx((0, 0), abs=1e-4)
    frame = framed(nn.Sequential(mix, Fn(lambda x: x.flip(3).flip(2)), nn.Identity()), "2")
    assert frame.jump == pytest.approx((-1, -1), abs=1e-5)


class OwnTransformer(nn.Module):
    """A spatial transformer as the tutorials write it, turning by an angle."""

    def __init__(self, degrees: float) -> None:
        super().__init__()
        self.locate = nn.Sequential(nn.Conv2d(1, 4, 7), nn.MaxPool2d(4), nn.Flatten())
        self.theta = nn.Linear(4 * 6 * 6, 6)
        self.after = nn.Conv2d(1, 4, 3, 2, 1)
        turn = torch.tensor(degrees).deg2rad()
        with torch.no_grad():
            self.theta.weight.zero_()
            rows = [turn.cos(), turn.sin(), 0 * turn, -turn.sin(), turn.cos(), 0 * turn]
            self.theta.bias.copy_(torch.stack(rows))

    def forward(self, images: Tensor) -> Tensor:
        theta = self.theta(self.locate(images)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return self.after(F.grid_sample(images, grid, align_corners=False))


@pytest.mark.parametrize("degrees", [0.0, 90.0])
def test_a_transformer_of_ones_own_is_held_at_the_identity(degrees: float) -> None:
    frame = framed(OwnTransformer(degrees), "after")
    assert (frame.jump, frame.centre_offset) == ((2, 2), (-0.5, -0.5))


def test_a_place_that_two_ways_see_apart_is_an_estimate() -> None:
    class Lopsided(nn.Conv2d):
        """What a cell sees lies on both sides, the mass of it on one."""

        def forward(self, images: Tensor) -> Tensor:
            maps = super().forward(images)
            return maps + maps.roll(1, 3) + maps.roll(4, 3)

    frame = framed(nn.Sequential(Lopsided(1, 2, 1), nn.Identity()), "1")
    assert frame.centre_offset[0] == -2  # the middle; the mass lies at -5/3 or nearer
    assert frame.error > 0.1 and frame.estimated


def test_mixed_places_are_not_guessed() -> None:
    found = []
    for seed in (0, 2):  # gradients keep the places of the patches in the first draw alone
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(1, 4, 4, 4), Mixer(), nn.Conv2d(4, 4, 3, padding=1))
        found.append(find_frames(network.eval(), ["2"], (32, 32), 1)[0].get("2"))
    assert found[0] is not None and found[0].jump == pytest.approx((4, 4), abs=1e-5)
    assert found[1] is None  # once a grid of 1 to 1.4 px, said to be good to 0.3


def test_gradients_alone_are_good_to_half_a_cell() -> None:
    box = Fn(lambda x: (lambda s: s[..., 4:] - s[..., :-4])(F.pad(x.cumsum(3), (1, 0))))
    frame = framed(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), box, nn.Identity()), "2")
    assert frame.method == "gradient" and frame.error >= 0.5
    assert abs(frame.centre_offset[0]) <= frame.error


@pytest.mark.parametrize(
    ("rows", "apart"),
    [([*range(15), 20], 5.0), ([0, *range(6, 21)], 4.5), (list(range(3, 20)), 0.0)],
    ids=["the last one far", "the first one far", "all even"],
)
def test_cells_picked_by_number_are_exact_only_where_all_are_even(
    rows: list[int], apart: float
) -> None:
    picked = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), Fn(lambda maps: maps[:, :, rows][..., rows]), nn.ReLU()
    )
    frame = framed(picked, "2", 28)
    assert frame.jump == (1, 1)
    assert frame.error == pytest.approx(apart, abs=1e-6)
    assert frame.estimated == (apart > 0)
