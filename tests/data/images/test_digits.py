"""The digits of the package are the MNIST test set, bit for bit."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from invariance_probe import ProbeError
from invariance_probe.data import embedded_digits
from invariance_probe.data.images.digits import FILES, IMAGES, LABELS
from invariance_probe.data.pack import PUBLISHED_MD5, main, pack


@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_files_are_the_published_ones(name: str) -> None:
    content = gzip.decompress((FILES / name).read_bytes())
    assert hashlib.md5(content).hexdigest() == PUBLISHED_MD5[name.removesuffix(".gz")]


def test_size_in_the_package_and_origin() -> None:
    assert sum(path.stat().st_size for path in FILES.iterdir()) <= 3_000_000
    origin = (FILES / "ORIGIN.txt").read_text()
    assert "LeCun" in origin
    assert "Creative Commons" in origin


def test_the_set() -> None:
    digits = embedded_digits()
    assert len(digits) == 10_000
    assert digits.source_size == digits.canvas == (28, 28)
    assert digits.background == (0.0,)
    assert digits.channels == 1
    assert digits.labels is not None
    # Class counts of the MNIST test set, as published.
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(digits.labels).tolist() == counts
    image = digits.batch([0])
    assert image.shape == (1, 1, 28, 28)
    assert image.dtype == torch.float32
    assert float(image.max()) <= 1
    assert not digits.covers_rotation
    assert "filled with 0" in digits.notes[0]


def test_number_and_draw() -> None:
    assert embedded_digits(3).names == ("t10k-00000", "t10k-00001", "t10k-00002")
    drawn = embedded_digits(20, seed=1)
    assert drawn.names[:10] == embedded_digits(10, seed=1).names
    assert drawn.names != embedded_digits(20, seed=2).names
    with pytest.raises(ProbeError, match="10001 images asked for, 10000 there"):
        embedded_digits(10_001)


def test_for_a_colour_network() -> None:
    digits = embedded_digits(2, canvas=56, channels=3)
    batch = digits.batch([0, 1])
    assert batch.shape == (2, 3, 56, 56)
    assert torch.equal(batch[:, 0], batch[:, 2])
    assert digits.background == (0.0, 0.0, 0.0)
    assert any("enlarged" in note for note in digits.notes)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param((LABELS,), id="labels"),
        pytest.param((IMAGES, LABELS), id="all", marks=pytest.mark.slow),
    ],
)
def test_pack_rebuilds_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr("invariance_probe.data.pack.PACKED", names)
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in names:
        (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress((FILES / name).read_bytes()))
    first = [path.read_bytes() for path in pack(tmp_path / "root", tmp_path / "a")]
    second = [path.read_bytes() for path in pack(FILES, tmp_path / "b")]
    assert first == second
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(names)


def test_pack_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open(tmp_path / IMAGES, "wb") as stream:
        stream.write(b"something else")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is not the original t10k-images-idx3-ubyte" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([str(tmp_path / "none")]) == 2
    assert "MNIST is not under" in capsys.readouterr().err
