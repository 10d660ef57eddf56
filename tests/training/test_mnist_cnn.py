"""The checkpoint of the package, and the command that made it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import invariance_probe.networks.mnist_cnn as classifiers
from invariance_probe import ProbeError
from invariance_probe.data import embedded_digits
from invariance_probe.training import Recipe, evaluate, mnist_cnn

WEIGHTS = Path(classifiers.__file__).parent / "files" / "mnist_cnn.safetensors"


@pytest.fixture(scope="module")
def network() -> classifiers.MnistCNN:
    net = classifiers.MnistCNN()
    net.load_state_dict(load_file(WEIGHTS))
    return net


def test_accuracy_on_two_thousand_digits(network: classifiers.MnistCNN) -> None:
    digits = embedded_digits(2000, seed=0)
    result = evaluate(network, digits, mean=mnist_cnn.MEAN, std=mnist_cnn.STD)
    assert result.accuracy >= 0.985


@pytest.mark.slow
def test_accuracy_is_the_stated_one(network: classifiers.MnistCNN) -> None:
    result = evaluate(network, embedded_digits(), mean=mnist_cnn.MEAN, std=mnist_cnn.STD)
    stated = json.loads(WEIGHTS.with_suffix(".json").read_text())["test_accuracy"]
    # Another processor may tip a digit or two that lie on the edge.
    assert result.accuracy == pytest.approx(stated, abs=3e-4)


def test_provenance() -> None:
    provenance = json.loads(WEIGHTS.with_suffix(".json").read_text())
    assert provenance["test_accuracy"] >= 0.988
    assert provenance["test_images"] == 10_000
    assert provenance["parameters"] == 208_586
    assert provenance["data_md5"] == mnist_cnn.PUBLISHED_MD5
    with safe_open(WEIGHTS, framework="pt") as stream:
        metadata = stream.metadata()
    assert metadata["architecture"] == "mnist_cnn"
    for key, value in metadata.items():
        stated = provenance[key]
        assert (value if isinstance(stated, str) else json.loads(value)) == stated
    assert Recipe(**provenance["recipe"]) == Recipe()  # the command's defaults made it


def small_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few digits in the four files, with their own checksums taken as the published ones."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digits = embedded_digits(60)
    assert digits.labels is not None
    pixels = (digits.batch(range(60)) * 255).round().to(torch.uint8).numpy()[:, 0]
    for part, chosen in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        for kind, array in (("images-idx3", pixels), ("labels-idx1", digits.labels)):
            some = array[chosen].astype(np.uint8)
            head = bytes([0, 0, 8, some.ndim]) + struct.pack(f">{some.ndim}I", *some.shape)
            (raw / f"{part}-{kind}-ubyte").write_bytes(head + some.tobytes())
    monkeypatch.setattr(mnist_cnn, "checked_bytes", lambda path: path.read_bytes())
    return root


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = small_root(tmp_path / "root", monkeypatch)
    command = ["--data-root", str(root), "--epochs", "2", "--batch-size", "20"]
    files = [tmp_path / "out" / name for name in ("a.safetensors", "b.safetensors")]
    assert mnist_cnn.main([*command, "--out", str(files[0])]) == 0
    assert mnist_cnn.main([*command, "--resume", "--out", str(files[1])]) == 0
    first, second = map(load_file, files)
    assert all(torch.equal(first[name], second[name]) for name in first)
    classifiers.MnistCNN().load_state_dict(first)
    names = {"a.safetensors", "a.json", "b.safetensors", "b.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    provenance = json.loads(files[0].with_suffix(".json").read_text())
    assert provenance["training_images"] == 40
    assert len(provenance["history"]) == 2
    assert "--epochs 2 --batch-size 20" in provenance["command"]
    out = capsys.readouterr().out
    assert "epoch   2" in out
    assert "test accuracy" in out


def test_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    for arguments, message in (
        (["--data-root", str(tmp_path), "--out", str(out)], "MNIST is not under"),
        (["--data-root", str(tmp_path), "--out", str(tmp_path / "a.pt")], "must end in .safe"),
        (["--data-root", ".", "--out", str(out), "--epochs", "0"], "of at least 1"),
    ):
        assert mnist_cnn.main(arguments) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_root(tmp_path, monkeypatch)
    monkeypatch.undo()
    with pytest.raises(ProbeError, match="is not the original train-images-idx3-ubyte"):
        mnist_cnn.train(root, tmp_path / "a.safetensors", Recipe())
