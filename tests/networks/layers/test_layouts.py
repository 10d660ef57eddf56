"""Rows and columns are found wherever an output keeps them, and maps go back where they were."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import (
    Activations,
    Layout,
    list_layers,
    measure_frames,
    measure_layouts,
    select_layers,
)
from invariance_probe.networks.layers.replacement import all_paths_pass, run_replaced


class Same(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values


class Patches(nn.Module):
    """A small vision transformer: patches of 4 pixels, tokens in front, attention written out."""

    def __init__(self, prefix: int = 1, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, width, 4, stride=4)
        self.front = nn.Parameter(torch.randn(1, prefix, width))
        self.norm = nn.LayerNorm(width)
        self.mix = Same()
        self.tokens = Same()
        self.head = nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patch(images)
        tokens = maps.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.front.expand(len(tokens), -1, -1), tokens], 1)
        normed = self.norm(tokens)
        score = (normed @ normed.transpose(1, 2)).softmax(-1)
        tokens = self.tokens(tokens + self.mix(score @ normed))
        return self.head(tokens[:, 0] if self.front.shape[1] else tokens.mean(1))


class Last(nn.Module):
    """Patches of 2 pixels, channels last, then windows of 2 x 2 cells and a merging of four."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 6, 2, stride=2)
        self.permute = Same()
        self.windows = nn.Linear(6, 6)
        self.merge = nn.Linear(24, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.permute(self.patch(images).permute(0, 2, 3, 1))
        n, rows, columns, c = maps.shape
        cut = maps.reshape(n, rows // 2, 2, columns // 2, 2, c).transpose(2, 3)
        cells = self.windows(cut.reshape(-1, 2, 2, c))
        cells = cells.reshape(n, rows // 2, columns // 2, 2, 2, c).transpose(2, 3)
        maps = maps + cells.reshape(n, rows, columns, c)
        four = [maps[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.head(self.merge(torch.cat(four, -1)).mean((1, 2)))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# --- the layouts ------------------------------------------------------------------------------


@pytest.mark.parametrize("canvas", [(16, 24), (24, 16), (8, 8), (4, 20), (20, 4), (16, 16)])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_tokens_with_and_without_a_place(canvas: tuple[int, int], prefix: int) -> None:
    grid = (canvas[0] // 4, canvas[1] // 4)
    found = measure_layouts(Patches(prefix), None, canvas, 1)
    assert found["patch"] == Layout("NCHW", grid)
    assert found["tokens"] == found["norm"] == Layout("tokens", grid, prefix)
    assert "head" not in found


def test_the_grid_is_measured_and_no_square_root() -> None:
    """36 tokens of an oblong image, 2 x 18, and 15 + 1 tokens, which would be a square."""
    assert measure_layouts(Patches(0), ["tokens"], (8, 72), 1)["tokens"].grid == (2, 18)
    assert measure_layouts(Patches(1), ["tokens"], (12, 20), 1)["tokens"].grid == (3, 5)


def test_channels_last_and_windows() -> None:
    found = measure_layouts(Last(), None, (16, 24), 1)
    assert found["permute"] == Layout("NHWC", (8, 12))
    assert found["merge"] == Layout("NHWC", (4, 6))
    assert "windows" not in found
    layers = {layer.name: layer for layer in list_layers(Last(), torch.zeros(1, 1, 16, 24))}
    assert (layers["merge"].channels, layers["merge"].size) == (8, (4, 6))
    assert not layers["windows"].spatial
    with pytest.raises(ProbeError, match=r"gives \(24, 2, 2, 6\) for 1 image, not a map"):
        select_layers(Last(), "windows", torch.zeros(1, 1, 16, 24))


def test_channels_last_of_as_many_rows_as_channels() -> None:
    """(N, 8, 8, 8): only what the cells see tells rows from channels."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), Turned())
    found = measure_layouts(network, None, (8, 8), 1)
    assert (found["0"].kind, found["1"].kind) == ("NCHW", "NHWC")


class Turned(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2))
def test_from_map_undoes_to_map(prefix: int, rows: int, columns: int, after: int) -> None:
    tokens = torch.rand(2, prefix + rows * columns + after, 3)
    layout = Layout("tokens", (rows, columns), prefix)
    maps = layout.to_map(tokens)
    assert maps.shape == (2, 3, rows, columns)
    assert layout.from_map(maps, tokens).equal(tokens)
    if columns > 1:
        assert maps[1, :, 0, 1].equal(tokens[1, prefix + 1])
    changed = layout.from_map(maps + 1, tokens)
    assert changed[:, :prefix].equal(tokens[:, :prefix])
    assert changed[:, prefix + rows * columns :].equal(tokens[:, prefix + rows * columns :])
    last = torch.rand(2, rows, columns, 3)
    layout = Layout("NHWC", (rows, columns))
    assert layout.from_map(layout.to_map(last), last).equal(last)


# --- maps, frames, replacement ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_of_tokens_and_of_channels_last(dtype: torch.dtype) -> None:
    images = torch.rand(3, 1, 16, 24, dtype=dtype)
    network = Patches(2).to(dtype)
    maps = Activations(network, ["patch", "norm"])(images)
    with torch.no_grad():
        expected = network.norm(maps["patch"].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps["norm"], expected)
    assert maps["norm"].dtype == dtype
    network = Last().to(dtype)
    maps = Activations(network, ["patch", "permute", "merge"])(images)
    assert maps["permute"].equal(maps["patch"])
    assert maps["merge"].shape == (3, 8, 4, 6)


def test_other_canvases_have_their_own_grids() -> None:
    activations = Activations(Patches(), ["tokens"])
    for rows, columns in ((4, 3), (2, 7), (4, 3)):
        maps = activations(torch.rand(1, 1, 4 * rows, 4 * columns))["tokens"]
        assert maps.shape == (1, 8, rows, columns)


@pytest.mark.parametrize(("canvas", "offset"), [((32, 48), (0, 0)), ((33, 50), (-1, -0.5))])
def test_frames_of_patches(canvas: tuple[int, int], offset: tuple[float, float]) -> None:
    """A patch of 4 pixels sits in its middle; pixels left over lie behind the last one."""
    for prefix in (0, 1, 5):
        frames = measure_frames(Patches(prefix), ["patch", "norm", "tokens"], canvas, 1)
        for frame in frames.values():
            assert (frame.jump, frame.size) == ((4, 4), (8, 12))
            assert frame.centre_offset == offset
            assert frame.method == "support"


def test_frames_of_windows_and_merged_patches() -> None:
    frames = measure_frames(Last().double(), ["permute", "merge"], (16, 32), 1)
    assert [frame.jump for frame in frames.values()] == [(2, 2), (4, 4)]
    assert [frame.size for frame in frames.values()] == [(8, 16), (4, 8)]
    assert all(frame.centre_offset == (0, 0) for frame in frames.values())


@pytest.mark.parametrize("kind", ["tokens", "last"])
def test_replacing_cells_in_place(kind: str) -> None:
    network, layer = (Patches(2), "tokens") if kind == "tokens" else (Last(), "permute")
    images = torch.rand(3, 1, 16, 24)
    activations = Activations(network, [layer])
    maps, logits = activations(images, outputs=True)
    layout = activations.layouts(images)[layer]
    same = run_replaced(network, layer, images, lambda given: given, layout)
    torch.testing.assert_close(same, logits)
    given: list[Tensor] = []
    run_replaced(network, layer, images, lambda own: given.append(own) or own, layout)
    assert given[0].equal(maps[layer])
    if kind == "last":
        moved = run_replaced(network, layer, images, lambda own: own.roll(1, 0), layout)
        torch.testing.assert_close(moved, logits.roll(1, 0))
    else:  # the class token holds what the head reads
        zero = run_replaced(network, layer, images, torch.zeros_like, layout)
        torch.testing.assert_close(zero, logits)


def test_paths_through_tokens_and_around_them() -> None:
    images = torch.rand(3, 1, 16, 24)
    assert all_paths_pass(Patches(0), "tokens", images) == (True, "")
    assert all_paths_pass(Last(), "merge", images) == (True, "")


def test_a_class_token_passes_around_the_map() -> None:
    class Token(Patches):
        """The token in front holds the mean of the image."""

        def forward(self, images: Tensor) -> Tensor:
            cells = self.patch(images).flatten(2).transpose(1, 2)
            front = images.mean((2, 3))[:, None].expand(-1, 1, 8)
            return self.head(self.tokens(torch.cat([front, cells], 1)).mean(1))

    images = torch.rand(3, 1, 16, 24)
    passed, reason = all_paths_pass(Token(), "tokens", images)
    assert not passed
    assert "its class token passes around it" in reason


# --- what is no map ---------------------------------------------------------------------------


def test_tokens_without_a_grid_are_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Unflatten(1, (6, 4)))
    images = torch.rand(2, 1, 8, 8)
    with pytest.raises(ProbeError, match=r"layer '2' gives \(2, 6, 4\) without places on a grid"):
        Activations(network, ["2"])(images)
    assert not any(layer.spatial for layer in list_layers(network, images))


def test_a_single_cell_with_channels_last() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 4, stride=4), Turned())
    (_, turned) = list_layers(network, torch.zeros(1, 1, 4, 4))
    assert (turned.channels, turned.size, turned.spatial) == (8, (1, 1), False)
