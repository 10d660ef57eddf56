"""The oracle spatial transformer on networks whose answers are known, and on the embedded one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import convolution, fourfold, noise
from torch import Tensor, nn

from invariance_probe.data import ImageSet, array_images, embedded_digits
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    identity,
    reflection,
    rotation,
    rotations,
    scaling,
    translation,
    warp,
)
from invariance_probe.networks import build_network, measure_frames
from invariance_probe.probing import split
from invariance_probe.probing.oracles.result import MEASURES, OracleResult, load_oracle
from invariance_probe.probing.oracles.run import oracle

QUICK = {"resamples": 50}


def value(result: OracleResult, layer: str, treatment: str, measure: str, move: str = "") -> float:
    rows = result.accuracy
    chosen = rows[(rows["layer"] == layer) & (rows["treatment"] == treatment)]
    if move:
        chosen = chosen[chosen["transform"] == move]
    assert len(chosen) == 1
    return float(chosen[measure].iloc[0])


def kernels(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) / (shape[1] * shape[2] * shape[3]) ** 0.5


def head(inputs: int, classes: int = 6) -> nn.Linear:
    layer = nn.Linear(inputs, classes)
    layer.weight.data = kernels(classes, inputs, 1, 1, seed=5)[..., 0, 0]
    nn.init.zeros_(layer.bias)
    return layer


def balanced(network: nn.Sequential) -> nn.Sequential:
    """The network with a bias that lets every class win: logits of noise average 0."""
    with torch.no_grad():
        network[-1].bias -= network(torch.rand(200, 1, 28, 28)).mean(0)
    return network


def fourfold_network() -> nn.Sequential:
    return balanced(nn.Sequential(
        convolution(fourfold(kernels(6, 1, 9, 9))), nn.MaxPool2d(2), nn.ReLU(inplace=True),
        convolution(fourfold(kernels(5, 6, 7, 7))), nn.MaxPool2d(2), nn.ReLU(inplace=True),
        nn.Flatten(), head(20),
    ))  # fmt: skip


def orbit_network() -> nn.Sequential:
    """A bank closed under 90°: turning the image permutes its channels."""
    bank = torch.cat([torch.rot90(kernels(3, 1, 9, 9), k, (-2, -1)) for k in range(4)])
    return balanced(nn.Sequential(
        convolution(bank), nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.Flatten(), head(1200)
    ))  # fmt: skip


def labelled(number: int = 24, size: int = 28, classes: int = 6) -> ImageSet:
    values = np.random.default_rng(0).random((number, 1, size, size)).astype(np.float32)
    labels = np.arange(number) % classes
    return array_images(values, size, labels=labels)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("move", [rotation(90), rotation(180), rotation(-90)], ids=str)
def test_fourfold_filters_are_aligned_perfectly_before_any_head(move):
    result = oracle(fourfold_network(), ["0", "1", "2", "3", "5"], move, labelled(40), **QUICK)
    assert len(set(result.originals)) > 2
    for layer in ("0", "1", "2", "3", "5"):
        assert value(result, layer, "inverse", "agreement") == 1
        assert value(result, layer, "inverse", "logit_residual") < 1e-10
        assert value(result, layer, "inverse", "accuracy") == result.untransformed_accuracy
    assert value(result, "input", "nothing", "agreement") < 0.9
    assert value(result, "input", "nothing", "logit_residual") > 0.1
    assert value(result, "input", "input_aligned", "agreement") == 1
    assert value(result, "input", "input_aligned", "logit_residual") < 1e-10


@pytest.mark.parametrize("move", [rotation(90), rotation(180)], ids=str)
def test_a_closed_bank_needs_its_channels_permuted(move):
    result = oracle(orbit_network(), ["0", "2"], move, labelled(40), **QUICK)
    assert len(set(result.originals)) > 2
    for layer in ("0", "2"):
        assert value(result, layer, "inverse", "logit_residual") > 0.5
        assert value(result, layer, "inverse", "agreement") < 0.9
        for treatment in ("inverse_permuted", "inverse_linear"):
            assert value(result, layer, treatment, "agreement") == 1
            assert value(result, layer, treatment, "logit_residual") < 1e-9


def test_nothing_is_done_under_the_identity():
    result = oracle(orbit_network(), "2", [rotation(0), identity()], labelled(), **QUICK)
    rows = result.accuracy
    assert len(rows) == 2 * 5
    assert (rows["logit_residual"] == 0).all() and (rows["agreement"] == 1).all()
    assert (rows["accuracy"] == result.untransformed_accuracy).all()


def test_global_pooling_sees_no_difference_between_turned_and_aligned_maps():
    """Behind four-fold filters and an average over cells all treatments give the same logits."""
    network = nn.Sequential(
        convolution(fourfold(kernels(6, 1, 9, 9))), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), head(6),
    )  # fmt: skip
    result = oracle(network, "1", rotation(90), labelled(), **QUICK)
    assert (result.table(measure="logit_residual") < 1e-8).all(axis=None)


class Inner(nn.Module):
    """The cells away from the border, which a shift does not bring in from outside."""

    def __init__(self, border: int) -> None:
        super().__init__()
        self.border = border

    def forward(self, maps: Tensor) -> Tensor:
        inner = slice(self.border, -self.border)
        return maps[..., inner, inner]


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (-2, 6)])
def test_translation_by_multiples_of_the_stride_is_undone_exactly(dx, dy):
    network = nn.Sequential(
        convolution(kernels(6, 1, 9, 9)), nn.MaxPool2d(2), nn.ReLU(), Inner(3), nn.Flatten(),
        head(6 * 14 * 14),
    )  # fmt: skip
    images = noise(16, 68, 48)
    result = oracle(network, "2", translation(dx, dy), images, **QUICK)
    assert value(result, "2", "inverse", "agreement") == 1
    assert value(result, "2", "inverse", "logit_residual") < 1e-10
    assert value(result, "input", "nothing", "logit_residual") > 0.5


def test_logits_are_those_of_the_rest_of_the_network_on_warped_maps():
    """For a chain, the oracle is head(T_h⁻¹ stem(T_h f)), written out."""
    network, images, move = orbit_network(), noise(12, 40, 28), rotation(33)
    result = oracle(network, "1", move, images, **QUICK)
    _, chosen = split(12, 0)
    source = images.batch(chosen)
    frame = measure_frames(network, ["1"], canvas=(28, 28), channels=1)["1"]
    with torch.no_grad():
        f = warp(source, identity(), size=(28, 28), beyond="reflect")
        moved = warp(source, move, size=(28, 28), beyond="reflect")
        maps = network[:2](moved)
        aligned = warp(maps, move.inverse(), frame=frame, beyond="nearest", antialias=False)
        expected = (network[2:](aligned) - network(f)).double().square().sum(1)
        wanted = network[2:](aligned).argmax(1)
    row = result.axes["treatment"].index("inverse")
    np.testing.assert_allclose(result.errors[0, row], expected, rtol=1e-4)
    assert (result.predictions[0, row] == wanted.numpy()).all()
    logits = network(f).detach().double()
    variance = (logits - logits.mean(0)).square().sum(1)
    np.testing.assert_allclose(result.variance, variance, rtol=1e-5)
    found = value(result, "1", "inverse", "logit_residual")
    assert found == pytest.approx(float(expected.sum() / variance.sum()), rel=1e-4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = convolution(fourfold(kernels(6, 6, 3, 3)), padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv1(x) + x)


def residual_network() -> nn.Sequential:
    stem = convolution(fourfold(kernels(6, 1, 9, 9)))
    return nn.Sequential(stem, Block(), nn.Flatten(), head(6 * 400))


def test_layers_with_a_shortcut_around_them_are_refused_and_listed():
    result = oracle(
        residual_network(), ["0", "1.conv1", "1"], rotation(90), noise(12, 28, 28), **QUICK
    )
    assert result.inadmissible["layer"].tolist() == ["1.conv1"]
    (reason,) = result.inadmissible["reason"]
    assert reason.startswith("layer '1.conv1': the logits still depend on the input")
    assert reason.endswith("choose '1'")
    assert set(result.accuracy["layer"]) == {"input", "0", "1"}
    for layer in ("0", "1"):
        assert value(result, layer, "inverse", "logit_residual") < 1e-10


def test_only_refused_layers_are_an_error():
    with pytest.raises(ProbeError, match=r"no layer to align at: layer '1.conv1'.* choose '1'"):
        oracle(residual_network(), "1.conv1", rotation(90), noise(12, 28, 28))


def test_without_labels_there_is_agreement_only():
    result = oracle(fourfold_network(), "2", rotation(90), noise(12, 28, 28), **QUICK)
    rows = result.accuracy
    assert rows[["accuracy", "accuracy_low", "accuracy_high"]].isna().all(axis=None)
    assert rows[["agreement", "logit_residual"]].notna().all(axis=None)
    assert np.isnan(result.untransformed_accuracy)


def test_channel_maps_need_more_samples_than_channels():
    """8 images of one compared cell do not determine maps of 64 channels."""
    wide = nn.Sequential(convolution(kernels(64, 1, 27, 27)), nn.Flatten(), head(256))
    result = oracle(wide, "0", rotation(90), labelled(8), **QUICK)
    for treatment in ("inverse_permuted", "inverse_linear"):
        assert np.isnan([value(result, "0", treatment, measure) for measure in MEASURES]).all()
    assert np.isfinite(value(result, "0", "inverse", "accuracy"))
    (note,) = [text for text in result.warnings if text.startswith("channel maps")]
    assert note == (
        "channel maps of 0: not determined under rotation:90; 16 samples for 64 channels, "
        "give more images"
    )


def test_no_cell_to_fit_on_leaves_the_inverse():
    result = oracle(orbit_network(), "2", [rotation(90), translation(30, 0)], labelled(8), **QUICK)
    assert np.isnan(result.table("rotation:90")["inverse_linear"]).all()
    assert result.table("rotation:90")["inverse"].notna().all()
    assert any(text.startswith("channel maps of 2: not determined; no cell") for text in
               result.warnings)  # fmt: skip


def test_intervals_are_wilsons_for_shares_and_students_for_residuals():
    result = oracle(orbit_network(), ["0", "1"], [rotation(90), reflection(90)], labelled(60))
    row = result.axes["treatment"].index("inverse")
    n, t = 30, 2.0452296  # images, Student's with 29 degrees of freedom
    found = {
        measure: [
            value(result, "0", "inverse", f"{measure}{end}", "rotation:90")
            for end in ("", "_low", "_high")
        ]
        for measure in ("agreement", "accuracy", "logit_residual")
    }
    for measure, wanted in (("agreement", result.originals), ("accuracy", result.labels)):
        share = (result.predictions[0, row] == wanted).mean()
        draws = n  # at least: the deviation of zeros and ones over n - 1 would give fewer
        middle = (share + t**2 / (2 * draws)) / (1 + t**2 / draws)
        half = t / (1 + t**2 / draws) * np.sqrt(share * (1 - share) / draws + t**2 / (4 * draws**2))
        np.testing.assert_allclose(found[measure], [share, middle - half, middle + half], atol=1e-7)
        assert found[measure][1] <= share <= found[measure][2] and found[measure][2] > 0
    errors, variance = result.errors[0, row], result.variance
    whole = errors.sum() / variance.sum()
    rest = np.array([np.delete(errors, k).sum() / np.delete(variance, k).sum() for k in range(n)])
    half = t * np.std(n * whole - (n - 1) * rest, ddof=1) / np.sqrt(n)
    np.testing.assert_allclose(
        found["logit_residual"], [whole, max(whole - half, 0), whole + half], rtol=1e-6
    )


def test_the_batch_size_changes_nothing():
    moves = [rotation(20), scaling(0.8)]
    network = orbit_network()
    one, other = (
        oracle(network, "2", moves, labelled(), batch_size=size, **QUICK) for size in (5, 32)
    )
    np.testing.assert_allclose(one.errors, other.errors, rtol=1e-3, atol=1e-8)
    assert (one.predictions == other.predictions).mean() > 0.99


def test_a_result_comes_back_equal_from_its_folder(tmp_path):
    network, moves = residual_network(), [rotation(0), rotation(45)]
    for name, images, layers in (
        ("labels", labelled(12), "0"),
        ("none", noise(12, 28, 28), ["0", "1.conv1"]),
    ):
        result = oracle(network, layers, moves, images, **QUICK)
        result.save(tmp_path / name)
        loaded = load_oracle(tmp_path / name)
        assert result.equals(loaded) and loaded.equals(result)
        assert loaded.table().equals(result.table())
        assert repr(loaded) == "OracleResult(1 layers x 2 transforms, 6 evaluation images)"
    assert not result.equals(load_oracle(tmp_path / "labels"))
    with pytest.raises(ProbeError, match="name another folder"):
        result.save(tmp_path / "none")
    with pytest.raises(ProbeError, match="holds no result"):
        load_oracle(tmp_path)


def test_tables_are_layers_by_treatments():
    result = oracle(orbit_network(), ["2", "0"], rotations(0, 180, step=90), labelled(), **QUICK)
    table = result.table()
    assert table.index.tolist() == ["2", "0"]
    assert list(table) == ["nothing", "input_aligned", "inverse", "inverse_permuted",
                           "inverse_linear"]  # fmt: skip
    assert (table["input_aligned"] == result.untransformed_accuracy).all()
    quarter = result.table("rotation:90", "logit_residual")
    expected = value(result, "0", "inverse", "logit_residual", "rotation:90")
    assert quarter.loc["0", "inverse"] == expected
    with pytest.raises(ProbeError, match="no transform 'rotation:45'; there are rotation:0, rot"):
        result.table("rotation:45")
    with pytest.raises(ProbeError, match="no measure 'loss'; there are accuracy, agreement"):
        result.table(measure="loss")


def test_progress_ends_at_its_total_and_provenance_says_what_was_done():
    said = []
    network = orbit_network().train()
    result = oracle(
        network, "2", [rotation(0), rotation(90)], labelled(), batch_size=5,
        progress=lambda *told: said.append(told), config={"network": "orbit"}, **QUICK,
    )  # fmt: skip
    done = [entry[0] for entry in said]
    assert done == sorted(done) and said[-1][0] == said[-1][1] == 12 * 2 + 12 * (1 + 1 + 5)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert result.provenance["config"] == {"network": "orbit"}
    assert result.provenance["options"]["batch_size"] == 5
    assert result.provenance["images"]["evaluation"] == 12


class Fragile(nn.Module):
    """Gives NaN where a pixel is dark."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x < 0.001, torch.nan, x)


def test_what_is_not_finite_is_named():
    values = np.random.default_rng(0).uniform(0.2, 1, (12, 1, 28, 28)).astype(np.float32)
    _, evaluation = split(12, 0)
    values[evaluation[3], :, 14, 14] = 0
    network = nn.Sequential(nn.Sequential(), Fragile(), *orbit_network())
    message = rf"layer '2' gives NaN for image '{evaluation[3]:05d}'"
    with pytest.raises(ProbeError, match=message):
        oracle(network, "2", rotation(90), values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": labelled(classes=7)}, "has label 6, the network 6 classes; give labels from 0"),
        ({"images": noise(3, 28, 28)}, "3 images cannot be split"),
        ({"layers": "conv"}, "the network has no layer 'conv'"),
        ({"layers": "4"}, r"layer '4' gives \(.*\), not a map"),
        ({"transforms": []}, "no transformations"),
        ({"images": noise(8, 28, 28, channels=3)}, "takes 1 channels, the images have 3"),
        ({"network": orbit_network()[:1]}, r"the network gives \(2, 12, 20, 20\), not logits"),
        ({"levels": 0.5}, "unknown options levels"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    given = {
        "network": orbit_network(), "layers": "0", "transforms": rotation(90),
        "images": labelled(), **change,
    }  # fmt: skip
    with pytest.raises(ProbeError, match=message) as caught:
        oracle(**given)
    assert "\n" not in str(caught.value)


def test_the_embedded_network_at_90_degrees():
    """Un-rotating conv1's maps is of no use, unless its channels are mapped too."""
    layers = ["conv1", "pool1", "relu1", "conv2", "pool2", "relu2"]
    result = oracle(
        build_network("mnist_cnn"), layers, rotation(90), embedded_digits().take(400, 0),
        batch_size=100, **QUICK,
    )  # fmt: skip
    assert len(result.inadmissible) == 0
    table = result.table()
    assert result.untransformed_accuracy > 0.97
    assert (table["nothing"] < 0.3).all()
    assert (table["input_aligned"] > 0.97).all()
    assert (table["inverse"] < 0.25).all()
    assert table["inverse_linear"]["conv1"] > 0.97
    assert (table["inverse_linear"] > table["inverse_permuted"]).all()
    assert (table["inverse_permuted"] > table["inverse"] + 0.2).all()
