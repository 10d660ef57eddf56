"""Pipes where a file should be: nobody waits for what will never be written into them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from invariance_probe.data.decoding.idx import read_idx
from invariance_probe.data.examples.plankton import _hash, _picture
from invariance_probe.data.svhn.decoding import _read
from invariance_probe.data.svhn.parts import Archive, Folder
from invariance_probe.errors import ProbeError
from invariance_probe.running.files import read_bytes
from invariance_probe.running.processes import Group
from invariance_probe.running.resume import Unfinished
from invariance_probe.running.snapshots import read_progress

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")


def state_of(path: Path) -> object:
    keeper = Unfinished(path.parent, Group())
    path.rename(keeper._file(0))
    return keeper._read()


READERS: dict[str, Callable[[Path], object]] = {
    "state": state_of,
    "progress": lambda path: read_progress(path, {}),
    "idx": read_idx,
    "picture": _picture,
    "pictures": lambda path: _hash(path.parent, [(path.name, 0)], ["a"], ""),
    "numbers": lambda path: Folder(path.parent)._read(path.name),
    "bytes": read_bytes,
}


@pytest.mark.parametrize("reader", READERS)
def test_pipes_and_devices_are_refused(reader: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProbeError, match="is no file"):
        READERS[reader](tmp_path / "pipe")


def test_a_cache_that_is_a_pipe_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert _read(tmp_path / "pipe", None) is None


def test_what_is_no_archive_is_refused_before_all_of_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "train.tar.gz").open("wb") as made:
        made.truncate(1 << 40)
    with pytest.raises(ProbeError, match=r"train\.tar\.gz' is not compressed with gzip"):
        Archive(tmp_path / "train.tar.gz").key()


def test_files_beyond_any_of_ours_are_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "state.json").open("wb") as made:
        made.truncate(1 << 40)
    with pytest.raises(ProbeError, match="is far too large"):
        read_bytes(tmp_path / "state.json")
    (tmp_path / "state.json").write_bytes(np.arange(9).tobytes())
    assert np.frombuffer(read_bytes(tmp_path / "state.json"), int).tolist() == list(range(9))
