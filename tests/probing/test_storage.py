"""A result's folder appears whole or not at all, and never at the cost of another."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scenes import noise
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation
from invariance_probe.probing import Result, load_result, probe
from invariance_probe.running import exchange
from invariance_probe.running.claims import claimed
from invariance_probe.running.folders import added_files, check_free, whole_folder
from invariance_probe.running.storage import TABLES


def measured(seed: int) -> Result:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    return probe(network, ["0", "1"], [rotation(30)], noise(6, 12, 10, seed=seed), resamples=20)


@pytest.fixture(scope="module")
def result() -> Result:
    return measured(0)


@pytest.fixture(scope="module")
def other() -> Result:
    return measured(1)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def no_space(*_args: object, **_kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


FAILURES = {
    "to_csv": (pd.DataFrame, "to_csv"),
    "savez": (np, "savez_compressed"),
    "write_text": (Path, "write_text"),
    "rename": (Path, "rename"),
    "mkdir": (Path, "mkdir"),
}


def test_the_folder_holds_csv_npz_and_json(result, tmp_path):
    folder = result.save(tmp_path / "deep" / "er")
    assert folder == tmp_path / "deep" / "er"
    expected = {f"{name}.csv" for name in TABLES}
    expected |= {"per_image.npz", "provenance.json", "hash.json"}
    assert set(contents(folder)) == expected
    assert [path.name for path in folder.parent.iterdir()] == ["er"]
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777
    assert json.loads((folder / "provenance.json").read_text())["options"]
    assert (folder / "residuals.csv").read_text().startswith("layer,transform,kind,parameter")


@pytest.mark.parametrize("where", FAILURES)
def test_a_full_disk_leaves_nothing(result, tmp_path, monkeypatch, where):
    with monkeypatch.context() as patch:
        patch.setattr(*FAILURES[where], no_space)
        with pytest.raises(ProbeError) as caught:
            result.save(tmp_path / "new" / "out")
    assert str(caught.value) == (
        f"cannot write the result to {tmp_path / 'new' / 'out'}: No space left on device; "
        "free some space or name another folder"
    )
    assert list(tmp_path.iterdir()) == []
    assert load_result(result.save(tmp_path / "new" / "out")).equals(result)


@pytest.mark.parametrize("where", FAILURES)
def test_a_full_disk_keeps_the_older_result(result, other, tmp_path, monkeypatch, where):
    folder = result.save(tmp_path / "out")
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr(*FAILURES[where], no_space)
        with pytest.raises(ProbeError, match="No space left on device"):
            other.save(folder, overwrite=True)
    assert contents(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def renaming(monkeypatch: pytest.MonkeyPatch, fails: set[int], error: BaseException) -> None:
    """Path.rename whose calls with these numbers fail."""
    real, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) in fails:
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.fixture
def no_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot exchange two folders in one step."""
    monkeypatch.setattr(exchange, "swapped", lambda one, other: False)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.usefixtures("no_swap")
def test_a_failed_exchange_puts_the_older_result_back(
    result, other, tmp_path, monkeypatch, call, error
):
    folder = result.save(tmp_path / "out")
    with monkeypatch.context() as patch:
        renaming(patch, {call}, error)
        with pytest.raises(ProbeError if isinstance(error, OSError) else KeyboardInterrupt):
            other.save(folder, overwrite=True)
    assert load_result(folder).equals(result)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("no_swap")
def test_an_older_result_that_cannot_be_put_back_is_kept_and_named(
    result, other, tmp_path, monkeypatch
):
    folder = result.save(tmp_path / "out")
    with monkeypatch.context() as patch:
        renaming(patch, {3, 4}, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(ProbeError, match="the older result is now in") as caught:
            other.save(folder, overwrite=True)
    (holder,) = tmp_path.iterdir()
    assert "old" in [path.name for path in holder.iterdir()]
    assert str(holder / "old") in str(caught.value)
    assert load_result(holder / "old").equals(result)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
def test_whatever_stops_the_writing_leaves_nothing(tmp_path, error):
    with (
        pytest.raises(error),
        whole_folder(tmp_path / "a" / "b", overwrite=False) as partial,
    ):
        (partial / "half.csv").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_overwrite_replaces_the_result(result, other, tmp_path):
    folder = result.save(tmp_path / "out")
    with pytest.raises(ProbeError) as caught:
        other.save(folder)
    assert str(caught.value) == (
        f"{folder} already holds a result, which is kept; name another folder, or replace it "
        "with --overwrite"
    )
    assert load_result(folder).equals(result)
    other.save(folder, overwrite=True)
    assert load_result(folder).equals(other)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_result_with_figures_is_replaced_whole(result, other, tmp_path):
    folder = result.save(tmp_path / "out")
    with added_files(folder / "figures", folder) as drawn:
        (drawn / "curves.svg").write_text("<svg/>")
    other.save(folder, overwrite=True)
    assert not (folder / "figures").exists()


def test_an_empty_folder_is_filled(result, tmp_path):
    (tmp_path / "out").mkdir()
    assert load_result(result.save(tmp_path / "out")).equals(result)


def test_a_link_to_a_folder_stays_a_link(result, other, tmp_path):
    folder, link = result.save(tmp_path / "out"), tmp_path / "link"
    link.symlink_to(folder)
    other.save(link, overwrite=True)
    assert link.is_symlink() and load_result(folder).equals(other)


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_left_alone(result, tmp_path, overwrite):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("years of work")
    with pytest.raises(ProbeError) as caught:
        result.save(folder, overwrite=overwrite)
    assert str(caught.value) == (
        f"{folder} holds files that are no result (chapter.tex, ...) and is left alone; "
        "name another folder"
    )
    assert contents(folder) == {"chapter.tex": b"years of work"}


@pytest.mark.parametrize("name", ["notes.txt", "figures/raw.csv", "figures/mine.svg", "figures"])
def test_a_result_with_foreign_files_is_left_alone(result, other, tmp_path, name):
    folder = result.save(tmp_path / "out")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    with pytest.raises(ProbeError, match="holds files that are no result"):
        other.save(folder, overwrite=True)
    assert (folder / name).read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_folder(result, tmp_path, overwrite):
    file = tmp_path / "out"
    file.write_text("mine")
    with pytest.raises(ProbeError) as caught:
        result.save(file, overwrite=overwrite)
    assert str(caught.value) == f"{file} is a file; name a folder for the result"
    assert file.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("invariance_probe.running.folders.os.access", lambda *_: False)
    with pytest.raises(ProbeError) as caught:
        check_free(tmp_path / "out", overwrite=False)
    assert str(caught.value) == (f"cannot write to {tmp_path}; name another folder for the result")


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match=r"cannot write to .*file; name another folder"):
        check_free(tmp_path / "file" / "out", overwrite=False)


@pytest.mark.parametrize("name", [*(f"{table}.csv" for table in TABLES), "per_image.npz"])
def test_a_missing_part_is_named(result, tmp_path, name):
    folder = result.save(tmp_path / "out")
    (folder / name).unlink()
    with pytest.raises(ProbeError) as caught:
        load_result(folder)
    assert str(caught.value) == f"the result in {folder} lacks {name}; run the probe again"


@pytest.mark.parametrize("name", ["hash.json", "residuals.csv", "per_image.npz"])
def test_a_part_that_the_system_refuses_is_not_called_damaged(result, tmp_path, monkeypatch, name):
    folder, real = result.save(tmp_path / "out"), Path.read_bytes

    def read(self: Path) -> bytes:
        if self.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    with pytest.raises(ProbeError) as caught:
        load_result(folder)
    assert str(caught.value) == (
        f"cannot read '{folder / name}' (Permission denied); put that right, or name another place"
    )


def test_a_codec_that_python_lacks_is_no_damage(result, tmp_path, monkeypatch):
    def lacking(*_args: object, **_options: object) -> None:
        raise LookupError("unknown encoding: cp437")

    folder = result.save(tmp_path / "out")
    monkeypatch.setattr("zipfile.ZipFile", lacking)
    with pytest.raises(ProbeError, match=r"cannot be read \(unknown encoding: cp437\)"):
        load_result(folder)


def test_names_that_spreadsheets_would_compute_are_not_taken_over(result, tmp_path):
    layers = result.layers.replace({"layer": {"1": "=1+1"}})
    replace(result, layers=layers).save(tmp_path / "out")
    with pytest.raises(ProbeError, match=r"layers.csv, column layer: .* as a formula"):
        load_result(tmp_path / "out")


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_a_result_is_refused(tmp_path, there):
    folder = tmp_path / "out"
    if there:
        folder.mkdir()
    with pytest.raises(ProbeError) as caught:
        load_result(folder)
    assert str(caught.value) == (
        f"{folder} holds no result (no provenance.json); run a probe with --out first"
    )


def spoilt(data: bytes, how: str) -> bytes:
    if how == "empty":
        return b""
    if how == "cut":
        return data[: len(data) // 2]
    return bytes(np.random.default_rng(0).integers(0, 256, len(data), dtype=np.uint8))


@pytest.mark.parametrize("how", ["empty", "cut", "noise"])
@pytest.mark.parametrize("name", ["residuals.csv", "per_image.npz", "provenance.json"])
def test_a_damaged_part_is_told(result, tmp_path, name, how):
    folder = result.save(tmp_path / "out")
    (folder / name).write_bytes(spoilt((folder / name).read_bytes(), how))
    with pytest.raises(ProbeError) as caught:
        load_result(folder)
    assert str(caught.value).startswith(f"the result in {folder} is damaged (")
    assert str(caught.value).endswith("); run the probe again")
    assert "\n" not in str(caught.value)


def test_every_flipped_stretch_of_the_arrays_is_noticed(result, tmp_path):
    folder = result.save(tmp_path / "out")
    whole = (folder / "per_image.npz").read_bytes()
    for place in range(0, len(whole) - 8, len(whole) // 25):
        damaged = whole[:place] + bytes(b ^ 0xFF for b in whole[place : place + 8])
        (folder / "per_image.npz").write_bytes(damaged + whole[place + 8 :])
        try:
            loaded = load_result(folder)  # a header's unused bytes
            assert np.array_equal(loaded.errors, result.errors, equal_nan=True)
            assert loaded.axes == result.axes
        except ProbeError as error:
            assert "run the probe again" in str(error)


@pytest.mark.parametrize("lost", ["errors", "variance", "axis_image", "axis_rung"])
def test_arrays_that_lack_a_part_are_refused(result, tmp_path, lost):
    folder = result.save(tmp_path / "out")
    with np.load(folder / "per_image.npz") as stored:
        kept = {name: stored[name] for name in stored.files if name != lost}
    np.savez_compressed(folder / "per_image.npz", **kept)
    with pytest.raises(ProbeError, match=rf"per_image\.npz lacks {lost}\); run the probe again"):
        load_result(folder)


def test_pickled_arrays_are_not_opened(result, tmp_path):
    folder = result.save(tmp_path / "out")
    np.savez(folder / "per_image.npz", errors=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ProbeError, match=r"is damaged \(.*allow_pickle"):
        load_result(folder)


def test_errors_of_reading_inside_the_block_stay_what_they_are(tmp_path):
    with (
        pytest.raises(ProbeError, match="photo\\.png cannot be decoded"),
        whole_folder(tmp_path / "out", overwrite=False),
    ):
        try:
            raise OSError("truncated")
        except OSError as error:
            raise ProbeError("photo.png cannot be decoded") from error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_inside_another_folder_names_the_outer_one(result, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", no_space)
        with (
            pytest.raises(ProbeError) as caught,
            whole_folder(tmp_path / "out", overwrite=False) as partial,
        ):
            result.save(partial / "rotations")
    assert str(caught.value).startswith(f"cannot write the result to {tmp_path / 'out'}: No space")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_results_in_sub_folders_are_replaced_as_one(result, tmp_path, overwrite):
    parts = ("rotations", "scalings")
    for part in parts:
        result.save(tmp_path / "out" / part)
    if overwrite:
        check_free(tmp_path / "out", overwrite=True, parts=parts)
    else:
        with pytest.raises(ProbeError, match="already holds a result"):
            check_free(tmp_path / "out", overwrite=False, parts=parts)
    with pytest.raises(ProbeError, match=r"no result \(rotations, \.\.\.\)"):
        check_free(tmp_path / "out", overwrite=overwrite, parts=parts[1:])


def test_ctrl_c_while_a_place_is_taken_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("invariance_probe.running.claims._cleaned", stop)
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "deep" / "out"):
        pass
    assert not list(tmp_path.iterdir())
