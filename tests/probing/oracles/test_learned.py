"""Residuals before and after a transformer's own alignment, with planted transformers."""

import pytest
import torch

from invariance_probe.data import embedded_digits
from invariance_probe.data.digit_sets import upright_digits
from invariance_probe.errors import ProbeError
from invariance_probe.geometry import parse_transforms
from invariance_probe.networks import Architecture, build_classifier, build_network
from invariance_probe.networks.frames.measure import measure_frames
from invariance_probe.probing import probe
from invariance_probe.probing.oracles.learned import (
    LEARNED,
    aligned_layer,
    default_transforms,
    learned_alignment,
    learned_residuals,
    warped_layer,
)


@pytest.mark.parametrize(
    "name, layer",
    [
        ("STN-C0", "blocks.0"),
        ("STN-C1", "aligned.0"),
        ("STN-C012", "aligned.2"),
        ("STN-DL1", "blocks.0"),
        ("STN-SL1", "blocks.0#2"),
        ("STN-SL1x2", "blocks.0#3"),
        ("STN-SL01", "blocks.0#2"),
        ("STN-SL2", "blocks.1#2"),
    ],
)
def test_the_layer_where_an_alignment_shows_is_called_so(name, layer):
    network = build_classifier(Architecture(name))
    assert aligned_layer(network) == layer
    calls = []
    module = dict(network.named_modules())[layer.split("#")[0]]
    module.register_forward_hook(lambda *_: calls.append(1))
    network(torch.zeros(1, 1, 28, 28))
    assert len(calls) == int(layer.partition("#")[2] or 1)  # the last of its calls


@pytest.mark.parametrize(
    "name, layer",
    [("STN-C0", "blocks.0"), ("STN-C1", "blocks.0"), ("STN-C012", "blocks.1"),
     ("STN-DL1", "blocks.0"), ("STN-SL1", "blocks.0#2")],
)  # fmt: skip
def test_an_oracle_aligns_what_the_transformer_warps(name, layer):
    assert warped_layer(build_classifier(Architecture(name))) == layer


# A map's cell is as many pixels as strides and the halving before it make.
@pytest.mark.parametrize(
    "name, size, jump",
    [("STN-C0", 11, 4.0), ("STN-C1", 13, 4.0), ("STN-SL1", 11, 4.0), ("STN-DL1", 11, 4.0)],
)
def test_a_transformer_that_halves_has_the_frame_of_the_halved_map(name, size, jump):
    network = build_network(f"classifier:{name}", canvas=(60, 60), reduction=2, width=0.125)
    layer = aligned_layer(network.module)
    frame = measure_frames(network.module, [layer], (60, 60), 1)[layer]
    assert (frame.size, frame.jump) == ((size, size), (jump, jump))
    assert frame.centre_offset == (0, 0)
    # Undoing a shift by whole cells leaves nothing, one by half a cell does.
    images = upright_digits("mnist-t", (60, 60), number=16)
    found = learned_alignment(network, "translation:8,-4 translation:6,0", images, channels=False)
    table = found.held.residuals
    assert rows(table, "inverse")["translation:8,-4"] < 1e-6
    assert rows(table, "inverse")["translation:6,0"] > 0.01
    assert rows(table, "unaligned")["translation:8,-4"] > 0.5
    # At work an untrained one does the same as at the identity.
    own = found.working.residuals
    assert rows(own, "unaligned")["translation:8,-4"] == pytest.approx(
        rows(table, "unaligned")["translation:8,-4"], rel=1e-4
    )
    logits = found.held_oracle.accuracy.set_index(["transform", "treatment"])["logit_residual"]
    assert logits["translation:8,-4", "inverse"] < 0.1 * logits["translation:8,-4", "nothing"]


def test_an_oracle_with_the_transformers_held_sees_no_learned_turn():
    from invariance_probe.data import array_images

    pixels, labels = marked(40).numpy(), embedded_digits(40).labels
    images = array_images(pixels, labels=labels)
    found = learned_alignment(planted("STN-C0"), "rotation:90", images)

    def agreement(oracle, treatment):
        table = oracle.accuracy.set_index("treatment")
        return table.loc[treatment, "agreement"], table.loc[treatment, "logit_residual"]

    assert agreement(found.working_oracle, "nothing")[1] < 1e-6
    assert agreement(found.held_oracle, "nothing")[1] > 0.1
    assert not found.warps_maps


def test_transformations_by_data():
    angles = [move.parameter for move in parse_transforms(default_transforms("mnist-r"))]
    assert angles == list(range(-90, 91, 15))
    shifts = parse_transforms(default_transforms("Fashion-T"))
    assert len(shifts) == 13 and shifts[0].is_identity
    assert all(0 in move.parameters and max(map(abs, move.parameters)) <= 16 for move in shifts[1:])
    factors = [move.parameter for move in parse_transforms(default_transforms("mnist-s"))]
    assert factors == pytest.approx([2 ** (k / 2) for k in range(-2, 5)])
    with pytest.raises(ProbeError, match=r"no transformations are known for .* 'street'; give"):
        default_transforms("street")


def rows(table, rung):
    return table[table["rung"] == rung].set_index("transform")["residual"]


class Knowing(torch.nn.Module):
    """Localises by the brightest corner of a marked image: which quarter turn it was."""

    def forward(self, images):
        corners = images[:, 0, [0, 0, -1, -1], [0, -1, -1, 0]]  # clockwise
        return torch.nn.functional.one_hot(corners.argmax(1), 4).to(images)


def marked(number):
    pixels = embedded_digits(number).batch(range(number)).clone()
    pixels[:, :, [0, 0, -1, -1], [0, -1, -1, 0]] = 0.0
    pixels[:, :, 0, 0] = 1.0
    return pixels


def planted(name):
    """A classifier whose transformer undoes quarter turns of marked images exactly."""
    network = build_network(f"classifier:{name}", family="rotation", head="FCN")
    transformer = network.module.transformers[0]
    transformer.features = Knowing()
    transformer.regression = torch.nn.Linear(4, 1, bias=False)
    # A corner found k quarter turns clockwise wants k quarter turns counter-clockwise.
    turns = torch.tensor([[0.0, 0.5, 1.0, -0.5]]) * torch.pi
    transformer.regression.weight = torch.nn.Parameter(turns)
    return network


def test_a_transformer_that_knows_the_turn_leaves_nothing_on_the_input():
    from invariance_probe.data import array_images

    images = array_images(marked(60).numpy())
    table = learned_residuals(planted("STN-C0"), "rotation:90 rotation:180", images)
    assert set(table["network"]) == {"STN-C0"}
    assert (rows(table, LEARNED) < 1e-6).all()
    assert (rows(table, "inverse") > 0.3).all()  # the same turn on the maps is no use
    assert (rows(table, "unaligned") > 0.3).all()


def test_an_idle_transformer_leaves_what_was_there():
    network = build_network("classifier:STN-C1", seed=2)
    images = embedded_digits(60)
    table = learned_residuals(network, "rotation:40", images)
    assert rows(table, LEARNED)["rotation:40"] == pytest.approx(
        rows(table, "unaligned")["rotation:40"], rel=1e-4
    )
    plain = probe(network, ["blocks.0"], "rotation:40", images, channels=False).residuals
    assert rows(table, "inverse")["rotation:40"] == pytest.approx(
        rows(plain, "inverse")["rotation:40"], rel=1e-6
    )


def test_networks_without_a_transformer_or_maps_are_refused():
    with pytest.raises(ProbeError, match=r"'mnist_cnn' is no spatial transformer classifier"):
        learned_residuals(build_network("mnist_cnn"), "rotation:90", embedded_digits(20))
    with pytest.raises(ProbeError, match=r"'CNN' has no transformer whose alignment"):
        learned_residuals(build_network("classifier:CNN"), "rotation:90", embedded_digits(20))
    with pytest.raises(ProbeError, match=r"'ST-FCN' on the fcn backbone has no feature maps"):
        learned_residuals(build_network("classifier:ST-FCN"), "rotation:90", embedded_digits(20))
