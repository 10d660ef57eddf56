"""What every image set promises, and sets made from arrays."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariance_probe import ProbeError
from invariance_probe.data import array_images
from invariance_probe.data.sizes import as_size, fit_parity, rotation_reach

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 9, 11), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(indices=st.lists(st.integers(0, 5), max_size=8), canvas=st.sampled_from([6, 8, 19]))
def test_batches_do_not_depend_on_their_company(indices: list[int], canvas: int) -> None:
    images = array_images(COLOUR, canvas)
    batch = images.batch(indices)
    assert batch.shape == (len(indices), 3, *images.source_size)
    for row, index in enumerate(indices):
        assert torch.equal(batch[row], images.batch([index])[0])


def test_values_are_the_pixels() -> None:
    images = array_images(GREY)
    np.testing.assert_array_equal(
        images.batch(range(12)).numpy(), (GREY[:, None].astype(np.float32) / np.float32(255))
    )
    floats = array_images(torch.from_numpy(GREY).double() / 255)
    torch.testing.assert_close(floats.batch([3]), images.batch([3]))
    assert floats.batch([3]).dtype == torch.float32
    assert array_images(torch.rand(2, 1, 4, 4).bfloat16()).batch([0]).dtype == torch.float32


@given(available=st.integers(1, 60), canvas=st.integers(1, 60))
def test_source_has_the_parity_of_the_canvas(available: int, canvas: int) -> None:
    side = fit_parity(available, canvas)
    assert (side - canvas) % 2 == 0
    assert side >= canvas
    assert side == canvas or available - 1 <= side <= available


@given(rows=st.integers(1, 300), columns=st.integers(1, 300))
def test_rotation_reach_holds_every_corner(rows: int, columns: int) -> None:
    need = rotation_reach((rows, columns))
    corner = np.hypot(rows - 1, columns - 1) / 2
    for side, canvas in zip(need, (rows, columns), strict=True):
        assert (side - canvas) % 2 == 0
        # Two pixels for a bicubic kernel, and no more than needed.
        assert rows == columns == 1 or corner + 2 <= (side - 1) / 2 + 1e-9 <= corner + 4


def test_the_surplus_is_the_margin_and_odd_pixels_go() -> None:
    images = array_images(GREY, canvas=(4, 5))  # 9 x 11 pixels
    assert images.source_size == (8, 11)
    np.testing.assert_array_equal(images.batch([0])[0, 0].numpy() * 255, GREY[0, :8])


def test_small_images_are_enlarged_and_it_is_said() -> None:
    ramp = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (1, 8, 1))
    images = array_images(ramp, canvas=(16, 12))
    assert images.source_size == images.canvas == (16, 12)
    assert images.notes[0] == "images of 8x8 were enlarged to cover 16x12"
    inner = images.batch([0])[0, 0, :, 2:-2]
    # A ramp stays a ramp of half the slope (bicubic reproduces straight lines).
    torch.testing.assert_close(inner.diff(dim=1), torch.full((16, 7), 1 / 14), atol=1e-5, rtol=0)


def test_channels_convert_between_grey_and_colour() -> None:
    colour = array_images(GREY, channels=3)
    assert torch.equal(colour.batch([1])[0, 0], colour.batch([1])[0, 2])
    grey = array_images(COLOUR, channels=1)
    expected = np.tensordot([0.299, 0.587, 0.114], COLOUR[2] / 255, 1)
    np.testing.assert_allclose(grey.batch([2])[0, 0].numpy(), expected, atol=1e-6)
    with pytest.raises(ProbeError, match="5 channels cannot become 3"):
        array_images(np.zeros((1, 5, 8, 8), np.uint8), channels=3)


def test_take() -> None:
    images = array_images(GREY, labels=np.arange(12), names=[f"n{i}" for i in range(12)])
    chosen = images.take([5, 2, 5])
    assert chosen.names == ("n5", "n2", "n5")
    assert chosen.labels is not None
    assert chosen.labels.tolist() == [5, 2, 5]
    assert torch.equal(chosen.batch([1]), images.batch([2]))
    assert chosen.take(1).names == ("n5",)
    assert images.take(4).names == ("n0", "n1", "n2", "n3")
    draw = images.take(12, seed=3)
    assert sorted(draw.names) == sorted(images.names)
    assert images.take(5, seed=3).names == draw.names[:5]
    for wrong in (0, 13):
        with pytest.raises(ProbeError, match=rf"array: {wrong} images asked for, 12 there; ask"):
            images.take(wrong)
    with pytest.raises(ProbeError, match="no image 12; indices run from 0 to 11"):
        images.take([12])
    with pytest.raises(ProbeError, match="no image -1"):
        images.batch([-1])


def test_hash_follows_the_content() -> None:
    images = array_images(GREY)
    assert images.sha256 == array_images(GREY.copy()).sha256
    assert images.take(12).sha256 == images.sha256
    changed = GREY.copy()
    changed[7, 3, 3] ^= 1
    different = {
        images.sha256,
        array_images(changed).sha256,
        images.take(11).sha256,
        images.take(list(range(11, -1, -1))).sha256,
        array_images(GREY, canvas=7).sha256,
        array_images(GREY, labels=[0] * 12).sha256,
    }
    assert len(different) == 6
    assert array_images(changed).take(7).sha256 == images.take(7).sha256


def test_a_set_is_a_value() -> None:
    images = array_images(GREY, canvas=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        images.channels = 2  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(images))  # worker processes get it this way
    assert torch.equal(again.batch([4]), images.batch([4]))
    assert repr(images) == (
        "<ImageSet array: 12 images, 1 channel(s), source 9x11, canvas 5x5, background reflect>"
    )


def test_backgrounds() -> None:
    assert array_images(COLOUR, background=0.5).background == (0.5, 0.5, 0.5)
    assert array_images(COLOUR, background=(0, 0.5, 1)).background == (0.0, 0.5, 1.0)
    assert "filled with 0, 1:" in array_images(COLOUR, background=(0, 1, 0)).notes[0]
    assert "the border is reflected" in array_images(COLOUR).notes[0]
    assert array_images(np.zeros((1, 1, 40, 40), np.uint8), canvas=20).notes == ()
    for wrong in ("mirror", (0.0, 1.0), 255):
        with pytest.raises(ProbeError, match=r"background .*reflect"):
            array_images(COLOUR, background=wrong)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[1]], "must be a NumPy array or a tensor, not list"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\); give \(N, C, H, W\)"),
        (np.zeros((0, 4, 4), np.uint8), "are empty"),
        (np.zeros((2, 32, 32, 3), np.uint8), r"look like \(N, H, W, C\).*transpose\(0, 3, 1, 2\)"),
        (np.zeros((2, 4, 4), np.int64), "of type int64; give uint8"),
        (np.full((2, 4, 4), 255.0), "image 0 has values from 255 to 255; give floats in"),
        (np.stack([np.zeros((4, 4)), np.full((4, 4), -0.1)]), "image 1 has values from -0.1"),
        (np.full((1, 4, 4), np.nan), "image 0 has values from nan"),
    ],
)
def test_arrays_that_are_no_images(array: object, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        array_images(array)  # type: ignore[arg-type]


def test_labels_names_and_sizes_are_checked() -> None:
    with pytest.raises(ProbeError, match="2 names for 12 images"):
        array_images(GREY, names=["a", "b"])
    with pytest.raises(ProbeError, match=r"labels of shape \(3,\) for 12 images"):
        array_images(GREY, labels=[1, 2, 3])
    with pytest.raises(ProbeError, match="labels of type float64"):
        array_images(GREY, labels=np.zeros(12))
    for wrong in (0, (3, 4, 5), (2.5, 3), True):
        with pytest.raises(ProbeError, match=r"is no size; give a side or \(H, W\)"):
            array_images(GREY, canvas=wrong)
    assert as_size(np.int64(5)) == (5, 5)
    images = array_images(GREY)
    with pytest.raises(ProbeError, match="same parity"):
        dataclasses.replace(images, canvas=(8, 11))
