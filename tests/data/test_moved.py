"""Upright images, moved by what is asked for: transformations are those of the images shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from invariance_probe.data import array_images
from invariance_probe.data.catalogue import load_examples
from invariance_probe.data.distortions import moved, movement
from invariance_probe.data.examples.fixed import FixedExamples
from invariance_probe.data.examples.upright import upright_examples
from invariance_probe.errors import ProbeError
from invariance_probe.training.poses.poses import pose_parameters


def upright(number: int = 40, side: int = 21) -> FixedExamples:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (number, 3, side, side), dtype=np.uint8)
    images = array_images(pixels, side, labels=np.arange(number) % 4, background=(0.2, 0.4, 0.6))
    return upright_examples(images)


@pytest.mark.parametrize(
    ("text", "column", "most"),
    [("rotation:90", 0, 90), ("scaling:2", 1, 1), ("translation:8", 2, 8), ("translation:8", 3, 8),
     ("similarity:30,1.5", 0, 30), ("similarity:30,1.5", 1, np.log2(1.5))],
)  # fmt: skip
def test_amounts_are_uniform_to_either_side(text: str, column: int, most: float) -> None:
    law = movement(text).law(4000, torch.Generator().manual_seed(0))
    values = pose_parameters(law)[:, column] / most
    assert np.abs(values).max() <= 1 + 1e-9
    np.testing.assert_allclose(np.quantile(values, [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.06)


def test_images_are_moved_by_the_transformations_that_are_told() -> None:
    still = upright()
    examples = moved(still, "similarity:90,1.5")
    batch = examples.draw(3).batch([5, 2])
    beyond = torch.tensor(still.background).view(-1, 1, 1)
    for image, matrix, index in zip(batch.images, batch.transforms, (5, 2), strict=True):
        original = (still.batch([index]).images[0] - beyond).numpy()
        back = np.linalg.inv(matrix.numpy())[1::-1, 1::-1]  # rows before columns
        offset = 10 - back @ [10, 10]
        seen = [affine_transform(a, back, offset, order=1, mode="grid-constant") for a in original]
        np.testing.assert_allclose(image, np.stack(seen) + beyond.numpy(), atol=1e-4)
    assert batch.targets.tolist() == [1, 2]


def test_passes_differ_and_the_same_seed_gives_the_same_pass_in_any_batch() -> None:
    examples = moved(upright(), "rotation:90")
    first, again, other = (examples.draw(seed).batch([7]).images for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.allclose(examples.draw(1).batch(range(10)).images[7:8], first, atol=1e-6)
    assert examples.fresh and examples.sha256 != moved(upright(), "rotation:45").sha256


@pytest.mark.parametrize(
    "text", ["rotate:90", "rotation", "rotation:0", "rotation:200", "scaling:0.5", "scaling:nan",
             "similarity:90", "translation:-3", "rotation:9,9", ""],
)  # fmt: skip
def test_what_is_no_movement_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ProbeError, match=r"no movement.*give rotation:DEGREES, scaling:FACTOR"):
        movement(text)


def test_distorted_images_and_shifts_out_of_the_canvas_are_refused() -> None:
    with pytest.raises(ProbeError, match="are transformed already; leave transform out"):
        load_examples("mnist-r", number=10, transform="rotation:90")
    with pytest.raises(ProbeError, match=r"out of a canvas of 21 pixels; give less than 10\.5"):
        moved(upright(), "translation:11")
