"""`--json`: one JSON object on stdout, with the numbers of the tables that it stands for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from invariance_probe import cli, load_result

PROBE = (
    "--number", "12", "--transforms", "rotation:0:90:90", "--layers", "conv1,relu1",
    "--no-figures", "--resamples", "20",
)  # fmt: skip


def printed(*words: object, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(cli.app, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("json") / "probe"
    return folder, printed("probe", "--out", folder, *PROBE)


def test_a_probe_says_what_its_tables_hold(probed: tuple[Path, dict[str, Any]]) -> None:
    folder, said = probed
    stored = load_result(folder)
    assert said["folder"] == str(folder)
    assert said["warnings"] == [str(one) for one in stored.warnings]
    for name in ("layers", "summary", "ledger"):
        expected = getattr(stored, name)
        pd.testing.assert_frame_equal(
            pd.DataFrame(said[name])[list(expected)], expected, check_dtype=False, rtol=1e-12
        )


def test_numbers_that_are_none_are_null(probed: tuple[Path, dict[str, Any]]) -> None:
    folder, said = probed
    undefined = load_result(folder).summary["gain"].isna()  # under the identity
    assert undefined.any() and not undefined.all()
    assert np.array_equal([row["gain"] is None for row in said["summary"]], undefined)


def test_layers_say_where_cells_sit() -> None:
    first = printed("layers")["layers"][0]
    assert (first["layer"], first["map"], first["jump"]) == ("conv1", [20, 20], [1.0, 1.0])
    assert first["default"] and first["error"] == 0


def test_a_check_says_what_holds_and_fails_with_1(
    probed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = probed
    assert printed("verify", folder, "--images", 2)["holds"]
    other = tmp_path / "altered"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    table = pd.read_csv(other / "summary.csv")
    table["inverse"] *= 1.01
    table.to_csv(other / "summary.csv", index=False)
    said = printed("verify", other, "--images", 2, code=1)
    assert not said["holds"]
    assert any(not one["holds"] for one in said["results"][str(other)])


def test_a_comparison_gives_its_table(probed: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = probed
    printed("probe", "--out", tmp_path / "b", *PROBE, "--seed", 0, "--weighting", "raw")
    said = printed("compare", folder, tmp_path / "b", "--out", tmp_path / "c", "--no-figures")
    assert said["baseline"] == "probe"
    assert {row["layer"] for row in said["table"]} == {"conv1", "relu1"}


def test_bad_input_is_one_line_as_ever() -> None:
    done = CliRunner().invoke(cli.app, ["layers", "--network", "nobody", "--json"])
    assert done.exit_code == 2 and not done.stdout


def test_the_next_command_prints_tables_again() -> None:
    printed("layers")
    assert CliRunner().invoke(cli.app, ["layers"]).stdout.startswith("mnist_cnn on 28x28 px")
