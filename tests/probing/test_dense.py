"""Maps on finer grids: what shifting and interleaving gives, and where it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import many
import numpy as np
import pandas as pd
import pytest
import torch
from scenes import convolution, noise, smooth
from torch import Tensor, nn

from invariance_probe.data import ImageSet
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import Frame, Transform, identity, image_frame, rotation, warp
from invariance_probe.networks import Activations, measure_frames
from invariance_probe.networks.controls import gaussian_derivatives
from invariance_probe.probing import Options, Result, load_result, probe
from invariance_probe.probing.bench.dense import Stitching
from invariance_probe.probing.bench.inputs import Inputs
from invariance_probe.probing.config import ProbeConfig, run_config
from invariance_probe.probing.verification.verify import holds, verify
from invariance_probe.reporting.reports.runs import as_runs
from invariance_probe.reporting.reports.text.methods import as_text, paragraphs

QUICK: dict[str, Any] = {"resamples": 20, "channels": False, "ledger": False}


def residuals(result: Result, rung: str) -> dict[str, float]:
    """Of the first layer, by transformation."""
    rows = result.residuals[result.residuals["rung"] == rung]
    return dict(zip(rows["transform"], rows["residual"], strict=True))


def methods(result: Result) -> str:
    return as_text(paragraphs(as_runs([result])))


def finer(network: nn.Module, layer: str, images: ImageSet, factor: int, h: Transform) -> Tensor:
    """Maps of a layer on a grid `factor` times finer."""
    frames = measure_frames(network, [layer], images.canvas, images.channels)
    inputs = Inputs(images, None, None, "bilinear", torch.device("cpu"), torch.float64)
    source = inputs.load(range(len(images)))

    def show(shift: Transform, layers: list[str]) -> dict[str, Tensor]:
        return Activations(network, layers)(inputs.transformed(source, shift @ h))

    return Stitching(frames, {layer: factor})(show(identity(), [layer]), show)[layer]


# --- what it gives -------------------------------------------------------------------------------


def strided() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.Tanh()
    )
    return network.double()


def dilated(network: nn.Sequential) -> nn.Sequential:
    """The same network without strides: every later kernel is spread by those before it."""
    found, spread = nn.Sequential(), 1
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            out = nn.Conv2d(layer.in_channels, layer.out_channels, 3, dilation=spread).double()
            out.load_state_dict(layer.state_dict())
            found.append(out)
            spread *= layer.stride[0]
        elif isinstance(layer, nn.MaxPool2d):
            found.append(nn.MaxPool2d(2, stride=1, dilation=spread))
            spread *= 2
        else:
            found.append(layer)
    return found


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("h", [identity(), rotation(30)])
def test_dense_maps_are_those_of_the_network_without_strides(factor: int, h: Transform) -> None:
    images = noise(2, 90, 50)
    network = strided()
    dense, whole = finer(network, "4", images, factor, h), dilated(network)
    (own,) = measure_frames(network, ["4"], images.canvas, 1).values()
    (every,) = measure_frames(whole, ["4"], images.canvas, 1).values()
    assert own.jump == (4, 4)
    assert every.jump == (1, 1)
    expected = finer(whole, "4", images, 1, h)
    grid = own.finer(factor)
    first = round(grid.start[0] - every.start[0])
    places = np.arange(grid.size[0]) * round(grid.jump[0]) + first
    inside = np.flatnonzero((places >= 0) & (places < every.size[0]))
    assert len(inside) > 0.9 * len(places)
    rows = torch.from_numpy(inside)
    at = torch.from_numpy(places[inside])
    torch.testing.assert_close(
        dense[..., rows, :][..., rows], expected[..., at, :][..., at], rtol=1e-6, atol=1e-6
    )


def test_points_between_pixels_are_maps_of_the_image_interpolated_once() -> None:
    """A 1x1 convolution at jump 1 gives the image itself: read where it would be read anyhow."""
    images, one = noise(2, 40, 20), nn.Conv2d(1, 1, 1, bias=False).double()
    one.weight.data.fill_(1.0)
    dense = finer(nn.Sequential(one), "0", images, 2, rotation(30))
    inputs = Inputs(images, None, None, "bilinear", torch.device("cpu"), torch.float64)
    onto = image_frame(20, 20).finer(2)
    expected = warp(inputs.load([0, 1]), rotation(30), onto=onto, beyond="reflect")
    # The finer grid is no reason to read the image through another kernel: none is narrower.
    torch.testing.assert_close(dense, expected, rtol=1e-6, atol=1e-6)


def test_a_finer_grid_holds_the_cells_and_covers_the_footprint() -> None:
    frame = Frame((32.0, 16.0), (-111.5, -100.0), (7, 9))
    for factor in (1, 2, 3, 8):
        grid = frame.finer(factor)
        first = factor // 2
        own = grid.part(slice(first, None, factor), slice(first, None, factor))
        assert own.size == frame.size
        np.testing.assert_allclose(own.positions(), frame.positions(), atol=1e-12)
        assert abs(grid.start[0] - frame.start[0]) <= 16
        assert grid.size == (7 * factor, 9 * factor)


def test_layers_share_the_passes_that_serve_both() -> None:
    frames = {
        "a": Frame((1.0, 1.0), (0.0, 0.0), (8, 8)),
        "b": Frame((1.0, 1.0), (0.5, 0.5), (8, 8)),
        "c": Frame((2.0, 2.0), (0.0, 0.0), (4, 4)),
    }
    assert Stitching(frames, dict.fromkeys(frames, 1)).passes == 1
    assert Stitching(frames, {"a": 2, "b": 2}).passes == 4
    assert Stitching(frames, {"a": 2, "c": 2}).passes == 7
    assert Stitching(frames, {"a": 2, "c": 4}).passes == 16
    assert Stitching(frames, {"c": 3}).passes == 9


# --- what is left of the instrument --------------------------------------------------------------


def spaced(kernels: Tensor, step: int) -> nn.Sequential:
    return nn.Sequential(convolution(kernels.double(), stride=step))


def test_a_strided_equivariant_layer_falls_to_its_floor() -> None:
    hessian = gaussian_derivatives(2.0, order=2).filters.weight.detach()
    laplacian = spaced((hessian[:1] + hessian[2:]), 4)
    images = smooth(12, 120, 66, shortest=12)
    moves = [rotation(30), rotation(90)]
    kept = {**QUICK, "image_interpolation": "bicubic"}
    plain = probe(laplacian, "0", moves, images, **kept)
    dense = probe(laplacian, "0", moves, images, dense=4, **kept)
    before, after = residuals(plain, "inverse"), residuals(dense, "inverse")
    floor = residuals(dense, "input_aligned")["rotation:30"]
    assert before["rotation:30"] > 0.05
    assert after["rotation:30"] < 0.01
    assert after["rotation:30"] < floor + 0.005
    assert residuals(plain, "resampling_floor")["rotation:30"] > 0.05
    assert residuals(dense, "resampling_floor")["rotation:30"] < 0.01
    assert after["rotation:90"] < 1e-9


def test_what_the_features_do_stays() -> None:
    """Lx and Ly at stride 4: 2 − 2 cos θ remains, and the channel map takes all of it away."""
    gradient = spaced(gaussian_derivatives(2.0).filters.weight.detach(), 4)
    images = smooth(24, 120, 66, shortest=12)
    kept = {"resamples": 20, "ledger": False, "image_interpolation": "bicubic"}
    result = probe(gradient, "0", [rotation(40)], images, dense=4, **kept)
    expected = 2 - 2 * np.cos(np.radians(40))
    assert residuals(result, "inverse")["rotation:40"] == pytest.approx(expected, rel=0.03)
    assert residuals(result, "inverse_orthogonal")["rotation:40"] < 0.01
    plain = probe(gradient, "0", [rotation(40)], images, **kept)
    assert residuals(plain, "inverse_orthogonal")["rotation:40"] > 0.03


# --- what else carries it ------------------------------------------------------------------------

IMAGES = noise(12, 40, 20)


def two_jumps() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 3, stride=2))


def test_the_own_grid_is_what_it_was() -> None:
    plain = probe(two_jumps(), ["0", "2"], "rotation:30", IMAGES, **QUICK)
    one = probe(two_jumps(), ["0", "2"], "rotation:30", IMAGES, dense=1, **QUICK)
    assert one.equals(plain)
    assert "dense" not in plain.layers
    assert "dense" not in plain.provenance["conventions"]
    assert plain.dense == {"0": 1, "2": 1}


def test_the_result_says_how_fine(tmp_path: Path) -> None:
    result = probe(two_jumps(), ["0", "2"], "rotation:30", IMAGES, dense=2, **QUICK)
    assert result.dense == {"0": 2, "2": 2}
    assert list(result.layers["dense"]) == [2, 2]
    assert (result.layers["shift_error"] < 1e-9).all()
    said = result.provenance["conventions"]["dense"]
    assert {name: one["factor"] for name, one in said.items()} == result.dense
    assert "2 times finer at 0" in methods(result)
    plain = probe(two_jumps(), ["0", "2"], "rotation:30", IMAGES, **QUICK)
    assert "times finer" not in methods(plain)
    for rung in ("unaligned", "input_aligned", "other_image"):
        rows = [r.residuals[r.residuals["rung"] == rung]["residual"] for r in (plain, result)]
        np.testing.assert_array_equal(*rows)


def test_a_stored_result_is_measured_anew(tmp_path: Path) -> None:
    config = ProbeConfig(
        layers=("conv1", "relu2"), transforms="rotation:30", number=8,
        options=Options(dense=2, **QUICK),
    )  # fmt: skip
    run_config(config).save(tmp_path / "a")
    assert holds(verify(tmp_path / "a", images=2))
    table = tmp_path / "a" / "layers.csv"
    rows = pd.read_csv(table)
    rows["dense"] = 10**6
    rows.to_csv(table, index=False)
    with pytest.raises(ProbeError, match="column dense: not all are whole numbers from 1 to 64"):
        load_result(tmp_path / "a")


def test_two_processes_find_the_same(tmp_path: Path) -> None:
    made = many.MADE.replace("NUMBER", "12")
    code = f"""
from invariance_probe.probing import probe
from invariance_probe.running.processes import processes
{made}
with processes("cpu") as (group, device):
    result = probe(network, ["0", "2"], moves, images, resamples=20, batch_size=2, dense="auto")
    if group.main:
        result.save(sys.argv[1])
"""
    results = []
    for world in (1, 2):
        for code_of, _, said in many.ends(many.start(code, world, str(tmp_path / str(world)))):
            assert code_of == 0, said
        results.append(load_result(tmp_path / str(world)))
    assert many.same_tables(*results) == []
    assert max(results[0].dense.values()) > 1


# --- auto ----------------------------------------------------------------------------------------


def test_auto_stops_at_the_floor_that_it_aims_at() -> None:
    hessian = gaussian_derivatives(2.0, order=2).filters.weight.detach()
    network = nn.Sequential(
        convolution((hessian[:1] + hessian[2:]).double(), stride=2, padding=9),
        convolution(torch.ones(1, 1, 1, 1, dtype=torch.float64), stride=2),
    )
    images = smooth(8, 120, 64, shortest=14)
    result = probe(network, ["0", "1"], rotation(30), images, dense="auto", **QUICK)
    assert result.dense["0"] < result.dense["1"]
    floors = result.summary.set_index("layer")["resampling_floor"]
    assert (floors < 0.06).all()
    assert not [one for one in result.warnings if one.kind == "dense"]


def test_auto_says_where_the_floor_stays_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invariance_probe.probing.bench.density._FINEST", 2)
    result = probe(two_jumps(), "2", "rotation:30", IMAGES, dense="auto", **QUICK)
    assert result.dense == {"2": 2}
    (warning,) = (one for one in result.warnings if one.kind == "dense")
    assert "2 times finer, above 0.05; auto makes none finer" in warning


# --- refused -------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Patches that look at each other, with positions."""

    def __init__(self, side: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.positions = nn.Parameter(torch.randn(1, side * side, 8))
        self.attention = nn.MultiheadAttention(8, 1, batch_first=True)
        self.last = nn.Conv2d(8, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images)
        tokens = maps.flatten(2).transpose(1, 2) * 4 + self.positions
        tokens = tokens + 3 * self.attention(4 * tokens, 4 * tokens, tokens, need_weights=False)[0]
        return self.last(tokens.transpose(1, 2).reshape_as(maps))


def test_attention_is_refused() -> None:
    images, network = noise(8, 80, 32), Attention(8)
    refusal = r"dense=2: the maps of 'last' do not move with the image: shifted by whole cells they"
    with pytest.raises(ProbeError, match=refusal) as raised:
        probe(network, ["patches", "last"], "rotation:30", images, dense=2, **QUICK)
    assert "leave it out, or give dense=1" in str(raised.value)
    result = probe(network, ["patches", "last"], "rotation:30", images, dense="auto", **QUICK)
    assert result.dense["last"] == 1 < result.dense["patches"]
    shown = result.layers.set_index("layer")["shift_error"]
    assert shown["patches"] < 1e-9
    assert shown["last"] > 0.01
    assert any("its own grid is kept" in one for one in result.warnings if one.layer == "last")


class Positions(nn.Module):
    """Adds what says where a cell is, on any canvas."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps + 3 * (torch.arange(maps.shape[2]) % 2)[:, None]


def test_positions_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), Positions())
    with pytest.raises(ProbeError, match="far from the edge too"):
        probe(network, "1", "rotation:30", noise(8, 80, 32), dense=2, **QUICK)


def test_what_the_edge_does_is_said() -> None:
    torch.manual_seed(0)
    wide = nn.Conv2d(1, 3, 33, stride=4, padding=16)
    with torch.no_grad():
        wide.weight[:, :, :4] *= 40  # what lies far off
    images = noise(8, 80, 32)
    result = probe(nn.Sequential(wide), "0", "rotation:30", images, dense=2, **QUICK)
    (warning,) = (one for one in result.warnings if one.kind == "dense")
    assert "maps move with the image, but for what its edge does" in warning


def test_maps_that_memory_does_not_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invariance_probe.probing.bench.density.free_memory", lambda place: 10**5)
    with pytest.raises(
        ProbeError, match=r"dense=16: the maps of 4 images take .* 100 kB are free; "
    ):
        probe(two_jumps(), "0", "rotation:30", IMAGES, dense=16, batch_size=4, **QUICK)
    result = probe(two_jumps(), "0", "rotation:30", IMAGES, dense="auto", batch_size=4, **QUICK)
    assert any("would not fit into memory" in one for one in result.warnings)
