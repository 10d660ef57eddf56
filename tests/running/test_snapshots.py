"""Files appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from invariance_probe import ProbeError
from invariance_probe.running.files import write_atomically
from invariance_probe.running.snapshots import save_tensors


def test_tensors_and_views_come_back(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    save_tensors(tmp_path / "sub" / "a.safetensors", {"x": base, "t": base.T}, {"k": "v"})
    back = load_file(tmp_path / "sub" / "a.safetensors")
    assert torch.equal(back["x"], base)
    assert torch.equal(back["t"], base.T)


def test_same_content_same_bytes(tmp_path: Path) -> None:
    metadata = {name: f"{name} ü" for name in "gfedcba"}
    tensors = {"w": torch.arange(4.0).reshape(2, 2), "n": torch.tensor(3)}
    for number in range(4):
        path = tmp_path / f"{number}.safetensors"
        save_tensors(path, tensors, metadata if number % 2 else dict(sorted(metadata.items())))
        with safe_open(path, framework="pt") as stream:
            assert stream.metadata() == metadata
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert torch.equal(load_file(path)["w"], tensors["w"])


def test_channels_last_is_written_as_usual(tmp_path: Path) -> None:
    value = torch.arange(48.0).reshape(1, 3, 4, 4)
    save_tensors(tmp_path / "a", {"x": value}, {})
    save_tensors(tmp_path / "b", {"x": value.to(memory_format=torch.channels_last)}, {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ProbeError, match=r"cannot write '.*a' \(No space left on device\); give"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match="cannot write"):
        write_atomically(tmp_path / "file" / "a", b"x")
