"""Every figure at one column and at two: as wide as asked, all words on it, apart and readable."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from compared_results import RUNGS, made_result
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from papers.learned import plot_learned
from papers.theorem import plot_theorem
from planted_poses import Planted, PlantedExamples, half, knows, noisy
from torch import nn

from invariance_probe.data import array_images
from invariance_probe.errors import ProbeError
from invariance_probe.networks import Architecture
from invariance_probe.probing import Result, compare, oracle, probe
from invariance_probe.probing.baseline_measures import baselines
from invariance_probe.reporting import (
    plot_aligned,
    plot_baselines,
    plot_class_means,
    plot_comparison,
    plot_gain,
    plot_gallery,
    plot_history,
    plot_ladder,
    plot_oracle,
    plot_pose_histogram,
    plot_residuals,
    plot_spread,
    plot_training_course,
    save_figures,
)
from invariance_probe.reporting.drawing.fitting import legend_columns, text_width, wrapped
from invariance_probe.reporting.drawing.style import NARROW, RC, WIDE
from invariance_probe.reporting.files import figures
from invariance_probe.training import TrainConfig, TrainedRun
from invariance_probe.training.poses.poses import collect_poses

SMALLEST = 6.5  # points
Draw = Callable[[float | None], Figure]
LONG = "features.stages.3.blocks.2.conv_dw.act{}"
TURNS, SCALES = "rotation:-180:180:90", "scaling:0.5:2:3"
FEW = "rotation:90 translation:3,0"
HISTORY = "step,epoch,loss,accuracy,learning_rate,test_error,seconds\n50,1,2,0.2,0.1,0.9,3\n"


def check_legible(figure: Figure, width: float) -> None:
    """Draw a figure; its width in millimetres, every word on it, none over another, none small."""
    with matplotlib.rc_context(figure.look), warnings.catch_warnings():  # type: ignore[attr-defined]
        warnings.simplefilter("error")  # a layout that does not fit is said in a warning
        figure.draw_without_rendering()
        assert 25.4 * figure.get_figwidth() == pytest.approx(width, abs=0.1)
        across, up = figure.bbox.size
        boxes = []
        found = list(words(figure))
        for text in found:
            said = text.get_text()
            assert text.get_fontsize() >= SMALLEST, said
            box = text.get_window_extent()
            inside = box.x0 > -0.5 and box.y0 > -0.5 and box.x1 < across + 0.5
            assert inside and box.y1 < up + 0.5, f"{said!r} leaves the page: {box}"
            boxes.append([*box.padded(-0.5).get_points().ravel()])
        left, low, right, high = np.array(boxes).T[:, :, None]
        over = (left < right.T) & (right > left.T) & (low < high.T) & (high > low.T)
        pairs = np.argwhere(np.triu(over, 1))
        assert not len(pairs), [[found[i].get_text() for i in pair] for pair in pairs]


def words(figure: Figure) -> Iterator[Text]:
    """Texts that are drawn: of the figure, of its legends, and of its axes with their ticks."""
    found = list(figure.texts)
    found += [text for text in (figure._suptitle, figure._supxlabel) if text is not None]  # type: ignore[attr-defined]
    for legend in figure.findobj(Legend):
        found += [*legend.get_texts(), legend.get_title()]  # type: ignore[attr-defined]
    for ax in figure.findobj(Axes):
        assert isinstance(ax, Axes)
        found += [*ax.texts, ax.title, ax._left_title, ax._right_title]  # type: ignore[attr-defined]
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            found += [axis.label, *tick_labels(axis)]
    unique = {id(text): text for text in found}.values()
    return (text for text in unique if text.get_visible() and text.get_text().strip())


def tick_labels(axis: Axis) -> list[Text]:
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    shown = [tick for tick in ticks if low - slack <= tick.get_loc() <= high + slack]
    return [label for tick in shown for label in (tick.label1, tick.label2)]


def nested(names: list[str], layers: list[nn.Module]) -> nn.Module:
    """A network whose layers have such dotted names, one after the other."""
    root = nn.Sequential()
    for name, layer in zip(names, layers, strict=True):
        *path, last = name.split(".")
        place: Any = root
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Sequential())
            place = getattr(place, part)
        place.add_module(last, layer)
    return root


def convolutions(names: list[str]) -> nn.Module:
    torch.manual_seed(0)
    sizes = [1, *([4] * len(names))]
    return nested(names, [nn.Conv2d(a, b, 3) for a, b in itertools.pairwise(sizes)])


NOISE = array_images(np.random.default_rng(0).random((32, 1, 20, 20), dtype=np.float32), 20)
NAMES = {
    "one": ["conv1"],
    "three": ["conv1", "pool1", "conv2"],
    "long": [LONG.format(n) for n in range(3)],
}


@pytest.fixture(scope="module", params=NAMES)
def probed(request: pytest.FixtureRequest) -> Result:
    names = NAMES[request.param]
    return probe(convolutions(names), names, f"{TURNS} {SCALES}", NOISE, resamples=20)


@pytest.mark.parametrize("width", [NARROW])
def test_figures_of_a_result(probed: Result, width: float) -> None:
    drawn = dict(figures(probed, width=width))
    assert {"ladder", "gain", "spread", "landscape_angle", "channel_shift",
            "tuning_rotation", "composition"} <= set(drawn)  # fmt: skip
    for name, draw in drawn.items():
        try:
            check_legible(draw(), width)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.fixture(scope="module")
def draws(
    make_result: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Draw]:
    """Every plot function with arguments, waiting for a width."""
    plan = "rotation:0:90:45 shear:0.2 translation:10,-5 affine:1,0.5,0,0,1,0"
    some = make_result(plan, NAMES["long"], rungs=RUNGS)
    both = make_result(f"{TURNS} {SCALES}", NAMES["three"], rungs=RUNGS)
    mixed = make_result(f"translation:-2,0 translation:2,0 {TURNS} {SCALES}", ["conv1"])
    networks = {name: made_result(seed=n, transforms=plan) for n, name in enumerate("abc")}
    compared = compare(networks, along=[0, 100, 20000])
    classifier = nn.Sequential(convolutions(NAMES["long"]), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    layers = [f"0.{name}" for name in NAMES["long"]]
    labelled = array_images(NOISE.batch(range(20)).numpy(), 20, labels=np.arange(20) % 3)
    against = {
        moves: oracle(classifier, layers, moves, labelled, resamples=20) for moves in (TURNS, FEW)
    }
    rules = {"STN-C0": noisy(12.0), "STN-C1": half, "STN-SL1": noisy(6.0), "STN-DL1": knows}
    poses = {
        law: {name: collect_poses(Planted(rule), PlantedExamples(law, number=90))
              for name, rule in rules.items()}
        for law in ("rotation", "translation")
    }  # fmt: skip
    aligning = {"STN-C0": Planted(knows), "STN-C1 (on maps)": Planted(half)}
    measured = baselines(
        convolutions(NAMES["long"]), NAMES["long"], "rotation:90", NOISE, resamples=20
    )
    folder = tmp_path_factory.mktemp("run")
    (folder / "seed_0").mkdir()
    (folder / "seed_0" / "history.csv").write_text(HISTORY)
    config = TrainConfig("mnist-r", Architecture(name="CNN", backbone="mnist"), seeds=(0,))
    run = TrainedRun(folder, config, {0: nn.Identity()}, {0: {}})
    deep = convolutions(NAMES["three"])
    everything = PlantedExamples("all", number=60, classes=10)
    return {
        "residuals": lambda width: plot_residuals(both, width=width),
        "residuals by name": lambda width: plot_residuals(some, width=width),
        "ladder": lambda width: plot_ladder(some, "rotation:90", width=width),
        "gain": lambda width: plot_gain(some, width=width),
        "gain of two": lambda width: plot_gain([both, some], width=width),
        "spread": lambda width: plot_spread(both, width=width),
        "comparison": lambda width: plot_comparison(compared, width=width),
        "course": lambda width: plot_training_course(compared, width=width),
        "theorem": lambda width: plot_theorem(
            {"CNN": mixed, "its twin": mixed, "1x1": mixed}, both, width=width
        ),
        "theorem of one": lambda width: plot_theorem({"CNN": mixed}, width=width),
        "oracle by angle": lambda width: plot_oracle(against[TURNS], width=width),
        "oracle by depth": lambda width: plot_oracle(
            against[FEW], width=width
        ),
        "poses": lambda width: plot_pose_histogram(poses["rotation"], width=width),
        "shifts": lambda width: plot_pose_histogram(poses["translation"], width=width),
        "poses of one": lambda width: plot_pose_histogram(
            poses["rotation"]["STN-C0"], width=width
        ),
        "aligned": lambda width: plot_aligned(aligning, everything, width=width),
        "class means": lambda width: plot_class_means(aligning, everything, width=width),
        "gallery": lambda width: plot_gallery(
            deep, NOISE, "conv1", "rotation:-37.5", width=width
        ),
        "baselines": lambda width: plot_baselines(measured, width=width),
        "baselines of two": lambda width: plot_baselines(
            {"rotations": measured, "scalings": measured}, width=width
        ),
        "history": lambda width: plot_history(run, width=width),
        "learned": lambda width: plot_learned(learned_table(), width=width),
    }  # fmt: skip


def learned_table() -> pd.DataFrame:
    rungs = ("unaligned", "inverse", "best", "inverse_linear", "learned", "input_aligned",
             "other_image")  # fmt: skip
    rows = [
        {
            "network": network, "layer": "blocks.1", "kind": "rotation", "parameter": angle,
            "transform": f"rotation:{angle:g}", "identity": angle == 0, "rung": rung,
            "residual": number / 5, "low": number / 6, "high": number / 4,
        }
        for network in ("STN-C0", "STN-C1", "STN-SL1")
        for angle in (-90.0, 0.0, 90.0)
        for number, rung in enumerate(rungs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


DRAWN = (
    "residuals", "residuals by name", "ladder", "gain", "gain of two", "spread",
    "comparison", "course", "theorem", "theorem of one", "oracle by angle", "oracle by depth",
    "poses", "shifts", "poses of one", "aligned", "class means", "gallery", "baselines",
    "baselines of two", "history", "learned",
)  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_every_other_figure(draws: dict[str, Draw], name: str, width: float) -> None:
    assert set(draws) == set(DRAWN)
    check_legible(draws[name](width), width)


@pytest.mark.parametrize("width", [20, 69.9, 301, float("nan"), "wide"])
def test_widths_that_cannot_be_read_are_refused(
    make_result: Callable[..., Result], tmp_path: Path, width: Any
) -> None:
    made = make_result("rotation:90", ["conv1"])
    for draw in (plot_residuals, plot_ladder, plot_gain, plot_spread):
        with pytest.raises(ProbeError, match=rf"figure width {width!r}: give millimetres from 70"):
            draw(made, width=width)
    with pytest.raises(ProbeError, match="figure width"):
        save_figures(made, tmp_path / "figures", width=width)
    assert not (tmp_path / "figures").exists()


def test_words_are_measured_and_broken() -> None:
    name = LONG.format(0)
    with matplotlib.rc_context(RC):
        for room in (20.0, 32.0, 80.0):
            lines = wrapped(name, room).split("\n")
            assert "".join(lines) == name
            assert all(text_width(line) <= room for line in lines)
        assert wrapped("x" * 60, 30.0).count("\n") >= 2  # a part too long by itself is cut
        assert legend_columns(["a", "b", "c"], NARROW, 4) == 3
        assert legend_columns(["a" * 40, "b" * 40], NARROW, 4) == 1
