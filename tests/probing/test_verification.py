"""Hashes and verification: what is the same, what was changed, what a replay finds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invariance_probe import ProbeError, load_result
from invariance_probe.probing import Options, ProbeConfig, Result, oracle, run_config
from invariance_probe.probing.config import load_images, load_network
from invariance_probe.probing.verification.verify import Check, holds, verify
from invariance_probe.running.hashes import content_hash

CONFIG = ProbeConfig(
    layers=("conv1", "conv2"), transforms="rotation:90 scaling:1.5", number=20,
    options=Options(resamples=20, batch_size=4),
)  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Result:
    return run_config(CONFIG)


@pytest.fixture
def folder(result: Result, tmp_path: Path) -> Path:
    return result.save(tmp_path / "run")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.what: check for check in checks}


# --- the hash -----------------------------------------------------------------------------------


def test_the_hash_survives_saving_and_loading(result: Result, folder: Path) -> None:
    loaded = load_result(folder)
    assert loaded.equals(result)
    stored = json.loads((folder / "hash.json").read_text(encoding="utf-8"))
    assert loaded.content_hash == result.content_hash == stored["content_hash"]
    assert len(result.content_hash) == 64


def test_saving_twice_gives_the_same_files(result: Result, folder: Path, tmp_path: Path) -> None:
    other = result.save(tmp_path / "other")
    for path in folder.iterdir():
        assert (other / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("config", {"images": "/elsewhere"}),
        ("numerics", {"threads": 99, "dtype": "float32", "sums": "float64", "tf32": False}),
        ("timing", {"seconds": 3.5}),
    ],
)
def test_paths_and_timings_are_not_hashed(result: Result, part: str, change: Any) -> None:
    other = replace(result, provenance={**result.provenance, part: change})
    assert other.content_hash == result.content_hash


def test_every_number_and_setting_is_hashed(result: Result) -> None:
    errors = result.errors.copy()
    errors[0, 0, 0, 0] = np.nextafter(errors[0, 0, 0, 0], np.inf)
    table = result.summary.copy()
    table.loc[0, "recovered"] += 1e-12
    options = dict(result.provenance["options"], seed=7)
    network = dict(result.provenance["network"], state_sha256="0" * 64)
    others = [
        replace(result, errors=errors),
        replace(result, summary=table),
        replace(result, provenance={**result.provenance, "options": options}),
        replace(result, provenance={**result.provenance, "network": network}),
    ]
    hashes = {result.content_hash, *(other.content_hash for other in others)}
    assert len(hashes) == 5


def test_the_order_of_parts_does_not_matter() -> None:
    one = {"a": np.ones(2), "b": np.zeros(3)}
    assert content_hash({}, one, {}) == content_hash({}, dict(reversed(one.items())), {})


# --- verification -------------------------------------------------------------------------------


def test_a_sound_result_holds(folder: Path) -> None:
    checks = by_name(verify(folder, images=3))
    assert set(checks) == {
        "files", "content hash", "tables against sums per image", "replay of a sample",
    }  # fmt: skip
    assert all(check.holds for check in checks.values()), checks
    assert "inverse_permuted" in checks["replay of a sample"].detail


def test_weighted_channels_are_replayed_too(tmp_path: Path) -> None:
    options = replace(CONFIG.options, weighting="channel")
    config = replace(CONFIG, options=options, transforms="rotation:30", layers=("conv2",))
    place = run_config(config).save(tmp_path / "run")
    checks = verify(place, images=4)
    assert all(check.holds for check in checks), checks


def test_a_whole_replay_gives_the_same_hash(folder: Path) -> None:
    check = by_name(verify(folder, full=True))["replay of the whole run"]
    assert check.holds, check.detail


def test_rungs_of_another_recipe_are_left_out_of_a_replay(result: Result, tmp_path: Path) -> None:
    place = result.axes["rung"].index("other_image")
    errors = result.errors.copy()
    errors[:, :, place] = np.roll(errors[:, :, place], 1, axis=-1)
    conventions = {**result.provenance["conventions"]}
    del conventions["recipes"]
    earlier = replace(
        result, errors=errors, provenance={**result.provenance, "conventions": conventions}
    )
    check = by_name(verify(earlier.save(tmp_path / "run"), full=True))["replay of the whole run"]
    assert check.holds
    assert "without best, inverse_linear, other_image, made by another recipe" in check.detail
    changed = replace(result, errors=errors)
    check = by_name(verify(changed.save(tmp_path / "two"), full=True))["replay of the whole run"]
    assert check.holds is False


def test_a_changed_table_is_found(folder: Path) -> None:
    path = folder / "summary.csv"
    assert holds(verify(folder, images=2))
    text = path.read_text(encoding="utf-8").splitlines()
    cells = text[1].split(",")
    cells[text[0].split(",").index("recovered")] = "0.987654"
    path.write_text("\n".join([text[0], ",".join(cells), *text[2:]]) + "\n", encoding="utf-8")
    checks = by_name(verify(folder, images=2))
    assert checks["files"].holds is False and "summary.csv" in checks["files"].detail
    assert checks["content hash"].holds is False
    assert checks["tables against sums per image"].holds is False


def test_numbers_that_were_made_up_together_with_their_hash_fail_the_replay(
    result: Result, tmp_path: Path
) -> None:
    made_up = replace(result, errors=result.errors * 1.01, variance=result.variance * 1.01)
    checks = by_name(verify(made_up.save(tmp_path / "run"), images=3))
    assert checks["files"].holds and checks["content hash"].holds
    assert checks["tables against sums per image"].holds
    assert checks["replay of a sample"].holds is False
    assert "above" in checks["replay of a sample"].detail


def test_other_weights_are_named(result: Result, tmp_path: Path) -> None:
    network = dict(result.provenance["network"], state_sha256="f" * 64)
    other = replace(result, provenance={**result.provenance, "network": network})
    check = by_name(verify(other.save(tmp_path / "run")))["replay of a sample"]
    assert check.holds is False and "other weights" in check.detail


def test_what_cannot_be_checked_is_said(result: Result, tmp_path: Path) -> None:
    bare = replace(result, provenance={**result.provenance, "config": None})
    place = bare.save(tmp_path / "run")
    (place / "hash.json").unlink()
    checks = by_name(verify(place))
    assert checks["files"].holds is None and bare.content_hash in checks["files"].detail
    assert checks["replay of a sample"].holds is None
    assert "no configuration to replay" in checks["replay of a sample"].detail
    assert holds(list(checks.values()))


def test_a_damaged_hash_file_does_not_hold(folder: Path) -> None:
    (folder / "hash.json").write_text("{}", encoding="utf-8")
    assert by_name(verify(folder, images=1))["files"].detail == "hash.json is damaged"


def test_an_oracle_is_checked(tmp_path: Path) -> None:
    config = replace(CONFIG, transforms="rotation:90", layers=("conv2",))
    network = load_network(config)
    place = oracle(
        network, config.layers, config.transforms, load_images(config, network),
        options=config.options, config=config.to_dict(),
    ).save(tmp_path / "oracle")  # fmt: skip
    checks = by_name(verify(place))
    assert checks["tables against sums per image"].holds
    assert checks["replay of a sample"].holds is None
    assert by_name(verify(place, full=True))["replay of the whole run"].holds


def test_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="holds no result"):
        verify(tmp_path)


def test_a_folder_with_its_hashes_may_be_replaced(folder: Path, result: Result) -> None:
    assert result.save(folder, overwrite=True) == folder
    shutil.rmtree(folder)
