"""Whatever holds images is taken as an image set: arrays, paths, torch data sets."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from invariance_probe import Options, oracle, probe
from invariance_probe.data import array_images, as_images
from invariance_probe.errors import ProbeError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)


class Pictures(Dataset[Any]):
    """Pillow images with their labels."""

    def __init__(self, mode: str = "RGB") -> None:
        self.mode = mode

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> Any:
        return Image.fromarray(PIXELS[index].transpose(1, 2, 0)).convert(self.mode), index % 2


def test_a_data_set_its_loader_and_its_array_are_the_same_images() -> None:
    expected = array_images(PIXELS)
    tensors = TensorDataset(torch.from_numpy(PIXELS), torch.arange(6) % 2)
    for given in (Pictures(), tensors, DataLoader(tensors, batch_size=4, shuffle=True)):
        found = as_images(given)
        assert torch.equal(found.batch(range(6)), expected.batch(range(6)))
        assert list(found.labels) == [0, 1, 0, 1, 0, 1]
    assert as_images(expected) is expected and as_images(PIXELS).labels is None
    grey = as_images(Pictures("L")).batch([0])
    assert grey.shape == (1, 1, 8, 9)


def test_a_path_is_opened_at_the_size_that_the_network_takes(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS)
    assert as_images(tmp_path / "images.npy", (5, 5), 1).batch([0]).shape[1] == 1
    with pytest.raises(ProbeError, match=r"does not say what size it takes; give open_images"):
        as_images(str(tmp_path / "images.npy"))


def test_what_is_no_set_of_images_is_refused() -> None:
    with pytest.raises(ProbeError, match=r'image 0 .* of mode P; convert it to "RGB"'):
        as_images(Pictures("P"))
    mixed: Any = [torch.zeros(1, 4, 4), torch.zeros(1, 5, 4)]
    with pytest.raises(
        ProbeError, match=r"image 1 of the data set is float32 of shape \(1, 5, 4\)"
    ):
        as_images(mixed)
    with pytest.raises(ProbeError, match="is empty"):
        as_images(TensorDataset(torch.zeros(0, 1, 4, 4)))
    normalised = TensorDataset(torch.full((4, 1, 4, 4), -2.0))
    with pytest.raises(ProbeError, match=r"between|\[0, 1\]"):
        as_images(normalised)


def test_signatures_show_every_option_once() -> None:
    for function in (probe, oracle):
        shown = inspect.signature(function).parameters
        assert shown["seed"].default == 0 and shown["erode"].default == Options().erode
        assert "changes" not in shown and "layers" in shown
