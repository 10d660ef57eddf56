"""What classifiers say their transformers do, in pixels of the image, with planted heads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import (
    angle_of,
    points_in,
    rotations_of,
    scale_of,
    scalings_of,
    translations_of,
    warp_each,
)
from invariance_probe.networks import (
    Classifier,
    build_classifier,
    measure_frames,
    parse_architecture,
    still_transformers,
)

SVHN = {"backbone": "svhn", "canvas": (48, 32), "channels": 3}
PLANKTON = {"backbone": "plankton", "canvas": (50, 41)}


def build(name: str, **fields: object) -> Classifier:
    given = {"width": 1 / 16, "head": "FCN", "family": "similarity", **fields}
    return build_classifier(parse_architecture(name, **given)).double().eval()


def images(network: Classifier, number: int = 2) -> Tensor:
    chosen = network.architecture
    generator = torch.Generator().manual_seed(7)
    shape = (number, chosen.channels, *chosen.canvas)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def plant(network: Classifier, *values: list[float]) -> Classifier:
    """Let each head say the same numbers for every image."""
    for transformer, numbers in zip(network.transformers, values, strict=True):
        transformer.regression.bias.data = torch.tensor(numbers, dtype=torch.float64)
    return network


def move(degrees: float = 0.0, dx: float = 0.0, dy: float = 0.0) -> Tensor:
    turn = rotations_of(torch.tensor([degrees], dtype=torch.float64))
    return translations_of(torch.tensor([[dx, dy]], dtype=torch.float64)) @ turn


def about(point: list[float], motion: Tensor) -> Tensor:
    """A motion about another point than the centre of the canvas."""
    there = translations_of(torch.tensor([point], dtype=torch.float64))
    return there @ motion @ torch.linalg.inv(there)


def close(found: Tensor, expected: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected.expand_as(found), atol=atol, rtol=0)


@pytest.mark.parametrize("name", ["STN-C0", "STN-SL0", "STN-SL1", "STN-DL1", "STN-SL2"])
def test_warps_of_the_input(name):
    """The source is half a side to the right and turned: content moves back and turns."""
    network = plant(build(name, canvas=(28, 36)), [math.radians(30), 0.0, 0.5, -0.25])
    shown = images(network)
    found = network.align(shown)
    source = move(dx=7, dy=-3.5) @ move(-30)
    close(found.poses, torch.linalg.inv(source))
    assert angle_of(found.poses).tolist() == pytest.approx([30, 30])
    assert found.poses.dtype == torch.float64 and len(found.steps) == 1
    assert found.steps[-1] is found.poses
    torch.testing.assert_close(found.images, warp_each(shown, found.poses, beyond="nearest"))


def test_a_shift_of_maps_counts_in_pixels_of_the_image():
    """MNIST-T: 26 cells behind the first block, two pixels apart."""
    network = plant(build("STN-C1", family="translation", canvas=(60, 60)), [0.5, -1.0])
    close(network.align(images(network)).poses, move(dx=-0.5 * 13 * 2, dy=13 * 2))


@pytest.mark.parametrize("name, canvas, depth, step", [
    ("STN-C1", (60, 60), 1, 2), ("STN-C2", (44, 60), 2, 4), ("STN-C1", (30, 30), 1, 2),
])  # fmt: skip
def test_maps_warped_by_the_pose_are_those_of_the_moved_image(name, canvas, depth, step):
    """Translation is what maps can undo, so it shows in which pixels a pose is written."""
    network = build(name, family="translation", canvas=canvas)
    shown = images(network)

    def maps(f: Tensor) -> Tensor:
        for block in network.blocks[:depth]:
            f = block(f)
        return f

    cells = maps(shown)
    shift = [2 / (min(cells.shape[-2:]) / 2), -1 / (min(cells.shape[-2:]) / 2)]
    plant(network, shift)
    pose = network.align(shown).poses
    close(pose, move(dx=-2 * step, dy=step))
    moved = maps(warp_each(shown, pose))
    seen = network.transformers[0].render(cells, network.transformers[0].sources(cells))
    inner = (..., slice(1, None), slice(None, -2))
    torch.testing.assert_close(seen[inner], moved[inner], atol=1e-9, rtol=0)


def measured(network: Classifier, depth: int) -> tuple[Tensor, float]:
    """Centred cells of the map after some blocks as points of the image, by running them."""
    blocks = nn.Sequential(*network.blocks[:depth])
    layer, chosen = str(depth - 1), network.architecture
    frame = measure_frames(blocks, layer, chosen.canvas, chosen.channels)[layer]
    rows, columns = frame.size
    corner = translations_of(torch.tensor([[(columns - 1) / 2, (rows - 1) / 2]]))
    return torch.tensor(frame.matrix) @ corner[0], min(rows, columns) / 2


@pytest.mark.parametrize("depth, fields", [
    (1, {"canvas": (60, 60)}), (2, {"canvas": (30, 33)}), (2, SVHN), (4, PLANKTON),
])  # fmt: skip
def test_poses_of_maps_in_the_measured_frame(depth, fields):
    network = plant(build(f"STN-C{depth}", **fields), [math.radians(40), -0.2, 0.2, -0.3])
    frame, half = measured(network, depth)
    size = scalings_of(torch.tensor([math.exp(-0.2)], dtype=torch.float64))
    source = move(dx=0.2 * half, dy=-0.3 * half) @ move(-40) @ size
    expected = frame @ torch.linalg.inv(source) @ torch.linalg.inv(frame)
    found = network.align(images(network)).poses
    close(found, expected)
    assert angle_of(found).tolist() == pytest.approx([40, 40])
    assert scale_of(found).tolist() == pytest.approx([math.exp(0.2)] * 2)


def test_maps_turn_about_their_own_centre():
    """At 30 px the second map's centre lies one pixel up and left of the image's."""
    network = plant(build("STN-C2", family="rotation", canvas=(30, 30)), [1.0])
    poses = network.align(images(network)).poses
    centre = torch.tensor([[-1.0, -1.0]], dtype=torch.float64)
    close(points_in(poses, centre)[:, 0], centre)
    close(poses, about([-1, -1], move(math.degrees(1))))


@pytest.mark.parametrize("name", ["STN-C0", "STN-C1", "STN-SL1", "STN-DL1"])
@pytest.mark.parametrize("times", [2, 3])
def test_iterations_accumulate(name, times):
    """Each alignment moves what the ones before show: the same motion, again."""
    network = plant(build(f"{name}x{times}", canvas=(60, 60)), [0.3, 0.1, 0.2, -0.1])
    shown = images(network)
    found = network.align(shown)
    once = found.steps[0]
    assert len(found.steps) == times
    for number, step in enumerate(found.steps, 1):
        close(step, torch.linalg.matrix_power(once, number))
    if name != "STN-C1":
        torch.testing.assert_close(
            found.images, warp_each(shown, torch.linalg.matrix_power(once, times), beyond="nearest")
        )


def test_transformers_before_and_after_blocks_accumulate():
    network = plant(
        build("STN-C012", canvas=(30, 30)), [0.2, 0, 0.4, 0], [0.3, 0, 0, 0.2], [0.4, 0, 0, 0]
    )
    found = network.align(images(network))
    motions = [
        torch.linalg.inv(move(dx=0.4 * 15) @ move(-math.degrees(0.2))),
        torch.linalg.inv(move(dy=0.2 * 11) @ move(-math.degrees(0.3))),
        about([-1, -1], move(math.degrees(0.4))),
    ]
    close(found.steps[0], motions[0])
    close(found.steps[1], motions[1] @ motions[0])
    close(found.poses, motions[2] @ motions[1] @ motions[0])


def test_several_depths_that_warp_the_input_accumulate():
    network = plant(build("STN-SL12"), [0.2, 0, 0.4, 0], [0.3, 0, 0, 0.2])
    found = network.align(images(network))
    first = torch.linalg.inv(move(dx=0.4 * 14) @ move(-math.degrees(0.2)))
    then = torch.linalg.inv(move(dy=0.2 * 14) @ move(-math.degrees(0.3)))
    close(found.steps[0], first)
    close(found.poses, then @ first)


@pytest.mark.parametrize("name", ["STN-C0", "STN-C1", "STN-SL1", "STN-C0x2", "STN-SL1x2"])
def test_a_reduced_output_does_not_change_the_pose(name):
    values = [0.3, 0.1, 0.2, -0.1]
    shown = images(build(name, canvas=(60, 60)))
    poses = [
        plant(build(name, canvas=(60, 60), reduction=reduction), values).align(shown)
        for reduction in (1, 2)
    ]
    close(poses[1].poses, poses[0].poses)
    assert poses[1].images.shape == shown.shape
    torch.testing.assert_close(poses[1].images, poses[0].images)


def test_frames_go_on_behind_a_reduced_map():
    """60 px: 26 cells of 2 px, 13 of 4, 7 convolved, 3 pooled: the last is off by half a cell."""
    network = plant(build("STN-C12", canvas=(60, 60), reduction=2), [0, 0, 0.2, 0], [0.5, 0, 0, 0])
    steps = network.align(images(network)).steps
    close(steps[0], move(dx=-0.2 * 13 * 2))
    close(steps[1], about([-2, -2], move(math.degrees(0.5))) @ move(dx=-5.2))


@pytest.mark.parametrize("family", ["affine", "projective", "attention", "scaling"])
@pytest.mark.parametrize("name", ["STN-C0", "STN-C1", "STN-SL1"])
def test_other_families(name, family):
    network = build(name, family=family)
    generator = torch.Generator().manual_seed(1)
    count = network.transformers[0].family.parameters
    values = 0.1 * torch.randn(count, generator=generator, dtype=torch.float64)
    plant(network, values.tolist())
    shown = images(network)
    poses = network.align(shown).poses
    assert (poses[:, 2, 2] == 1).all()
    assert bool((poses[:, 2, :2] != 0).all()) == (family == "projective")
    if name != "STN-C1":
        maps = network.blocks[0](shown) if name == "STN-SL1" else shown
        rendered = network.transformers[0](maps, shown=shown)
        expected = warp_each(shown, poses, beyond="nearest")
        torch.testing.assert_close(rendered, expected, atol=1e-9, rtol=0)


def test_the_background_goes_on_around_the_shown_input():
    """No dark frame where the content shrinks, for maps as for the input."""
    for name in ("STN-C0", "STN-C1", "STN-SL1", "STN-DL1"):
        network = build(name, channels=2, beyond="fill", fill=(0.5, -2.0))
        plant(network, [0.3, math.log(3), 0.2, 0.0])
        flat = torch.tensor([0.5, -2.0], dtype=torch.float64)[:, None, None].expand(2, 2, 28, 28)
        torch.testing.assert_close(network.align(flat).images, flat)
        if name != "STN-C1":
            still = network.top(network.blocks[1](network.blocks[0](flat)))
            torch.testing.assert_close(network(flat), still)


def test_aligning_leaves_the_network_alone():
    network = plant(build("STN-SL2", **SVHN), [0.3, 0.1, 0.2, -0.1]).train()
    network.blocks[1].eval()
    modes = [module.training for module in network.modules()]
    first, second = (network.align(images(network)) for _ in range(2))
    assert torch.equal(first.poses, second.poses) and not first.poses.requires_grad
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    with still_transformers(network):
        close(network.align(images(network)).poses, torch.eye(3, dtype=torch.float64))


def test_no_alignment_without_one_transformer_and_a_matrix():
    cases = [
        ({"name": "CNN"}, "'CNN' has no transformer to align with"),
        ({"name": "STN-C0", "parallel": 2}, "in parallel have no common alignment; take one"),
        ({"name": "STN-C0", "family": "tps"}, "a thin plate spline has no matrix; use another"),
        ({"name": "STN-SL1", "family": "tps"}, "a thin plate spline has no matrix; use another"),
    ]
    for fields, text in cases:
        network = build(**fields)
        with pytest.raises(ProbeError, match=text):
            network.align(images(network))
