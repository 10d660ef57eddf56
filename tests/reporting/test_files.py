"""Figure files: all that apply, whole or not at all, the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from invariance_probe.errors import ProbeError
from invariance_probe.probing import Result
from invariance_probe.reporting import save_figures

Make = Callable[..., Result]


def test_every_figure_that_applies_is_written(make_result: Make, tmp_path: Path) -> None:
    made = make_result("rotation:-90:90:45 scaling:0.5:2:3", ["conv1"])
    told: list[str] = []
    paths = save_figures(made, tmp_path / "new" / "figures", progress=told.append)
    names = ["ladder", "gain", "spread", "residuals_rotation", "residuals_scaling",
             "landscape_angle", "landscape_scale"]  # fmt: skip
    assert told == names
    assert [path.name for path in paths] == [f"{n}.{s}" for n in names for s in ("svg", "png")]
    assert sorted(path.name for path in (tmp_path / "new" / "figures").iterdir()) == sorted(
        path.name for path in paths
    )
    assert paths[0].read_bytes().startswith(b"<?xml")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("transforms", "names"),
    [("identity", {"residuals_identity"}),
     ("shear:0.1 rotation:30",
      {"ladder", "gain", "spread", "residuals_shear", "residuals_rotation"}),
     ("scaling:1,2 scaling:2", {"ladder", "gain", "spread", "residuals_scaling"})],
)  # fmt: skip
def test_only_figures_that_apply_are_written(
    make_result: Make, tmp_path: Path, transforms: str, names: set[str]
) -> None:
    paths = save_figures(make_result(transforms, ["conv1"]), tmp_path, ["svg"])
    assert {path.stem for path in paths} == names


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_same_result_gives_the_same_files(
    make_result: Make, tmp_path: Path, suffix: str
) -> None:
    made = make_result("rotation:30", ["conv1"])
    first = [path.read_bytes() for path in save_figures(made, tmp_path / "a", [suffix])]
    again = [path.read_bytes() for path in save_figures(made, tmp_path / "b", [suffix])]
    assert first == again


def test_unknown_formats_are_refused_before_any_work(make_result: Make, tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="unknown figure format 'gif'; use svg, png, pdf"):
        save_figures(make_result("rotation:30"), tmp_path / "figures", ["svg", "gif"])
    assert not (tmp_path / "figures").exists()


def test_a_full_disk_leaves_no_half_file(
    make_result: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ProbeError, match=r"cannot write the figure .*No space left on device"):
        save_figures(make_result("rotation:30", ["conv1"]), tmp_path, ["svg"])
    assert list(tmp_path.iterdir()) == []
