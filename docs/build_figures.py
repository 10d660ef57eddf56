"""Draws the pictures of docs/figures.md: one figure of every kind, numbered as the page.

    python docs/build_figures.py            # draws all, some minutes
    python docs/build_figures.py ledger     # draws the ones named
    python docs/build_figures.py --check    # only says what the page or docs/figures lacks

Results are of the embedded network on a few embedded digits, of networks trained for seconds, and
those in figures/. What each number means stands in the page.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGE, FOLDER = DOCS / "figures.md", DOCS / "figures"
RESULTS = DOCS.parent / "figures"
sys.path.insert(0, str(DOCS.parent / "analyses"))

OF_PAPERS = ("learned", "published", "theorem")  # drawn by analyses/papers

LARGEST, ALL = 120_000, 1_200_000  # bytes of a picture, and of all
_WIDTH, _DPI, _SHADES = 135.0, 150, 256  # millimetres; pixels an inch; colours of a picture
_MOVES = "rotation:-180:180:45 scaling:0.5:2:5"
_LAYERS = ["conv1", "relu1", "conv2"]

Marks = list[tuple[int, float, float]]
"""Where the numbers stand: which axes, and how far along and up it, from 0 to 1."""

MARKS: dict[str, Marks] = {
    "ledger": [(1, 0.40, 0.94), (1, 0.80, 0.94), (0, 0.35, 0.79), (0, 0.60, 0.27)],
    "gain": [(0, 0.49, 0.94), (0, 0.08, 0.97), (0, 0.5625, 0.50)],
    "residuals": [(1, 0.86, 0.88), (1, 0.10, 0.45), (1, 0.12, 0.20), (2, 0.75, 0.07)],
    "ladder": [(0, 0.42, 0.87), (0, 0.62, 0.66), (0, 0.25, 0.38), (1, 0.50, 0.065)],
    "spread": [(0, 0.17, 0.73), (0, 0.95, 0.87), (0, 0.13, 0.31)],
    "landscape": [(0, 0.13, 0.72), (1, 0.90, 0.60), (2, 0.50, 0.80)],
    "channel_shift": [(0, 0.62, 0.94), (0, 0.83, 0.52), (0, 0.20, 0.14)],
    "moved": [(0, 0.28, 0.87), (0, 0.11, 0.60), (0, 0.88, 0.28)],
    "tuning": [(0, 0.42, 0.86), (1, 1.00, 0.72), (2, 0.86, -0.29)],
    "composition": [(0, 0.16, 0.22), (0, 0.50, 0.62), (0, 0.90, 0.86)],
    "gallery": [(2, 0.88, 0.88), (4, 0.88, 0.88), (5, 0.88, 0.88), (9, 0.07, 0.07)],
    "oracle": [(0, 0.30, 0.90), (0, 0.62, 0.10), (2, 0.17, 0.50), (2, 0.90, 0.30)],
    "baselines": [(0, 0.55, 0.86), (1, 0.60, 0.84), (4, 0.60, 0.84), (5, 0.35, 0.84)],
    "comparison": [(0, 0.10, 0.62), (1, 0.10, 0.90), (2, 0.35, 0.20), (2, 0.50, 0.80)],
    "training_course": [(2, 0.30, 0.66), (3, 0.60, 0.20), (0, 0.50, 0.95)],
    "history": [(0, 0.42, 0.35), (1, 0.10, 0.55), (1, 0.31, 0.48)],
    "pose_histogram": [(0, 0.78, 0.10), (1, 0.25, 0.60), (0, 0.62, 1.10)],
    "aligned": [(0, 0.14, 0.14), (12, 0.14, 0.14), (24, 0.14, 0.14)],
    "class_means": [(7, 0.14, 0.14), (15, 0.14, 0.14), (23, 0.14, 0.14)],
    "learned": [(0, 0.88, 0.48), (1, 0.10, 0.68), (1, 0.50, 0.22)],
    "published": [(0, 0.83, 0.69), (0, 0.13, 0.80), (0, 0.50, 0.52)],
    "theorem": [(0, 0.50, 0.12), (1, 0.30, 0.50), (1, 0.875, 0.29), (3, 0.55, 0.20)],
}


# --- what is drawn -----------------------------------------------------------------------------


@cache
def digits(number: int = 80) -> Any:
    from invariance_probe import embedded_digits

    return embedded_digits(number)


@cache
def probed() -> Any:
    from invariance_probe import build_network, probe

    return probe(build_network("mnist_cnn"), _LAYERS, _MOVES, digits(), resamples=200)


@cache
def trained(steps: int) -> Any:
    """The network of the paper after so many steps on embedded digits, from one random start."""
    import torch

    from invariance_probe.networks.mnist_cnn import MnistCNN

    torch.manual_seed(0)
    network, images = MnistCNN(), digits(400)
    given, labels = images.batch(range(400)), torch.as_tensor(images.labels)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(steps):
        some = torch.arange(step * 40, step * 40 + 40) % 400
        loss = torch.nn.functional.cross_entropy(network(given[some] / 0.31), labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@cache
def compared() -> Any:
    from invariance_probe import probe
    from invariance_probe.probing import compare

    steps = {0: "untrained", 10: "10 steps", 60: "60 steps"}
    results = {
        name: probe(trained(number), ["relu1", "relu2"], "rotation:-90:90:30", digits(),
                    mean=[0.0], std=[0.31], resamples=200)
        for number, name in steps.items()
    }  # fmt: skip
    return compare(results, along=list(steps))


@cache
def planted() -> Any:
    """Examples and networks whose poses are known, from the tests."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    import planted_poses

    return planted_poses


def aligned(name: str) -> Any:
    from invariance_probe import reporting

    made = planted()
    networks = {"aligns": made.Planted(made.noisy(6.0)), "halfway": made.Planted(made.half)}
    examples = made.PlantedExamples(number=80, classes=8)
    figure = getattr(reporting, f"plot_{name}")(networks, examples, width=_WIDTH)
    for ax in figure.axes:
        for image in ax.images:
            image.get_array()[0] = 0  # what tells the planted networks the pose
    return figure


def poses() -> Any:
    from invariance_probe.reporting import plot_pose_histogram
    from invariance_probe.training.poses.poses import collect_poses

    made = planted()
    rules = {"aligns, with errors": made.noisy(14.0), "halfway": made.half}
    examples = made.PlantedExamples(number=900)
    tables = {name: collect_poses(made.Planted(rule), examples) for name, rule in rules.items()}
    return plot_pose_histogram(tables, width=_WIDTH)


def history() -> Any:
    import torch

    from invariance_probe.networks import Architecture
    from invariance_probe.reporting import plot_history
    from invariance_probe.training import TrainConfig, TrainedRun

    head = "step,epoch,loss,accuracy,learning_rate,test_error,seconds\n"
    with tempfile.TemporaryDirectory() as folder:
        for seed, worse in ((0, 0.0), (1, 0.03)):
            (Path(folder) / f"seed_{seed}").mkdir()
            rows = []
            for step in range(100, 2001, 100):
                loss = 2.2 * 0.5 ** (step / 260) + 0.02 + worse
                test = f"{0.6 * 0.5 ** (step / 300) + 0.05 + worse}" if step % 500 == 0 else ""
                rows.append(f"{step},1,{loss},{1 - loss / 4},0.1,{test},3\n")
            (Path(folder) / f"seed_{seed}" / "history.csv").write_text(head + "".join(rows))
        config = TrainConfig("mnist-r", Architecture(name="CNN", backbone="mnist"), seeds=(0, 1))
        nets, about = {s: torch.nn.Identity() for s in (0, 1)}, {0: {}, 1: {}}
        return plot_history(TrainedRun(Path(folder), config, nets, about), width=_WIDTH)


def oracle() -> Any:
    from invariance_probe import build_network
    from invariance_probe import oracle as against

    found = against(
        build_network("mnist_cnn"), _LAYERS, "rotation:-180:180:45", digits(), resamples=200
    )
    return found.plot.oracle(width=_WIDTH)


def baselines() -> Any:
    from invariance_probe import build_network
    from invariance_probe.probing.baseline_measures import baselines as measure
    from invariance_probe.reporting import plot_baselines

    table = measure(
        build_network("mnist_cnn"), _LAYERS, "rotation:45 rotation:90", digits(), resamples=200
    )
    return plot_baselines(table, width=_WIDTH)


def gallery() -> Any:
    from invariance_probe import build_network
    from invariance_probe.reporting import plot_gallery

    network = build_network("mnist_cnn")
    return plot_gallery(network, digits(), "conv1", "rotation:45", 3, 3, width=_WIDTH)


def published() -> Any:
    import pandas as pd
    from papers.published import NO_FAMILY
    from papers.published_figure import plot_published

    table = pd.read_csv(RESULTS / "distorted_digits" / "table-1" / "overview" / "summary.csv")
    table = table.fillna({"family": NO_FAMILY})
    return plot_published(table, width=_WIDTH)


def learned() -> Any:
    import pandas as pd
    from papers.learned import plot_learned

    table = pd.read_csv(RESULTS / "learned_alignment" / "mnist-r" / "residuals.csv")
    names = ("STN-C0", "STN-C1")
    return plot_learned(table[table["network"].isin(names)], width=_WIDTH)


def theorem() -> Any:
    from papers.theorem import plot_theorem

    from invariance_probe import load_result

    names = {"mnist_cnn relu1": "network", "its symmetrised twin": "twin", "1x1": "pointwise"}
    parts = {name: load_result(RESULTS / "theorem" / part) for name, part in names.items()}
    return plot_theorem(parts, load_result(RESULTS / "theorem" / "gaussian"), width=170)


def of_probe(name: str, *choice: Any) -> Any:
    return getattr(probed().plot, name)(*choice, width=_WIDTH)


def of_comparison(name: str, *choice: Any) -> Any:
    return getattr(compared().plot, name)(*choice, width=_WIDTH)


DRAWN: Mapping[str, Callable[[], Any]] = {
    **{name: partial(of_probe, name)
       for name in ("ledger", "gain", "spread", "composition")},
    "residuals": partial(of_probe, "residuals", "rotation"),
    "ladder": partial(of_probe, "ladder", "rotation:90", ["conv1", "conv2"]),
    "landscape": partial(of_probe, "landscape"),
    "channel_shift": partial(of_probe, "channel_shift", ["conv1", "relu1"]),
    "moved": partial(of_probe, "moved", "rotation"),
    "tuning": partial(of_probe, "tuning"),
    "comparison": partial(of_comparison, "comparison"),
    "training_course": partial(of_comparison, "training_course"),
    "gallery": gallery, "oracle": oracle, "baselines": baselines, "history": history,
    "pose_histogram": poses, "aligned": partial(aligned, "aligned"),
    "class_means": partial(aligned, "class_means"),
    "learned": learned, "published": published, "theorem": theorem,
}  # fmt: skip


# --- pictures ----------------------------------------------------------------------------------


def picture(name: str) -> bytes:
    """The figure with its numbers, as a PNG of few colours."""
    from PIL import Image

    figure = DRAWN[name]()
    for number, (place, along, up) in enumerate(MARKS[name], start=1):
        ax = figure.axes[place]
        ax.annotate(
            str(number), (along, up), xycoords="axes fraction", ha="center", va="center",
            color="white", fontsize=7.5, weight="bold", zorder=50, annotation_clip=False,
            bbox={"boxstyle": "circle,pad=0.22", "facecolor": "#B3004B", "edgecolor": "white"},
        ).set_in_layout(False)  # fmt: skip
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    image = Image.open(drawn).convert("RGB").quantize(_SHADES, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def sections(page: str) -> dict[str, str]:
    """What the page says of each picture, by its name."""
    parts = re.split(r"^## ", page, flags=re.M)
    found = {part: re.search(r"\]\(figures/(\w+)\.png\)", part) for part in parts}
    return {name[1]: part for part, name in found.items() if name}


def lacking(page: str) -> list[str]:
    """What the page or the folder lacks: sections, pictures, sentences; or has too much."""
    from invariance_probe import reporting

    kinds = [name.removeprefix("plot_") for name in reporting.__all__ if name.startswith("plot_")]
    kinds += OF_PAPERS
    said = sections(page)
    wrong = [f"{name}: no section in {PAGE.name}" for name in kinds if name not in said]
    wrong += [f"{name}: a section, and no figure of that name" for name in said.keys() - {*kinds}]
    for name, text in said.items():
        numbers = len(re.findall(r"^\d+\. ", text, flags=re.M))
        if numbers != len(MARKS.get(name, [])) or not 2 <= numbers <= 4:
            wrong.append(f"{name}: {numbers} sentences, {len(MARKS.get(name, []))} numbers drawn")
        if "**What would mislead you here:**" not in text:
            wrong.append(f"{name}: not said what would mislead")
    sizes = {name: _size(FOLDER / f"{name}.png") for name in said}
    wrong += [f"{name}: no picture" for name, size in sizes.items() if not size]
    wrong += [f"{name}: {size} bytes" for name, size in sizes.items() if size > LARGEST]
    if sum(sizes.values()) > ALL:
        wrong.append(f"all pictures: {sum(sizes.values())} bytes")
    return wrong


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main(arguments: list[str]) -> int:
    """Draw the pictures, or say what is lacking."""
    if "--check" in arguments:
        wrong = lacking(PAGE.read_text(encoding="utf-8"))
        print("\n".join(wrong), end="\n" if wrong else "")
        return int(bool(wrong))
    FOLDER.mkdir(exist_ok=True)
    for name in arguments or DRAWN:
        (FOLDER / f"{name}.png").write_bytes(picture(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
