"""Networks that are no function of the one image, and the identity as the control that shows it."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import stochastic_depth

from invariance_probe import ProbeError, build_network, embedded_digits, probe
from invariance_probe.data import array_images
from invariance_probe.networks import Activations
from invariance_probe.probing import (
    ProbeConfig,
    baselines,
    compare,
    oracle,
    run_config,
    take_pictures,
)
from invariance_probe.probing.bench.inputs import Inputs
from invariance_probe.probing.bench.look import Looker, Meter
from invariance_probe.probing.bench.plan import split
from invariance_probe.probing.bench.purity import check_purity
from invariance_probe.probing.options import Options
from invariance_probe.probing.verification.replay import replayed_errors
from invariance_probe.probing.verification.verify import verify
from invariance_probe.reporting.reports.text.pitfalls import pitfalls

DIGITS = embedded_digits(12)
QUICK = {"resamples": 10, "channels": False, "batch_size": 4, "erode": 0.0}
RUNGS = ["unaligned", "inverse", "best", "input_aligned"]


class Dropping(nn.Module):
    """Dropout that no mode switches off."""

    def forward(self, x):
        return F.dropout(x, 0.5)


class Trembling(nn.Module):
    """Noise below what any check of purity can tell from rounding."""

    def forward(self, x):
        return x * (1 + 1e-6 * torch.randn_like(x))


def network(*inside: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 4, 3, padding=1)
    return nn.Sequential(first, *inside, nn.ReLU(), last)


def classifier(*inside: nn.Module) -> nn.Module:
    return nn.Sequential(
        *network(*inside), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
    )


def test_the_identity_is_measured_and_exactly_0_for_a_function_of_the_image():
    result = probe(network(), "2", ["rotation:0", "rotation:90"], DIGITS, **QUICK)
    rows = result.summary.set_index("transform")
    assert (rows.loc["rotation:0", RUNGS] == 0).all()
    assert (rows.loc["rotation:90", RUNGS[:2]] > 0.1).all()


def test_the_identity_is_not_0_where_the_network_is_random():
    """Two draws of inverted dropout at ½ differ by as much as the features vary, and more."""
    result = probe(network(Dropping()), "1", ["rotation:0", "rotation:90"], DIGITS, **QUICK)
    rows = result.summary.set_index("transform")
    assert (rows.loc["rotation:0", RUNGS] > 0.5).all()


def test_an_oracle_measures_the_identity():
    options = {"resamples": 10, "batch_size": 4}
    pure = oracle(classifier(), "2", "rotation:0", DIGITS, **options)
    assert (pure.errors == 0).all() and (pure.predictions == pure.originals).all()
    random = oracle(classifier(Trembling()), "3", "rotation:0", DIGITS, **options)
    assert (random.errors > 0).all()


@pytest.mark.parametrize("inside", [(), (Dropping(),)])
def test_pictures_show_what_the_identity_leaves(inside):
    (layer,) = take_pictures(network(*inside), "1", "identity", DIGITS, number=2).layers
    assert bool(np.nan_to_num(layer.residuals).any()) == bool(inside)


# -- more than the one image ----------------------------------------------------------------------


class Membrane(nn.Module):
    """Leaky integration that nobody resets between batches, as of spiking networks."""

    v = None

    def forward(self, x):
        same = self.v is not None and self.v.shape == x.shape
        self.v = 0.5 * self.v + 0.5 * x if same else x
        return self.v


class Settling(nn.Module):
    """A scale that is taken from the first images ever seen, as of normalising flows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, x):
        if not self.scale:
            self.scale.copy_(1 / x.abs().max())
        return x * self.scale


class Always(nn.Module):
    """Parts that stay in training mode, whatever mode is asked for."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def train(self, mode=True):
        return super().train(True)

    def forward(self, x):
        return self.part(x)


class Alternating(nn.Module):
    """Every other call is another function."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1 + 0.5 * (self.calls % 2))


class Skipping(nn.Module):
    """Stochastic depth: few draws, which agree by chance between two calls."""

    def forward(self, x):
        return x + stochastic_depth(x, 0.5, "row", training=True)


class Sharing(nn.Module):
    """Every image sees the mean of its batch."""

    def forward(self, x):
        return x + x.mean(dim=0, keepdim=True)


IMPURE = {
    "random": (Dropping(), "shown again: its forward pass draws random numbers"),
    "dropout in training": (
        Always(nn.Dropout(0.5)),
        "shown again: dropout stays in training mode at '1.part'; let eval() switch it off",
    ),
    "memory": (Membrane(), "shown before: reset what it keeps .* ('v' of '1' (Membrane))"),
    "alternation": (Alternating(), "shown before: reset .* ('calls' of '1' (Alternating))"),
    "first images": (Settling(), "shown before: reset .* ('scale' of '1' (Settling))"),
    "batch norm": (
        nn.BatchNorm2d(8, track_running_stats=False),
        "images of the batch: batch norm has no running statistics at '1'",
    ),
    "batch norm in training": (
        Always(nn.BatchNorm2d(8)),
        "images of the batch: batch norm stays in training mode at '1.part'",
    ),
    "shared mean": (Sharing(), "images of the batch: it computes across the batch"),
}


def said(result) -> list[str]:
    return [warning for warning in result.warnings if warning.startswith("purity: ")]


def matches(pattern: str, text: str) -> bool:
    parts = pattern.split(" .* ")
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


@pytest.mark.parametrize("name", IMPURE)
def test_what_maps_depend_on_besides_the_image_is_named(name):
    inside, words = IMPURE[name]
    result = probe(network(inside), ["1", "3"], "rotation:90", DIGITS, **QUICK)
    assert result.warnings[0] in said(result) and len(said(result)) == 1
    assert matches(words, result.warnings[0]), result.warnings[0]
    assert "its maps at '1' (and at 1 other layer) change by " in result.warnings[0]
    with pytest.raises(ProbeError) as refusal:
        probe(network(inside), "3", "rotation:90", DIGITS, impure="refuse", **QUICK)
    assert matches(words, str(refusal.value)) and "give impure='warn'" in str(refusal.value)


@pytest.mark.parametrize("seed", range(4))
def test_few_draws_are_taken_for_draws(seed):
    held = network(Skipping())
    torch.manual_seed(seed)
    (warning,) = said(probe(held, "1", "rotation:90", DIGITS, **QUICK))
    assert "draws random numbers" in warning


@pytest.mark.parametrize(
    "inside",
    [nn.InstanceNorm2d(8), nn.GroupNorm(2, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True)],
)
def test_what_each_image_makes_of_itself_is_pure(inside):
    probe(network(inside), "1", "rotation:90", DIGITS, impure="refuse", **QUICK)


@pytest.mark.parametrize("measure", [oracle, baselines])
def test_oracles_and_baselines_say_it_too(measure):
    held = classifier(nn.BatchNorm2d(8, track_running_stats=False))
    made = measure(held, "3", "rotation:90", DIGITS, resamples=10, batch_size=4)
    warnings = made.warnings if measure is oracle else made.attrs["provenance"]["warnings"]
    assert matches("no function of the one image .* no running statistics at '1'", warnings[0])
    with pytest.raises(ProbeError, match="draws random numbers"):
        measure(classifier(Dropping()), "3", "rotation:90", DIGITS, impure="refuse", batch_size=4)


def test_an_oracle_that_finds_no_path_for_noise_says_so():
    with pytest.raises(ProbeError, match=r"no layer to align at: .* draws random numbers"):
        oracle(classifier(Dropping()), "3", "rotation:90", DIGITS, resamples=10, batch_size=4)


def test_reports_comparisons_and_replays_say_it_too(tmp_path):
    result = probe(network(Membrane()), "1", "rotation:90", DIGITS, **QUICK)
    (first, *_) = pitfalls([("run", result)], [])
    assert first.title == "The network is not a function of the one image"
    assert "'v' of '1' (Membrane)" in first.seen[0]
    pure = probe(network(), "1", "rotation:90", DIGITS, **QUICK)
    notes = compare({"pure": pure, "impure": result}).notes
    assert [note.startswith("impure: purity: ") for note in notes].count(True) == 1
    config = ProbeConfig(
        layers=("conv1",), transforms="rotation:90", number=4,
        options=Options(resamples=10, batch_size=2, channels=False, erode=0.0),
    )  # fmt: skip
    run = run_config(config)
    told = {**run.provenance, "warnings": ["purity: maps change"]}
    folder = replace(run, provenance=told).save(tmp_path / "run")
    for full in (False, True):
        replayed = verify(folder, images=2, full=full)[-1]
        assert replayed.holds is None and "no function of the one image" in replayed.detail


def test_a_replay_that_is_not_finite_does_not_hold(tmp_path, monkeypatch):
    config = ProbeConfig(
        layers=("conv1",), transforms="rotation:90", number=4,
        options=Options(resamples=10, batch_size=2, channels=False, erode=0.0),
    )  # fmt: skip
    folder = run_config(config).save(tmp_path / "run")

    def broken(result, config, images):
        found = replayed_errors(result, config, images)
        return {key: np.full_like(errors, np.nan) for key, errors in found.items()}

    monkeypatch.setattr("invariance_probe.probing.verification.verify.replayed_errors", broken)
    replayed = verify(folder, images=2)[-1]
    assert replayed.holds is False and "not finite now" in replayed.detail


def test_pictures_say_it_too():
    made = take_pictures(network(Dropping()), "1", "rotation:90", DIGITS, number=1)
    assert "draws random numbers" in made.notes[0]


def test_statistics_of_a_batch_of_one_are_of_the_image():
    """What no pass of the run can show is no fault of the run."""
    inside = nn.BatchNorm2d(8, track_running_stats=False)
    result = probe(network(inside), "1", "rotation:90", DIGITS, **{**QUICK, "batch_size": 1})
    assert not said(result)


def test_the_network_and_the_random_numbers_are_left_as_they_were():
    inside = nn.Sequential(Membrane(), Settling(), Dropping())
    held = network(inside)
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ProbeError):
        probe(held, "3", "rotation:90", DIGITS, impure="refuse", **QUICK)
    assert inside[0].v is None and inside[1].scale == 0
    assert torch.equal(torch.rand(3), before)


class BrokenOnce(nn.Module):
    """NaN in one call of those that show four images, for the second of them."""

    def __init__(self, call):
        super().__init__()
        self.left = call

    def forward(self, x):
        self.left -= len(x) == 4
        if self.left == 0 and len(x) == 4:
            x = x.clone()
            x[1] = torch.nan
        return x


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (1, "trying the network"), (2, "fit: rotation:90"), (3, "fit: rotation:90 undone"),
        (4, "evaluate: original"), (5, "evaluate: rotation:90"),
        (6, "evaluate: rotation:90 undone"),
    ],
)  # fmt: skip
def test_one_call_that_is_not_finite_names_layer_image_and_transformation(call, shown):
    fit, evaluation = split(len(DIGITS), 0)
    half = evaluation if call > 3 else fit
    name = DIGITS.names[half[3 if call == 1 else 1]]
    place = f"layer '1' gives NaN for image '{name}' ({shown}; 1 of 4 images here)"
    with pytest.raises(ProbeError, match=re.escape(place)):
        probe(network(BrokenOnce(call)), "1", "rotation:90", DIGITS, **QUICK)


# -- what rounding does is no fault ---------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_rounding_of_other_batches_is_no_impurity(precision):
    """Kernels round otherwise for other batch sizes: by 6e-6 in float32, 1e-2 in bfloat16."""
    images = array_images(np.random.default_rng(0).random((4, 3, 64, 64), dtype=np.float32))
    torch.manual_seed(0)
    module = build_network("resnet18").module.eval()
    options, place = Options(precision=precision, batch_size=4), torch.device("cpu")
    inputs = Inputs(images, None, None, "bilinear", place, torch.float32)
    names = [f"layer{number}" for number in (1, 2, 3, 4)]
    look = Looker(Activations(module, names), inputs, place, options, Meter(None, 0))
    assert look.channels_last
    with torch.inference_mode():
        assert check_purity(look.maps, module, inputs, range(4), options) == []


def test_maps_that_hardly_vary_about_a_large_value_are_pure():
    torch.manual_seed(0)
    last = nn.Conv2d(1, 4, 3, padding=1)
    last.weight.data *= 1e-6
    last.bias.data += 100
    result = probe(nn.Sequential(last), "0", "rotation:90", DIGITS, impure="refuse", **QUICK)
    assert not said(result)


def test_layers_that_never_vary_are_pure():
    still = nn.Conv2d(1, 4, 3, padding=1)
    still.weight.data.zero_()
    result = probe(nn.Sequential(still), "0", "rotation:90", DIGITS, impure="refuse", **QUICK)
    assert not said(result)
