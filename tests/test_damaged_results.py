"""Damaged and altered results: one line from every command that reads them, or what is left.

The long run, 400 folders with five commands each: `pytest -m slow tests/test_damaged_results.py`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from damaged_results import STRANGE, damage, leaves, replaced
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.errors import ProbeError
from invariance_probe.probing import Options, ProbeConfig, load_oracle, load_result, oracle
from invariance_probe.probing.config import load_images, load_network, run_config
from invariance_probe.reporting.reports.contents import content
from invariance_probe.reporting.reports.runs import as_runs

COMMANDS = ("plot {0} --out figures", "report {0} --no-viewer --out page", "verify {0}",
            "compare {0} whole --out against", "animate {0} --html page.html")  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sub-folders probe and oracle, of few images."""
    folder = tmp_path_factory.mktemp("results")
    config = ProbeConfig(
        layers=("conv1", "conv2"), transforms="rotation:0:90:45", number=24,
        options=Options(resamples=20),
    )  # fmt: skip
    run_config(config).save(folder / "probe")
    network = load_network(config)
    oracle(
        network, config.layers, config.transforms, load_images(config, network),
        options=config.options, config=config.to_dict(),
    ).save(folder / "oracle")  # fmt: skip
    return folder


@pytest.mark.parametrize("seed", range(65))
def test_damaged_results_are_one_line_or_read(seed: int, results: Path, tmp_path: Path) -> None:
    which = ("probe", "probe", "oracle")[seed % 3]
    shutil.copytree(results / which, tmp_path / which)
    what = damage(tmp_path / which, seed)
    try:
        # All sentences and numbers of a page, but not its figures, which take their time.
        loaded = (
            load_oracle(tmp_path / which) if which == "oracle" else load_result(tmp_path / which)
        )
        content(as_runs(loaded))
    except ProbeError as error:
        assert len(str(error)) < 1000 and "\n" not in str(error), what


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        (4, "composition.csv names a transform 'text'"),
        (19, "accuracy.csv has two rows of the same layer, transform, treatment"),
        (39, "accuracy.csv lacks the column accuracy_high"),
    ],
)
def test_tables_that_contradict_themselves_are_damaged(
    seed: int, said: str, results: Path, tmp_path: Path
) -> None:
    which, load = ("oracle", load_oracle) if seed % 4 == 3 else ("probe", load_result)
    shutil.copytree(results / which, tmp_path / "run")
    damage(tmp_path / "run", seed)
    with pytest.raises(ProbeError, match=r"is damaged .*run the probe again") as caught:
        load(tmp_path / "run")  # type: ignore[operator]
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [("level", "text"), ("level", 10**400), ("level", 1.0), ("level", True), ("family", ["a"]),
     ("memory", {"a": 1})],
)  # fmt: skip
@pytest.mark.parametrize(("which", "load"), [("probe", load_result), ("oracle", load_oracle)])
def test_options_of_another_kind_are_damaged(
    option: str, value: object, which: str, load: Any, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / which, tmp_path / "run")
    path = tmp_path / "run" / "provenance.json"
    held = json.loads(path.read_text())
    held["options"][option] = value
    path.write_text(json.dumps(held))
    with pytest.raises(ProbeError, match=rf"is damaged \(options.{option} of provenance.json"):
        load(tmp_path / "run")


@pytest.mark.parametrize("name", ["mean", "std", "fill", "canvas", "source"])
@pytest.mark.parametrize("value", ["text", ["a"], ["0.1"], [None], [float("nan")], 10**400])
def test_texts_where_the_numbers_of_images_stand_are_damage(
    name: str, value: object, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "probe", tmp_path / "run")
    path = tmp_path / "run" / "provenance.json"
    path.write_text(json.dumps(replaced(json.loads(path.read_text()), ("images", name), value)))
    with pytest.raises(ProbeError, match=rf"is damaged \(images.{name} of provenance.json is no"):
        load_result(tmp_path / "run")


PARTS = 40  # of all places and values, of which one is tried in the short run
PROVENANCE = (
    "plot {0} --out figures", "report {0} --no-viewer --out page", "verify {0} --images 1",
    "compare {0} whole --out against --no-figures", "animate {0} --html page.html",
    "probe --config {0} --no-figures --out again", "probe --config {0} --trust --out again",
)  # fmt: skip


@pytest.mark.parametrize(
    "share", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 20))]
)
@pytest.mark.parametrize("which", ["probe", "oracle"])
def test_every_value_of_the_provenance_may_be_any_other(
    which: str, share: int, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / which, tmp_path / "run")
    path, load = (
        tmp_path / "run" / "provenance.json",
        load_oracle if which == "oracle" else load_result,
    )
    held = json.loads(path.read_text())
    pairs = [(place, value) for place in leaves(held) for value in STRANGE]
    random.Random(which).shuffle(pairs)
    for place, value in pairs[share::PARTS]:
        path.write_text(json.dumps(replaced(held, place, value)))
        start = time.process_time()
        try:
            content(as_runs(load(tmp_path / "run")))  # type: ignore[operator]
        except ProbeError as error:
            assert len(str(error)) < 1000 and "\n" not in str(error), (place, value)
        except Exception as error:
            raise AssertionError(f"{place} is {str(value)[:40]!r}: {error!r}") from error
        assert time.process_time() - start < 20, (place, value)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(60))
def test_commands_on_a_provenance_with_another_value(
    share: int, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from command_lines import ended  # which needs a POSIX system

    monkeypatch.chdir(tmp_path)
    shutil.copytree(results / "probe", "whole")
    shutil.copytree(results / "probe", "run")
    held = json.loads(Path("run/provenance.json").read_text())
    triples = [(p, v, line) for p in leaves(held) for v in STRANGE for line in PROVENANCE]
    random.Random(0).shuffle(triples)
    for place, value, line in triples[share::60][:12]:
        Path("run/provenance.json").write_text(json.dumps(replaced(held, place, value)))
        for made in ("figures", "page", "against", "again", "again.unfinished"):
            shutil.rmtree(made, ignore_errors=True)
        one = ended([*line.format("run").split()])
        assert not one.wrong or one.code == 1, f"{place} is {str(value)[:40]!r}: {one}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["summary.csv", "per_image.npz", "hash.json", "provenance.json"])
def test_pipes_are_not_waited_for(name: str, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "probe", tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    for line in ("plot {0}", "report {0} --no-viewer --out page", "probe --config {0} --out again"):
        if ("config" in line) != (name == "provenance.json"):
            continue
        done = CliRunner().invoke(cli.app, line.format(tmp_path / "run").split())
        assert done.exit_code == 2 and "is no file" in " ".join(done.stderr.split()), done.output


@pytest.mark.parametrize("name", ["summary", "ledger"])
def test_a_transformation_described_in_two_ways_is_damaged(
    name: str, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results / "probe", tmp_path / "run")
    path = tmp_path / "run" / f"{name}.csv"
    table = pd.read_csv(path)
    table.loc[table["transform"].eq("rotation:90").idxmax(), "parameter"] = 45.0
    table.to_csv(path, index=False, lineterminator="\n")
    with pytest.raises(ProbeError, match=r"is damaged .*'rotation:90' is described in two ways"):
        load_result(tmp_path / "run")


def test_a_replay_of_other_transformations_is_none(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "probe", tmp_path / "run")
    path = tmp_path / "run" / "provenance.json"
    held = json.loads(path.read_text())
    held["config"]["transforms"] = "rotation:-180"
    path.write_text(json.dumps(held))
    done = CliRunner().invoke(cli.app, ["verify", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "other transformations than those that were measured" in " ".join(done.output.split())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400))
def test_every_command_that_reads_results(
    seed: int, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(results / "probe", "whole")
    shutil.copytree(results / ("oracle" if seed % 4 == 3 else "probe"), "run")
    what = damage(Path("run"), seed)
    for line in COMMANDS:
        start = time.process_time()  # a busy machine stretches the clock of the wall
        done = CliRunner().invoke(cli.app, line.format("run").split())
        ended = done.exception is None or isinstance(done.exception, SystemExit)
        assert ended, f"{what}, {line}: {done.exception!r}"
        assert done.exit_code in (0, 1, 2), f"{what}, {line}"
        assert time.process_time() - start < 30, f"{what}, {line}"


def altered(results: Path, place: Path) -> Path:
    """A copy of a probe in which somebody has made a residual smaller."""
    shutil.copytree(results / "probe", place)
    table = pd.read_csv(place / "summary.csv")
    table.loc[len(table) - 1, "inverse"] = 0.001
    table.to_csv(place / "summary.csv", index=False, lineterminator="\n")
    return place


def test_altered_numbers_are_called_so(results: Path, tmp_path: Path) -> None:
    whole = load_result(results / "probe")
    assert not [one for one in whole.warnings if one.startswith("files")]
    place = altered(results, tmp_path / "altered")
    said = "files: altered since it was measured (summary.csv)"
    assert said in load_result(place).warnings
    load_result(place).save(tmp_path / "again")  # saving does not make them right
    assert said in load_result(tmp_path / "again").warnings
    done = CliRunner().invoke(
        cli.app, ["report", str(place), "--no-viewer", "--out", str(tmp_path / "p")]
    )
    assert done.exit_code == 0
    assert not as_runs(whole).hash_note
    page = (tmp_path / "p" / "report.html").read_text(encoding="utf-8")
    assert "Altered since it was measured" in page
    assert page.count("of files that are not known to be as they were measured") > 1
    assert "altered since it was measured" in " ".join((done.stdout + done.stderr).split())
    (place / "hash.json").unlink()
    assert any("hash.json is missing" in one for one in load_result(place).warnings)


def test_line_ends_of_another_system_alter_nothing(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "probe", tmp_path / "run")
    for path in (tmp_path / "run").glob("*.csv"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_result(tmp_path / "run").equals(load_result(results / "probe"))


def test_readers_beside_a_run_that_replaces_see_one_result(results: Path, tmp_path: Path) -> None:
    first = load_result(results / "probe")
    second = run_config(
        ProbeConfig(
            layers=("conv1", "conv2"), transforms="rotation:0:90:45", number=20,
            options=Options(resamples=20),
        )
    )  # fmt: skip
    place, stop = tmp_path / "run", threading.Event()
    first.save(place)

    def replace() -> None:
        while not stop.is_set():
            for one in (second, first):
                one.save(place, overwrite=True)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        hashes = {load_result(place).content_hash for _ in range(20)}
    finally:
        stop.set()
        writer.join()
    assert hashes <= {first.content_hash, second.content_hash}
    assert json.loads((place / "hash.json").read_text())["content_hash"] in hashes | {
        first.content_hash, second.content_hash,
    }  # fmt: skip
