"""Generated street numbers: labels, poses, seeds, and that the digits can be read."""

from __future__ import annotations

import pytest
import torch

from invariance_probe import ProbeError
from invariance_probe.data.examples.fixed import channel_statistics
from invariance_probe.data.street.glyphs import CELL, INK_HEIGHT, street_glyphs
from invariance_probe.data.street.numbers import street_numbers
from invariance_probe.data.street.painting import _number_mask
from invariance_probe.data.street.plans import SIDE, plan_numbers
from invariance_probe.geometry import angle_of, points_in, warp_each


def test_five_positions_of_eleven_classes() -> None:
    numbers = street_numbers(number=60)
    assert (len(numbers), numbers.canvas, numbers.channels) == (60, (64, 64), 3)
    assert (numbers.positions, numbers.classes, numbers.fresh) == (5, 11, False)
    assert numbers.description == "generated street numbers, train: 60 images, seed 0"
    batch = numbers.draw(3).batch([59, 0])
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.images.dtype == torch.float32
    assert batch.targets.tolist() == numbers.targets[[59, 0]].tolist()
    assert batch.transforms is not None
    assert batch.transforms.shape == (2, 3, 3)


def test_digits_stand_first_and_every_length_occurs() -> None:
    labels = street_numbers(number=3000).targets
    none = labels == 10
    lengths = (~none).sum(1)
    assert (none == (torch.arange(5) >= lengths[:, None])).all()
    assert (labels[:, 0] > 0).all()
    share = torch.bincount(lengths, minlength=6)[1:] / len(labels)
    torch.testing.assert_close(share, torch.tensor([0.1, 0.25, 0.3, 0.2, 0.15]), atol=0.03, rtol=0)
    assert torch.bincount(labels[~none], minlength=10).min() > 600


def test_an_image_depends_on_seed_and_index_only() -> None:
    few, many = street_numbers(number=70, seed=4), street_numbers(number=130, seed=4)
    at = [69, 3, 51]
    backwards = torch.cat([many.batch([i]).images for i in reversed(at)]).flip(0)
    assert torch.equal(few.batch(at).images, backwards)
    assert torch.equal(few.targets, many.targets[:70])
    assert few.sha256 != many.sha256
    assert few.sha256 == street_numbers(number=70, seed=4).sha256
    other = street_numbers(number=70, seed=5)
    assert not torch.equal(few.batch([0]).images, other.batch([0]).images)


def test_training_and_test_numbers_have_nothing_in_common() -> None:
    train, test = street_numbers(number=50), street_numbers(train=False, number=50)
    assert not torch.equal(train.targets, test.targets)
    assert test.description.startswith("generated street numbers, test")
    ours, theirs = street_glyphs(True), street_glyphs(False)
    assert torch.equal(ours.fonts, theirs.fonts)
    ink = {cell.numpy().tobytes() for cell in ours.cells[ours.fonts.numel() :]}
    assert len(ink) > 7990
    assert not ink & {cell.numpy().tobytes() for cell in theirs.cells[theirs.fonts.numel() :]}


def test_glyphs_fill_their_height_and_their_width() -> None:
    glyphs = street_glyphs(False)
    assert len(glyphs.fonts) >= 15
    rows = (glyphs.cells[:, 0] > 0).any(2)
    margin = (CELL - INK_HEIGHT) // 2
    assert not rows[:, :margin].any()
    assert not rows[:, -margin:].any()
    wide = (glyphs.cells[:, 0] > 0).any(1).sum(1)
    assert (wide <= glyphs.widths).all()
    assert (wide >= glyphs.widths - 2).float().mean() > 0.99
    assert sum(len(cells) for cells in glyphs.written) == 2000


def test_every_number_lies_in_its_image() -> None:
    plan = plan_numbers(2000, street_glyphs(False), torch.Generator().manual_seed(0))
    half = torch.stack([plan.widths / 2, torch.full_like(plan.widths, INK_HEIGHT / 2)], 1)
    signs = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    corners = points_in(plan.poses, half[:, None] * signs)
    assert corners.abs().max() <= SIDE / 2 - 1 + 1e-9
    # Places differ: the numbers do not all stand in the middle.
    assert plan.poses[:, :2, 2].std(0).min() > 5
    assert 6 < angle_of(plan.poses).std() < 12


def test_the_pose_brings_the_number_upright() -> None:
    glyphs = street_glyphs(False)
    plan = plan_numbers(400, glyphs, torch.Generator().manual_seed(1))
    mask = _number_mask(plan, glyphs)
    upright = warp_each(mask, torch.linalg.inv(plan.poses), (INK_HEIGHT + 8, 160))[:, 0]
    rows = upright.amax(2) > 0.5
    heights = rows.sum(1).float()
    assert (heights - INK_HEIGHT).abs().mean() < 2.5
    columns = upright.amax(1) > 0.3
    widths = columns.flip(1).float().argmax(1).neg() + 160 - columns.float().argmax(1)
    assert (widths - plan.widths).abs().mean() < 2.5


def test_digits_stand_out_from_what_is_behind_them() -> None:
    number = 200
    numbers = street_numbers(number=number)
    glyphs = street_glyphs(True)
    images = numbers.pixels[torch.arange(number)].float().mean(1) / 255
    differences = []
    for i in range(number):
        inverse = torch.linalg.inv(numbers.transforms[i : i + 1])
        upright = warp_each(images[i][None, None], inverse, (INK_HEIGHT, 16))[0, 0]
        differences.append(float(upright.quantile(0.95) - upright.quantile(0.05)))
    assert glyphs.cells.max() == 1
    assert torch.tensor(differences).quantile(0.05) > 0.1


def test_normalised_by_the_statistics_of_the_distribution() -> None:
    numbers = street_numbers(number=1000, seed=7)
    mean, std = channel_statistics(numbers.pixels[torch.arange(1000)])
    torch.testing.assert_close(torch.tensor(mean), torch.tensor(numbers.mean), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.tensor(std), torch.tensor(numbers.std), atol=0.02, rtol=0)
    images = numbers.batch([5]).images
    back = images * torch.tensor(numbers.std).view(3, 1, 1) + torch.tensor(numbers.mean).view(
        3, 1, 1
    )
    torch.testing.assert_close(back, numbers.pixels[torch.tensor([5])].float() / 255)


def test_wrong_numbers_and_seeds() -> None:
    with pytest.raises(ProbeError, match="0 images asked for; ask for 1 or more"):
        street_numbers(number=0)
    with pytest.raises(ProbeError, match="seed -1; give 0 or more"):
        street_numbers(number=1, seed=-1)
    with pytest.raises(ProbeError, match=r"no image 9; indices run from 0 to 4"):
        street_numbers(number=5).batch([9])
