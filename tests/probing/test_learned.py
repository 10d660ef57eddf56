"""Residuals before and after a transformer's own alignment, with planted transformers."""

import pytest
import torch

from invariance_probe.data import embedded_digits
from invariance_probe.errors import ProbeError
from invariance_probe.networks import Architecture, build_classifier, build_network
from invariance_probe.probing import probe
from invariance_probe.probing.learned import LEARNED, aligned_layer, learned_residuals


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
