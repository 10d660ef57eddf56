"""The command line: what each command writes and says, and how bad input ends."""

from __future__ import annotations

import errno
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import invariance_probe
from invariance_probe import cli, load_result
from invariance_probe.console import reading, tables, talk
from invariance_probe.console.commands import demo as demonstrating
from invariance_probe.networks import LayerInfo, MnistCNN, default_layers
from invariance_probe.running import folders
from invariance_probe.running.exchange import exchange
from invariance_probe.running.schema import Remark
from invariance_probe.running.storage import TABLES

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--transforms", "rotation:90", "--number", "8", "--resamples", "20", "--no-figures"]
QUICK = ["--layers", "conv2", *SMALL]

FACTORIES = """
import torch
from torch import nn

def network(weight=0.1, channels=1):
    conv = nn.Conv2d(channels, 2, 3)
    nn.init.constant_(conv.weight, float(weight))
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten())

def broken():
    raise RuntimeError("no weights today")
"""


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small result, made once."""
    folder = tmp_path_factory.mktemp("saved") / "result"
    done = run("probe", *QUICK, "--out", str(folder))
    assert done.exit_code == 0, done.stderr
    return folder


def run(*args: str) -> Any:
    return CliRunner().invoke(cli.app, list(args), catch_exceptions=False)


def refused(*args: str, out: Path = Path("out")) -> str:
    """The line of a probe that must end with code 2 and leave no trace."""
    before = sorted(Path.cwd().rglob("*"))
    done = run("probe", *args, "--out", str(out))
    lines = done.stderr.strip().splitlines()
    assert done.exit_code == 2, done.output
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in done.output
    assert [p for p in sorted(Path.cwd().rglob("*")) if "__pycache__" not in p.parts] == before
    return str(lines[-1])


def images(folder: Path, number: int = 6, mode: str = "L") -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(number):
        shape = (48, 48) if mode == "L" else (48, 48, 3)
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{mode}{index}.png")
    return folder


# --- what commands do --------------------------------------------------------------------------


def test_version() -> None:
    done = run("--version")
    assert done.exit_code == 0
    assert done.stdout == f"invariance-probe {invariance_probe.__version__}\n"


@pytest.mark.parametrize("command", ["demo", "probe", "layers", "plot"])
def test_help_fits_a_terminal(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout


def test_the_help_of_probe_has_every_option_in_one_group() -> None:
    told = [name for names in reading.Grouped.groups.values() for name in names]
    asked = [*inspect.signature(cli.probe).parameters, "help"]
    assert sorted(told) == sorted(asked)
    said = run("probe", "--help").stdout
    assert [line[:-1] for line in said.splitlines() if line.endswith(":") and line[0] != " "] == [
        "What to probe", "Measurement", "Machine", "Output",
    ]  # fmt: skip


def test_probe_writes_a_result_and_says_what_it_means(saved: Path) -> None:
    result = load_result(saved)
    assert result.axes["layer"] == ("conv2",)
    assert {p.name for p in saved.iterdir()} == {
        *(f"{name}.csv" for name in TABLES),
        "hash.json",
        "per_image.npz",
        "provenance.json",
    }
    assert not list(saved.parent.glob(".*")), "nothing temporary is left"


def test_probe_prints_the_ladder(in_tmp: Path) -> None:
    done = run("probe", *QUICK, "--out", "out")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "Residuals under rotation:90" in done.stdout
    assert "trained" in done.stdout or "embedded weights" in done.stdout
    told, row, mapped = (line for line in lines if line.startswith("conv2"))
    assert "maps moved" in told
    table = load_result("out").summary.iloc[0]
    assert f"{table['inverse']:.3f}" in row
    assert f"{table['gain']:.2f} [{table['low_gain']:.2f}, {table['high_gain']:.2f}]" in row
    assert np.isnan(table["inverse_linear"]) and "nan" not in mapped and mapped.count("–") >= 3
    assert "gain: what moving the maps back wins" in done.stdout
    assert "warning: sample: 4 evaluation images" in done.stdout
    assert lines[-3] == "tables: out"
    assert lines[-2] == "next, one page to read: invariance-probe report out"
    assert "--paper" in lines[-1] and "LaTeX" in lines[-1]
    assert max(map(len, lines)) <= 80
    assert [line.split(" ...")[0] for line in done.stderr.splitlines() if "..." in line] == [
        "probing"
    ], "not a terminal: one line at the start, one at the end"


def test_probe_draws_figures(in_tmp: Path) -> None:
    args = [arg for arg in QUICK if arg != "--no-figures"]
    done = run("probe", *args, "--out", "out")
    assert done.exit_code == 0, done.stderr
    names = {path.name for path in Path("out/figures").iterdir()}
    assert {"ladder.svg", "ladder.png", "gallery.svg", "gallery.png"} <= names
    assert done.stdout.splitlines()[-3] == "tables and figures: out"
    again = run("probe", *args, "--out", "out", "--overwrite")
    assert again.exit_code == 0, "a result with its figures may be replaced"


def test_list_options_take_several_values_in_any_style(in_tmp: Path) -> None:
    args = [
        "--number",
        "4",
        "--resamples",
        "20",
        "--no-figures",
        "--batch-size",
        "3",
        "--seed",
        "3",
    ]
    args += ["--transforms", "rotation:90", "translation:2,0", "--layers", "conv2,relu1", "pool2"]
    done = run("probe", *args, "--mean", "0.1", "--std", "0.3", "--out", "out")
    assert done.exit_code == 0, done.stderr
    result = load_result("out")
    assert result.axes["layer"] == ("conv2", "relu1", "pool2")
    assert result.axes["transform"] == ("rotation:90", "translation:2,0")
    assert result.provenance["images"]["mean"] == pytest.approx([0.1])
    assert result.provenance["options"]["seed"] == 3
    assert "translation:2,0" in done.stdout


def test_layers_are_chosen_and_named_when_none_are_given(in_tmp: Path) -> None:
    args = ["--number", "4", "--resamples", "20", "--no-figures", "--transforms", "rotation:90"]
    done = run("probe", *args, "--out", "out")
    assert done.exit_code == 0, done.stderr
    chosen = "conv1, relu1, conv2, relu2"
    assert f"layers: {chosen} (choose others with --layers)" in done.stderr
    assert load_result("out").axes["layer"] == tuple(chosen.split(", "))


def test_default_layers_are_few_outer_and_spatial() -> None:
    def layer(name: str, kind: str = "Conv2d", side: int = 8) -> LayerInfo:
        return LayerInfo(name, kind, (1, 4, side, side))

    inner = [layer(f"block{i}.{j}") for i in range(5) for j in range(2)]
    outer = [layer(f"block{i}", "Block") for i in range(5)]
    rest = [layer("norm", "BatchNorm2d"), layer("pool", "AvgPool2d", 1)]
    assert default_layers([*inner, *outer, *rest]) == [f"block{i}" for i in range(5)]
    # A single container hides its parts; the parts are taken, not the container.
    nested = [layer(f"features.{i}") for i in range(20)] + [layer("features", "Sequential")]
    chosen = default_layers(nested)
    assert (len(chosen), chosen[0], chosen[-1]) == (8, "features.0", "features.19")
    assert default_layers([LayerInfo("fc", "Linear", (1, 10))]) == []


def test_replay_gives_the_same_numbers(saved: Path, in_tmp: Path) -> None:
    done = run("probe", "--config", str(saved), "--no-figures", "--out", "again")
    assert done.exit_code == 0, done.stderr
    assert load_result("again").equals(load_result(saved))
    other = run(
        "probe", "--config", str(saved / "provenance.json"), "--seed", "5", "--layers", "pool1",
        "--no-figures", "--out", "other",
    )  # fmt: skip
    assert other.exit_code == 0, other.stderr
    result = load_result("other")
    assert result.axes["layer"] == ("pool1",)
    assert result.provenance["options"]["seed"] == 5
    assert result.provenance["options"]["resamples"] == 20, "what is not given stays"


def test_demo_writes_what_the_readme_promises(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = {"rotations": "rotation:-180:180:90", "scalings": "scaling:0.5:2:3"}
    monkeypatch.setattr(demonstrating, "PROBES", fewer)
    monkeypatch.setattr(demonstrating, "LAYERS", ("conv2", "relu2"))
    done = run("demo", "--number", "8", "--out", "demo")
    assert done.exit_code == 0, done.stderr
    for name, kind in (("rotations", "rotation"), ("scalings", "scaling")):
        result = load_result(Path("demo", name))
        assert result.axes["layer"] == demonstrating.LAYERS
        assert set(result.summary["kind"]) == {kind}
        assert f"mean of {3 if kind == 'rotation' else 2} {kind}s" in done.stdout
    page = Path("demo", "report.html").read_text(encoding="utf-8")
    assert "The ledger" in page
    assert "viewer" in page
    assert "Ledger under rotation:90" in done.stdout
    assert "Ledger under scaling:2" in done.stdout
    assert "Residuals" not in done.stdout
    assert done.stdout.count("ledger: what predicts") == 1
    page, paper = done.stdout.splitlines()[-2:]
    assert page == "the page to read: open demo/report.html"
    assert paper == "for a paper: invariance-probe report demo --paper"
    assert len(done.stdout.splitlines()) < 70
    assert max(map(len, done.stdout.splitlines())) <= 80
    kept = run("demo", "--number", "8", "--out", "demo")
    assert kept.exit_code == 2
    assert "already holds a result" in kept.stderr
    assert run("demo", "--number", "3", "--out", "demo", "--overwrite").exit_code == 2
    assert load_result("demo/rotations"), "a failed --overwrite leaves the old result"


def test_a_demo_stopped_at_its_page_goes_on(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstrating, "PROBES", {"rotations": "rotation:90"})
    monkeypatch.setattr(demonstrating, "LAYERS", ("conv2",))

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    def at_the_end(new: Path, *places: Path) -> None:
        (stop if new.name == "demo.unfinished" else exchange)(new, *places)

    with monkeypatch.context() as patch:
        patch.setattr(demonstrating, "_write_page", stop)
        assert run("demo", "--number", "8", "--out", "demo").exit_code == 130
    with monkeypatch.context() as patch:
        patch.setattr(folders, "exchange", at_the_end)
        assert run("demo", "--number", "8", "--resume", "--out", "demo").exit_code == 130
    assert Path("demo.unfinished/files.json").is_file()
    draft = Path("demo.unfinished/report.unfinished")
    draft.mkdir()  # of a run that was killed there
    (draft / "report.md").write_text("half")
    done = run("demo", "--number", "8", "--resume", "--out", "demo")
    assert done.exit_code == 0, done.stderr
    assert Path("demo/report.html").stat().st_size > 1000
    assert not Path("demo.unfinished").exists()
    assert not Path("demo/report.unfinished").exists()
    before = {path: path.read_bytes() for path in Path("demo").rglob("*") if path.is_file()}
    again = run("demo", "--number", "8", "--resume", "--out", "demo")  # as after a kill at the end
    assert (again.exit_code, again.stdout) == (0, done.stdout)
    other = run("demo", "--number", "10", "--resume", "--out", "demo")
    assert other.exit_code == 2
    assert "belongs to another demo (number: 8 -> 10)" in other.stderr
    altered = Path("demo/rotations/provenance.json")
    for options in ("evil:build", None, ["seed"]):
        held = json.loads(before[altered])
        altered.write_text(json.dumps(held | {"config": held["config"] | {"options": options}}))
        strange = run("demo", "--number", "8", "--resume", "--out", "demo")
        assert strange.exit_code == 2
        assert "demo/rotations belongs to another demo (options." in strange.stderr
    altered.write_bytes(before[altered])
    assert before == {path: path.read_bytes() for path in Path("demo").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "line",
    [
        "probe --images photos --layers conv2 --transforms rotation:90 --out photos/res",
        "probe --images photos --layers conv2 --transforms rotation:90 --out photos",
        "animate --images photos --layers conv2 --transforms rotation:90 --out photos/a/new.gif",
        "train CNN --data photos --canvas 28x28 --width 0.1 --set iterations=1 --out photos/run",
    ],
)
def test_nothing_is_written_among_the_photographs(in_tmp: Path, line: str) -> None:
    for number in range(12):
        place = Path("photos", "ab"[number % 2], f"{number}.png")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28), 20 * number, np.uint8)).save(place)
    before = sorted(Path.cwd().rglob("*"))
    done = run(*line.split())
    assert done.exit_code == 2, done.output
    assert "is in the folder of the images" in done.stderr
    assert sorted(Path.cwd().rglob("*")) == before


def test_digits_are_no_folder_of_images(in_tmp: Path) -> None:
    Path("digits").mkdir()
    done = run(
        "probe", "--images", "digits", "--number", "8", "--layers", "conv2", "--transforms",
        "rotation:90", "--resamples", "20", "--no-figures", "--out", "digits/res",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr


def test_layers_lists_maps_and_greys_the_rest() -> None:
    done = run("layers")
    assert done.exit_code == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["conv1"] == ["conv1", "*", "Conv2d", "64", "20x20", "1", "-9.5", "0", "-"]
    assert rows["pool2"] == ["pool2", "MaxPool2d", "64", "2x2", "4", "-2", "0", "-"]
    assert rows["fc"][2:] == ["-"] * 6
    assert "fc: gives (1, 10): no map" in done.stdout


def test_layers_names_the_size_that_centres_a_map(in_tmp: Path) -> None:
    Path("strided_net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU())\n"
    )
    done = run("layers", "--network", "strided_net:make", "--canvas", "16x20", "--layers", "0")
    assert done.exit_code == 0, done.stderr
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("0 "))
    assert row[4] == "8x10"
    assert row[-2:] == ["-0.5", "17x21"]


def test_plot_draws_a_saved_result_again(saved: Path, in_tmp: Path) -> None:
    done = run("plot", str(saved), "--out", "figures", "--format", "pdf,svg")
    assert done.exit_code == 0, done.stderr
    names = sorted({path.name for path in Path("figures").iterdir()} - {"files.json"})
    assert {"ladder.pdf", "ladder.svg"} <= set(names)
    assert done.stdout.split() == [f"figures/{name}" for name in names]
    Path("figures/mine.txt").write_text("keep")
    kept = run("plot", str(saved), "--out", "figures", "--format", "svg")
    assert kept.exit_code == 2
    assert "already holds figures (" in kept.stderr
    again = run("plot", str(saved), "--out", "figures", "--format", "svg", "--overwrite")
    assert again.exit_code == 0, again.stderr
    assert Path("figures/mine.txt").read_text() == "keep"


def test_figures_are_in_the_font_asked_for_and_name_what_they_are_of(
    saved: Path, in_tmp: Path
) -> None:
    drawn = run("plot", str(saved), "--out", "named", "--format", "svg")
    done = run("plot", str(saved), "--out", "bare", "--format", "svg", "--no-source",
               "--font", "STIXGeneral")  # fmt: skip
    assert drawn.exit_code == done.exit_code == 0, done.stderr
    named, bare = (Path(name, "ladder.svg").read_text("utf-8") for name in ("named", "bare"))
    assert named.count("MNIST test digits") == 1 and "MNIST" not in bare
    assert "STIXGeneral" in bare and "STIXGeneral" not in named
    missing = run("plot", str(saved), "--out", "third", "--format", "svg", "--font", "No Such Font")
    assert missing.exit_code == 0
    assert missing.stderr.count("the font 'No Such Font' is not installed") == 1


def test_plot_refuses_what_is_no_result(in_tmp: Path) -> None:
    Path("empty").mkdir()
    done = run("plot", "empty")
    assert done.exit_code == 2
    assert "empty holds no result" in done.stderr
    assert not list(Path("empty").iterdir())
    done = run("plot", "empty", "--format", "gif")
    assert (done.exit_code, "--format gif: use svg, png, pdf" in done.stderr) == (2, True)


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--layers", "conv3"], ["no layer 'conv3'", "did you mean", "conv1"]),
        (["--layers", "pol*"], ["no layer matches 'pol*'", "pool1"]),
        (["--layers", "fc"], ["'fc' gives (1, 10), not a map", "choose a convolutional", "conv1"]),
        (["--transforms", "rotatoin:30"], ["'rotatoin:30'", "did you mean 'rotation'"]),
        (["--transforms", "rotation:x"], ["cannot read the numbers in 'rotation:x'"]),
        (
            ["--transforms", "translation:40,0"],
            ["layer 'conv2'", "no cell of the 4x4 map", "translation:40,0 alone leaves 0"],
        ),
        (["--number", "3"], ["3 images cannot be split", "give 4 or more"]),
        (["--number", "20000"], ["20000 images asked for, 10000 there"]),
        (["--network", "resnet19"], ["'resnet19'", "did you mean", "resnet18"]),
        (["--images", "mnist"], ["images 'mnist': no such folder", "--data-root"]),
        (["--images", "mnist", "--data-root", "."], ["MNIST is not under", "fetch it with"]),
        (["--images", "./nowhere"], ["nowhere"]),
        (["--canvas", "big"], ["--canvas big", "such as 224x224"]),
        (["--mean", "grey"], ["--mean grey: give numbers"]),
        (["--std", "0"], ["std", "must be positive"]),
        (["--weighting", "layer"], ["weighting='layer'", "'raw', 'channel'"]),
        (["--family", "projective"], ["family='projective'", "'similarity'"]),
        (["--least-coverage", "2"], ["least_coverage=2.0 is out of range", "from 0 to 1"]),
        (["--batch-size", "0"], ["batch_size=0 is out of range"]),
        (["--device", "tpu9"], ["no device 'tpu9'", "cpu"]),
        (["--network-arg", "canvas"], ["--network-arg canvas: write key=value"]),
        (["--network-arg", "depth=3"], ["mnist_cnn", "depth"]),
        (["--config", "nothing.json"], ["nothing.json does not exist"]),
        (["--checkpoint", "nothing.pt"], ["nothing.pt"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(args: list[str], parts: list[str]) -> None:
    line = refused(*QUICK, *args)
    for part in parts:
        assert part in line


def test_a_layer_given_twice_as_option_keeps_the_last_of_single_ones() -> None:
    assert reading.words(["a,b", "c d"]) == ("a", "b", "c", "d")
    assert reading.canvas_size("32X48") == (32, 48)
    assert reading.canvas_size("32") == (32, 32)
    assert reading.arguments(["a=1", "b=true", "c=(1, 2)", "d=x", "e=None"]) == {
        "a": 1, "b": True, "c": (1, 2), "d": "x", "e": None,
    }  # fmt: skip


def test_an_empty_image_folder(in_tmp: Path) -> None:
    Path("photos").mkdir()
    assert "folder 'photos' holds no images" in refused(*QUICK, "--images", "photos")


def test_an_unreadable_image(in_tmp: Path) -> None:
    images(Path("photos"))
    Path("photos/L3.png").write_bytes(b"this is no picture")
    line = refused(*QUICK, "--number", "4", "--images", "photos")
    assert "photos/L3.png" in line


def test_a_truncated_image_stops_the_run_without_a_trace(in_tmp: Path) -> None:
    images(Path("photos"), 4)
    whole = Path("photos/L3.png").read_bytes()
    Path("photos/L3.png").write_bytes(whole[: len(whole) // 2])
    assert "photos/L3.png" in refused(*QUICK, "--number", "4", "--images", "photos")


def test_mixed_channel_counts_need_a_decision(in_tmp: Path) -> None:
    images(Path("photos"), 4)
    images(Path("photos"), 2, "RGB")
    args = [*QUICK, "--number", "6", "--images", "photos"]
    line = refused(*args)
    assert "mixes 4 grey images" in line
    assert "2 colour images" in line
    assert "channels=1" in line
    done = run("probe", *args, "--image-channels", "1", "--out", "out")
    assert done.exit_code == 0, done.stderr


def test_too_few_images_in_a_folder(in_tmp: Path) -> None:
    images(Path("photos"), 3)
    args = ["--layers", "conv2", "--transforms", "rotation:90", "--images", "photos"]
    assert "3 images cannot be split" in refused(*args)


@pytest.mark.parametrize(("weight", "what"), [("nan", "NaN"), ("1e38", "Inf")])
def test_a_network_that_overflows(in_tmp: Path, weight: str, what: str) -> None:
    Path("overflowing.py").write_text(FACTORIES)
    line = refused(
        *SMALL, "--layers", "0", "--network", "overflowing:network", "--network-arg",
        f"weight={weight}",
    )  # fmt: skip
    assert f"layer '0' gives {what} for image 't10k-" in line


def test_a_factory_that_fails(in_tmp: Path) -> None:
    Path("failing.py").write_text(FACTORIES)
    assert "no weights today" in refused(*QUICK, "--network", "failing:broken")
    line = refused(*QUICK, "--network", "failing:netwrk")
    assert "'netwrk'" in line
    assert "did you mean" in line


def test_checkpoints_that_do_not_fit(in_tmp: Path) -> None:
    state = MnistCNN().state_dict()
    torch.save({k: v for k, v in state.items() if k != "fc.bias"}, "missing.pt")
    torch.save({**state, "extra.weight": torch.zeros(2)}, "unexpected.pt")
    torch.save({**state, "fc.weight": torch.zeros(10, 9)}, "shape.pt")
    for name, key in (("missing", "fc.bias"), ("unexpected", "extra.weight"), ("shape", "(10, 9)")):
        line = refused(*QUICK, "--checkpoint", f"{name}.pt")
        assert name.rstrip("e") in line
        assert key in line


def test_a_file_that_is_no_checkpoint(in_tmp: Path) -> None:
    Path("notes.pt").write_text("weights: see attachment")
    assert "notes.pt" in refused(*QUICK, "--checkpoint", "notes.pt")
    Path("notes.safetensors").write_text("weights: see attachment")
    assert "notes.safetensors" in refused(*QUICK, "--checkpoint", "notes.safetensors")


def test_a_pickled_checkpoint_is_refused_with_the_safe_way(in_tmp: Path) -> None:
    torch.save(MnistCNN(), "whole.pt")
    line = refused(*QUICK, "--checkpoint", "whole.pt")
    assert "whole.pt" in line
    assert "safetensors" in line or "state_dict" in line


def test_a_result_is_kept_unless_told(saved: Path, in_tmp: Path) -> None:
    assert run("probe", *QUICK, "--out", "out").exit_code == 0
    before = Path("out/per_image.npz").read_bytes()
    line = refused(*QUICK, "--seed", "1")
    assert "out already holds a result, which is kept" in line
    assert "--overwrite" in line
    assert Path("out/per_image.npz").read_bytes() == before
    assert run("probe", *QUICK, "--seed", "1", "--out", "out", "--overwrite").exit_code == 0
    assert Path("out/per_image.npz").read_bytes() != before


def test_files_that_are_no_result_are_never_replaced(saved: Path, in_tmp: Path) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("years of work")
    assert "out holds files that are no result (thesis.tex" in refused(*QUICK, "--overwrite")
    assert run("probe", *QUICK, "--out", "mixed").exit_code == 0
    Path("mixed/thesis.tex").write_text("years of work")
    assert "left alone" in refused(*QUICK, "--overwrite", out=Path("mixed"))
    Path("file").write_text("x")
    assert "file is a file" in refused(*QUICK, "--overwrite", out=Path("file"))


def test_a_full_disk(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        Path(args[0]).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez_compressed", full)
    line = refused(*QUICK, out=Path("deep/down/out"))
    assert "cannot write the result to" in line
    assert "No space left on device; free some space" in line


def test_a_disk_that_really_refuses(in_tmp: Path) -> None:
    resource = pytest.importorskip("resource")
    done = shell(*QUICK, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)))
    assert done.returncode == 2, done.stderr
    assert "error: cannot write the result to out: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(in_tmp.iterdir()) == []


def test_memory_that_runs_out(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*args: Any, **kwargs: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("invariance_probe.probing.run_config", run_out)
    assert "out of memory; use a smaller --batch-size" in refused(*QUICK)


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("invariance_probe.probing.run_config", bug)
    with pytest.raises(ZeroDivisionError):
        run("probe", *QUICK, "--out", "out")


@pytest.mark.parametrize("command", ["probe", "demo"])
def test_ctrl_c(in_tmp: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    @contextmanager
    def impatient(title: str) -> Iterator[talk.Report]:
        def stop(done: int, total: int, text: str) -> None:
            raise KeyboardInterrupt

        yield stop

    monkeypatch.setattr(talk, "progress", impatient)
    args = QUICK if command == "probe" else ["--number", "4"]
    done = run(command, *args, "--out", "deep/out")
    assert done.exit_code == 130
    assert done.stderr == "stopped; nothing was written\n"
    assert list(in_tmp.iterdir()) == []


def shell(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "invariance_probe", "probe", *args, "--out", "out"],
        env=environment, capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_from_outside(in_tmp: Path) -> None:
    command = [sys.executable, "-m", "invariance_probe", "probe", "--layers", "conv1"]
    with subprocess.Popen(
        [*command, "--out", "out"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline() == "probing ...\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert rest.splitlines() == [
        "stopping after this step and saving; Ctrl-C again stops at once",
        "stopped; go on with: invariance-probe probe --resume --out out",
    ]
    assert [path.name for path in in_tmp.iterdir()] == ["out.unfinished"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
def test_a_reader_that_has_gone_is_no_drama() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "invariance_probe", "layers"], stdout=write, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False,
    )  # fmt: skip
    os.close(write)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


# --- tables ------------------------------------------------------------------------------------


def test_long_layer_names_put_the_interval_below(saved: Path) -> None:
    result = load_result(saved)
    summary = result.summary.assign(layer="features.3")
    narrow = invariance_probe.Result(**{**vars(result), "summary": summary})
    console = talk.Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(tables.ladder(narrow, "rotation:90", 80))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("features.3") for line in lines)
    assert any(line.strip().startswith("[") and line.strip().endswith("]") for line in lines[4:])


def test_the_telling_transforms_are_the_known_ones() -> None:
    from invariance_probe import rotations, scalings
    from invariance_probe.data import embedded_digits

    moves = [*rotations(-180, 180, step=60), *scalings(0.5, 1.8, number=3)]
    result = invariance_probe.probe(
        invariance_probe.build_network("mnist_cnn"), "conv2", moves, embedded_digits(4),
        resamples=20,
    )  # fmt: skip
    assert tables.telling(result) == ["rotation:60", "scaling:1.8"]


def test_the_same_warning_about_many_layers_is_told_once() -> None:
    many = [Remark(f"grid of layer{i}: off by {i} px") for i in (1, 2, 3)]
    assert tables._gathered([Remark("images: filled with 0"), *many]) == [
        "images: filled with 0",
        "grid of layer1: off by 1 px",
        "likewise layer2, layer3; their numbers are in provenance.json",
    ]
    assert tables._gathered(many[:2]) == many[:2]


def test_a_stored_config_may_be_a_file(in_tmp: Path) -> None:
    Path("config.json").write_text(json.dumps({"network": "mnist_cnn", "number": 5}))
    assert reading.stored_config(Path("config.json")) == {"network": "mnist_cnn", "number": 5}
    Path("broken.json").write_text("{")
    line = refused(*QUICK, "--config", "broken.json")
    assert "broken.json is no JSON file" in line
    Path("config.json").write_text(json.dumps({"netwrok": "mnist_cnn"}))
    assert "unknown setting 'netwrok'" in refused(*QUICK, "--config", "config.json")


# --- long work -----------------------------------------------------------------------------------


def test_long_work_is_announced_once_as_soon_as_some_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, told = iter([100.0, 101.0, 104.0, 108.0]), []
    monkeypatch.setattr(talk.time, "monotonic", lambda: next(clock))
    report = talk.announcing(lambda *seen: told.append(seen), "passes", "(fewer take less)")
    for done in (4, 6, 12, 16):  # the first call begins: what came before it is not timed
        report(done, 1_000_012, "fitting")
    assert told[-1] == (16, 1_000_012, "fitting")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["1,000,000 passes ahead at 0.5 s each: about 138.9 h", "(fewer take less)"]


def test_short_work_is_not_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 5.0, 6.0])
    monkeypatch.setattr(talk.time, "monotonic", lambda: next(clock))
    report = talk.announcing(lambda *seen: None, "passes", "")
    for done in (0, 50, 60):
        report(done, 500, "")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["probe", "train"])
def test_the_announcement_of_a_command_fits_a_terminal(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(talk, "TIMED", 0.0)
    monkeypatch.setattr(talk, "LONG", 0.0)
    recipe = [
        "CNN",
        "--number",
        "40",
        "--width",
        "0.1",
        "--set",
        "iterations=3",
        "batch_size=8",
        "report_every=1",
    ]
    done = run(name, *(QUICK if name == "probe" else recipe), "--out", "out")
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    here = [at for at, line in enumerate(lines) if " ahead at " in line]
    assert len(here) == 1
    assert "less; Ctrl-C saves" in lines[here[0] + 1]
    assert max(len(line) for line in lines[here[0] : here[0] + 2]) <= 80
    assert " ahead at " not in done.stdout


def test_a_stored_config_with_a_list_of_options_is_refused(in_tmp: Path) -> None:
    (in_tmp / "plan.json").write_text('{"options": [1]}')
    done = run("probe", "--config", "plan.json", "--out", "out")
    assert done.exit_code == 2 and "must be a dictionary of options" in done.stderr


@pytest.mark.parametrize("name", ["spec", "checkpoint", "seed"])
def test_layers_passes_no_argument_of_its_own_on(name: str, in_tmp: Path) -> None:
    done = run("layers", "--network-arg", f"{name}=1")
    assert done.exit_code == 2 and f"a factory gets no argument '{name}'" in done.stderr
