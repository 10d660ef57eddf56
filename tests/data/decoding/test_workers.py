"""Decoding by several threads: values, order and errors do not depend on their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invariance_probe import ProbeError
from invariance_probe.data import image_folder, open_images
from invariance_probe.data.decoding.workers import in_order


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(12):
        rows, columns = rng.integers(40, 60, 2)
        noise = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.{('png', 'jpg')[number % 2]}")
    return tmp_path


def test_the_same_whatever_workers_and_batches(folder: Path) -> None:
    alone = image_folder(folder, canvas=24)
    whole = alone.batch(range(12))
    for workers in (1, 2, 5):
        images = open_images(folder, 24, 3, workers=workers)
        assert images.names == alone.names
        assert images.notes == alone.notes
        assert images.source_size == alone.source_size
        assert images.sha256 == alone.sha256
        for size in (1, 5, 12):
            parts = [images.batch(range(i, min(i + size, 12))) for i in range(0, 12, size)]
            assert torch.equal(torch.cat(parts), whole)
        order = [7, 0, 7, 11, 3]
        assert torch.equal(images.batch(order), whole[order])


def test_the_first_error_is_raised_whatever_the_workers(folder: Path) -> None:
    for name in ("3.jpg", "9.jpg", "10.png"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    said = set()
    for workers in (0, 2, 4):
        with pytest.raises(ProbeError) as caught:
            image_folder(folder, canvas=24, workers=workers).batch(range(12))
        said.add(str(caught.value))
    assert len(said) == 1
    assert "3.jpg" in said.pop()
    kept = [image_folder(folder, canvas=24, workers=n, skip_damaged=True) for n in (0, 3)]
    assert kept[0].names == kept[1].names
    assert len(kept[0]) == 9
    assert kept[0].notes == kept[1].notes


def test_many_items_stay_in_order() -> None:
    assert in_order(str, range(1000), 3) == [str(n) for n in range(1000)]


@pytest.mark.parametrize("workers", [-1, 1000, True, 2.5, "4"])
def test_wrong_numbers(folder: Path, workers: object) -> None:
    with pytest.raises(ProbeError, match=r"workers=.*; give a number of threads from 0 to 256"):
        image_folder(folder, workers=workers)  # type: ignore[arg-type]
