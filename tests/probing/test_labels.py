"""Labels of folders as class numbers of a network: by value, by name, or doubted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from invariance_probe import ProbeError, build_network, embedded_digits
from invariance_probe.data import ImageSet, array_images, image_folder, load_examples
from invariance_probe.networks import Network
from invariance_probe.networks.building.class_names import class_names, plain_name
from invariance_probe.probing import oracle
from invariance_probe.probing.bench.labels import doubted_labels, network_labels


def folder(path: Path, names: dict[str, int], each: int = 4) -> Path:
    """A sub-folder per name, of digits of one class."""
    digits = embedded_digits()
    assert digits.labels is not None
    for name, digit in names.items():
        place = path / name
        place.mkdir(parents=True)
        for i in np.flatnonzero(digits.labels == digit)[:each]:
            pixels = (digits.batch([int(i)])[0, 0].numpy() * 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png")
    return path


def test_folders_called_by_numbers_are_these_classes(tmp_path: Path) -> None:
    images = image_folder(folder(tmp_path, {"10": 1, "9": 9, "7": 7, "8": 8}), 28, 1, margin=1)
    assert images.labels is not None
    assert images.classes == ("7", "8", "9", "10")
    assert images.labels.tolist() == [7] * 4 + [8] * 4 + [9] * 4 + [10] * 4
    assert images.notes[0] == "labels are the numbers that the folders are called by (7, 8, 9, 10)"
    shown = images.take(range(12))
    result = oracle(build_network("mnist_cnn"), ["conv1"], "rotation:90", shown, resamples=10)
    assert result.untransformed_accuracy > 0.9
    with pytest.raises(ProbeError, match=r"'10/\d+.png' has label 10, the network 10 classes"):
        oracle(build_network("mnist_cnn"), ["conv1"], "rotation:90", images, resamples=10)


def test_text_order_of_numbers_is_not_their_order(tmp_path: Path) -> None:
    names = {str(n): 0 for n in range(12)}
    images = image_folder(folder(tmp_path / "a", names, 1), 28, 1)
    assert images.labels is not None
    assert images.labels.tolist() == [int(name.split("/")[0]) for name in images.names]
    assert sum("called by (0, 1, 2, 3, 4, ...)" in note for note in images.notes) == 1
    # In the usual order nothing needs to be said.
    images = image_folder(folder(tmp_path / "b", {f"{n:02d}": 0 for n in range(3)}, 1), 28, 1)
    assert not any("labels" in note for note in images.notes)
    # Two names of one value are names.
    images = image_folder(folder(tmp_path / "c", {"1": 0, "01": 0, "2": 0}, 1), 28, 1)
    assert images.classes == ("01", "1", "2")
    assert images.labels is not None
    assert sorted(images.labels.tolist()) == [0, 1, 2]


def test_training_has_one_class_per_folder(tmp_path: Path) -> None:
    folder(tmp_path, {"7": 7, "30": 3}, 6)
    (tmp_path / "9").mkdir()
    examples = load_examples(str(tmp_path), canvas=28, channels=1)
    assert examples.classes == 3
    assert set(examples.batch(range(len(examples))).targets.tolist()) == {0, 2}


def named(names: list[str], labels: list[int]) -> ImageSet:
    pixels = np.zeros((len(labels), 8, 8), np.uint8)
    return array_images(pixels, labels=labels, classes=names)


@pytest.fixture(scope="module")
def resnet() -> Network:
    return build_network("resnet18")


def test_names_of_the_weights_number_the_classes(resnet: Network) -> None:
    labels, said = network_labels(named(["Great_White_Shark", "tench"], [0, 1, 1]), resnet, 1000)
    assert labels is not None
    assert labels.tolist() == [2, 0, 0]
    assert said == ["labels: the 2 classes are numbered as the network's of the same names"]
    # Names of which only some are known are no order.
    labels, said = network_labels(named(["tench", "thing"], [0, 1]), resnet, 1000)
    assert labels is not None
    assert labels.tolist() == [0, 1]
    assert "1 of 2 classes are called as classes of the network, thing not" in said[0]
    labels, said = network_labels(named(["tench", "thing"], [0, 1]), resnet, 10)
    assert "the 2 classes (tench, thing) are numbered from 0 to 1, the network has 10" in said[0]


def test_wordnet_numbers_where_timm_carries_them(resnet: Network) -> None:
    pytest.importorskip("timm")
    labels, said = network_labels(named(["n01440764", "n02979186", "n03888257"], [0, 1, 2]),
                                  resnet, 1000)  # fmt: skip
    assert labels is not None
    assert labels.tolist() == [0, 482, 701]  # tench, cassette player, parachute: of Imagenette
    assert len(said) == 1
    other = Network(nn.Identity(), "timm:x", "timm x", 3, (8, 8), (0.0,), (1.0,))
    assert class_names(other, 1000) == []
    assert class_names(nn.Identity(), 1000) == []


def test_what_nobody_can_know_is_doubted(tmp_path: Path) -> None:
    images = image_folder(folder(tmp_path, {"eight": 8, "nine": 9, "seven": 7}), 28, 1)
    result = oracle(build_network("mnist_cnn"), ["conv1"], "rotation:90", images, resamples=10)
    (said,) = [text for text in result.warnings if text.startswith("labels: ")]
    assert said.startswith(
        "labels: the 3 classes (eight, nine, seven) are numbered from 0 to 2, the network has 10;"
    )
    own = Network(nn.Identity(), "n", "", 1, (28, 28), (0.0,), (1.0,))
    assert network_labels(images, own, 3)[1] == [], "as many classes as the network"
    assert network_labels(embedded_digits(), own, 10)[1] == []
    assert (
        network_labels(array_images(np.zeros((3, 8, 8), np.uint8), labels=[0, 1, 5]), own, 10)[1]
        == []
    ), "numbers that were given count"


def test_labels_that_fit_no_better_than_chance_are_doubted(tmp_path: Path) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    network = build_network("mnist_cnn")
    for names, doubted in ((words, True), ([f"digit {i}" for i in range(10)], False)):
        place = folder(tmp_path / names[0], {name: digit for digit, name in enumerate(names)}, 2)
        images = image_folder(place, 28, 1)
        result = oracle(network, ["conv1"], "rotation:180", images, resamples=10)
        said = [text for text in result.warnings if text.startswith("labels: ")]
        assert bool(said) == doubted
        assert all("no more than chance with 10 classes" in text for text in said)
    assert not doubted_labels(3, 10, 10) and doubted_labels(2, 10, 10)
    assert doubted_labels(0, 5, 1000) and not doubted_labels(1, 5, 1000)


def test_plain_names() -> None:
    assert plain_name("African_elephant") == plain_name(" african-Elephant") == "african elephant"
