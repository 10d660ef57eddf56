"""A localisation that knows the transformation brings all images to one pose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.geometry import (
    projective_from_corners,
    rotations_of,
    scalings_of,
    translations_of,
    warp_each,
)
from invariance_probe.networks import Classifier, build_classifier, parse_architecture
from invariance_probe.networks.stn.block_frames import cell_frame, output_size


class Knows(nn.Module):
    """Says planted numbers (N, k), one list of them a call."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers, self.calls = answers, 0

    def forward(self, maps: Tensor) -> Tensor:
        self.calls += 1
        return self.answers[(self.calls - 1) % len(self.answers)]


def build(name: str, **fields: object) -> Classifier:
    given = {"width": 1 / 16, "head": "FCN", **fields}
    return build_classifier(parse_architecture(name, **given)).double().eval()


def teach(network: Classifier, number: int, *answers: Tensor) -> None:
    """Put the numbers in the place of what one head reads from its maps."""
    transformer, count = network.transformers[number], answers[0].shape[1]
    transformer.features = Knows(*answers)
    transformer.regression = nn.Linear(count, count).double()
    transformer.regression.weight.data = torch.eye(count, dtype=torch.float64)
    nn.init.zeros_(transformer.regression.bias)


def motions(number: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(3, number, 2, generator=generator, dtype=torch.float64)
    turn = rotations_of(360 * draw[0, :, 0]) @ scalings_of(0.6 + draw[1])
    return translations_of(8 * draw[2] - 4) @ turn


def images(network: Classifier, number: int = 6) -> Tensor:
    chosen = network.architecture
    generator = torch.Generator().manual_seed(7)
    shape = (number, chosen.channels, *chosen.canvas)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def numbers(network: Classifier, depth: int, motion: Tensor) -> Tensor:
    """Parameters with which a transformer after `depth` blocks moves content by `motion`."""
    maps = network.architecture.kind == "C"
    blocks = network.blocks[:depth] if maps else []
    canvas = network.architecture.canvas
    frame, half = cell_frame(blocks, canvas), min(output_size(blocks, canvas)) / 2
    source = torch.linalg.inv(frame) @ torch.linalg.inv(motion) @ frame
    source = source / source[:, 2:, 2:]
    unit = torch.diag(torch.tensor([half, half, 1.0], dtype=torch.float64))
    change = torch.linalg.inv(unit) @ source @ unit - torch.eye(3, dtype=torch.float64)
    projective = network.transformers[0].family.name == "projective"
    return change.flatten(1)[:, :8] if projective else change[:, :2].flatten(1)


@pytest.mark.parametrize("name, depth, fields", [
    ("STN-C0", 0, {}),
    ("STN-C1", 1, {}),
    ("STN-C2", 2, {"canvas": (30, 33)}),
    ("STN-C1", 1, {"canvas": (60, 60), "reduction": 2}),
    ("STN-SL1", 1, {"canvas": (28, 40)}),
    ("STN-DL2", 2, {"reduction": 2, "canvas": (60, 60)}),
    ("STN-C3", 3, {"backbone": "svhn", "canvas": (40, 48), "channels": 3}),
    ("STN-SL4", 4, {"backbone": "plankton", "canvas": (50, 41)}),
    ("STN-C4", 4, {"backbone": "plankton", "canvas": (50, 41)}),
], ids=str)  # fmt: skip
def test_the_final_pose_is_the_same_for_all(name, depth, fields):
    network, moved = build(name, **fields), motions()
    goal = motions(1, seed=5)
    teach(network, 0, numbers(network, depth, goal @ torch.linalg.inv(moved)))
    shown = warp_each(images(network), moved)
    final = network.align(shown).poses @ moved
    torch.testing.assert_close(final, goal.expand(6, 3, 3), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["STN-C0x2", "STN-SL1x2", "STN-DL2x2", "STN-C1x2"])
def test_a_second_alignment_finishes_the_first(name):
    """First half of the way in another direction, then what is left."""
    network, moved, first = build(name), motions(), motions(seed=2)
    depth = network.architecture.depths[0]
    left = torch.linalg.inv(first @ moved)
    teach(network, 0, numbers(network, depth, first), numbers(network, depth, left))
    shown = warp_each(images(network), moved)
    found = network.align(shown)
    torch.testing.assert_close(found.steps[0], first, atol=1e-9, rtol=0)
    eye = torch.eye(3, dtype=torch.float64).expand(6, 3, 3)
    torch.testing.assert_close(found.poses @ moved, eye, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["STN-C01", "STN-SL02"])
def test_a_second_transformer_finishes_the_first(name):
    network, moved, first = build(name), motions(), motions(seed=2)
    one, two = network.architecture.depths
    teach(network, 0, numbers(network, one, first))
    teach(network, 1, numbers(network, two, torch.linalg.inv(first @ moved)))
    found = network.align(warp_each(images(network), moved))
    eye = torch.eye(3, dtype=torch.float64).expand(6, 3, 3)
    torch.testing.assert_close(found.poses @ moved, eye, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["STN-C0", "STN-SL1", "STN-C1"])
def test_projective_warps(name):
    network = build(name, family="projective")
    depth = network.architecture.depths[0]
    generator = torch.Generator().manual_seed(3)
    moves = torch.randn(6, 4, 2, generator=generator, dtype=torch.float64)
    moved = projective_from_corners(moves, (28, 28))
    teach(network, 0, numbers(network, depth, torch.linalg.inv(moved)))
    final = network.align(warp_each(images(network), moved)).poses @ moved
    eye = torch.eye(3, dtype=torch.float64).expand(6, 3, 3)
    torch.testing.assert_close(final / final[:, 2:, 2:], eye, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["STN-C0", "STN-SL1", "STN-DL1x2"])
def test_aligned_quarter_turns_give_the_image_and_its_logits_back(name):
    network = build(name)
    turns = rotations_of(torch.tensor([0, 90, 180, -90, 90, 180]))
    depth = network.architecture.depths[0]
    nothing = torch.zeros(6, 6, dtype=torch.float64)
    teach(network, 0, numbers(network, depth, torch.linalg.inv(turns)), nothing)
    if network.architecture.iterations == 1:
        teach(network, 0, numbers(network, depth, torch.linalg.inv(turns)))
    still = images(network)
    shown = warp_each(still, turns)
    torch.testing.assert_close(network.align(shown).images, still, atol=1e-10, rtol=0)
    upright = network.top(network.blocks[1](network.blocks[0](still)))
    torch.testing.assert_close(network(shown), upright, atol=1e-10, rtol=0)


def test_a_collapsed_image_has_no_pose_and_does_not_hide_the_others():
    network = build_classifier(parse_architecture("STN-C0"))
    transformer = network.transformers[0]

    class First(torch.nn.Module):
        def forward(self, images):
            return (torch.arange(len(images))[:, None] == 0).to(images)

    transformer.features = First()
    transformer.regression = torch.nn.Linear(1, 6, bias=False)
    with torch.no_grad():  # the first image is read at one point
        transformer.regression.weight[:, 0] = torch.tensor([-1.0, 0, 0, 0, -1.0, 0])
    found = network.align(torch.rand(3, 1, 28, 28))
    assert found.poses[0].isnan().all()
    torch.testing.assert_close(found.poses[1:], torch.eye(3).double().expand(2, 3, 3))
    assert found.images.isfinite().all()
