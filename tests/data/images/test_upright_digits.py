"""Test digits as they are, in the middle of the canvas of a distorted data set."""

import numpy as np
import pytest

from invariance_probe.data import embedded_digits, load_examples
from invariance_probe.data.digit_sets import upright_digits
from invariance_probe.errors import ProbeError

from .test_torchvision import write_mnist


def test_the_canvas_of_its_own_size_changes_nothing():
    images = upright_digits("mnist-r", (28, 28), number=None)
    whole = embedded_digits()
    assert len(images) == 2000  # those that the package's own training leaves
    np.testing.assert_array_equal(images.batch([0, 7]), whole.batch([8000, 8007]))
    assert images.labels.tolist() == whole.labels[8000:].tolist()
    assert images.names[0] == "t10k-08000"
    assert images.description == "2,000 upright MNIST test images as they are"


@pytest.mark.parametrize("canvas", [(60, 60), (112, 112), (42, 30)])
def test_black_all_around_and_in_the_middle_as_in_the_data_set(canvas):
    images = upright_digits("mnist-s", canvas, number=5, seed=3)
    assert images.canvas == images.source_size == canvas and images.background == (0.0,)
    pixels = images.batch(range(5))
    top, left = (canvas[0] - 28) // 2, (canvas[1] - 28) // 2
    inner = pixels[:, :, top : top + 28, left : left + 28]
    assert (pixels > 0).sum() == (inner > 0).sum() > 0
    few = load_examples("mnist", train=False, number=5, seed=3)  # the same draw
    expected = few.draw(0).batch(range(5)).images * 0.3081 + 0.1307
    np.testing.assert_allclose(inner, expected, atol=1e-6)


def test_other_families_from_their_files(tmp_path):
    write_mnist(tmp_path, "FashionMNIST", 6)
    images = upright_digits("fashion-t", (60, 60), tmp_path)
    assert len(images) == 6 and "upright Fashion-MNIST test images" in images.description


def test_bad_input():
    for name in ("street", "mnist-addition", "photos"):
        with pytest.raises(ProbeError, match=f"the upright images of '{name}' are not known"):
            upright_digits(name, (28, 28))
    with pytest.raises(ProbeError, match=r"a canvas of 20x28 does not hold images of 28x28"):
        upright_digits("mnist-r", (20, 28))
    with pytest.raises(ProbeError, match=r"Fashion-MNIST does not come with the package"):
        upright_digits("fashion-r", (28, 28))
