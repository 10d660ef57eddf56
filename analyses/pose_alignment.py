"""Does a trained spatial transformer bring objects to one pose?

Measures, for the networks of training runs, the pose that the transformer gives to each test
image beside the transformation that was applied: slope of the orthogonal regression (-1 is perfect,
0 is nothing) and standard deviation of the final pose within a class, with bootstrap intervals.
Writes the statistics of every seed (CSV), figures of each run's first seed (predicted against
applied pose, aligned images, mean image per class), and the command.

example:
  python analyses/pose_alignment.py runs/mnist-r/STN-C0 runs/mnist-r/STN-C1 --passes 10 \\
      --out figures/pose_alignment
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)
from _stn import pose_figures, run_provenance  # noqa: E402

if TYPE_CHECKING:
    import pandas as pd

    from invariance_probe.training import TrainedRun


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("pose_alignment", __doc__)
    add = made.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folders of training runs")
    add("--data", help="test on this data set; default: that of the first run")
    add("--data-root", help="where the data are; default: where the first run found them")
    add("--number", type=int, help="test examples; default: all")
    add("--passes", type=int, default=10, help="fresh passes over the test examples (default 10)")
    add("--step", type=int, default=-1, help="after which alignment: 0 the first, -1 the last")
    add("--seed", type=int, default=0, help="of the passes and the bootstrap")
    return run("pose_alignment", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Measure all runs on the same passes and write everything or nothing."""
    import pandas as pd

    from invariance_probe.data.catalogue import load_examples
    from invariance_probe.reporting import write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder
    from invariance_probe.training import load_run
    from invariance_probe.training.poses.runs import run_pose_statistics, run_poses

    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite)
    runs = [load_run(folder) for folder in dict.fromkeys(asked.runs)]
    first = runs[0].config
    data = asked.data or first.data
    root = asked.data_root or (None if asked.data else first.data_root)
    move = None if asked.data else first.transform
    test = load_examples(data, root=root, train=False, number=asked.number, transform=move)
    named = dict(zip(labels(runs), runs, strict=True))
    shown, rows = {}, []
    for label, trained in named.items():
        print(f"{label}: {len(trained.networks)} networks")
        tables = run_poses(
            trained, test, passes=asked.passes, seed=asked.seed, step=asked.step,
            device=asked.device,
        )  # fmt: skip
        shown[label] = (trained, tables)
        found = run_pose_statistics(tables, label, seed=asked.seed)
        found.insert(1, "data", data)
        rows.append(found)
    table = pd.concat(rows, ignore_index=True)
    with whole_folder(asked.out, overwrite=asked.overwrite) as folder:
        table.to_csv(folder / "poses.csv", index=False, lineterminator="\n")
        for name, figure in pose_figures(shown, test, seed=asked.seed, width=asked.figure_width):
            for suffix in asked.formats:
                write_figure(figure, folder / FIGURES / f"{name}.{suffix}")
        about = {
            "command": command,
            "test": {
                "data": data, "description": test.description, "number": len(test),
                "sha256": test.sha256, "passes": asked.passes, "seed": asked.seed,
            },
            "runs": {label: run_provenance(trained) for label, trained in named.items()},
        }  # fmt: skip
        write_provenance(folder, about)
    print(report(table))
    return ("poses.csv", FIGURES, "provenance.json")


def labels(runs: Sequence[TrainedRun]) -> list[str]:
    """Names for figures: of the networks, with their folders where names repeat."""
    names = [trained.config.architecture.name for trained in runs]
    return [
        name
        if names.count(name) == 1
        else f"{name} {trained.folder.parent.name}/{trained.folder.name}"
        for name, trained in zip(names, runs, strict=True)
    ]


def report(table: pd.DataFrame) -> str:
    """Slope and deviation of every network with their intervals, for the terminal."""
    lines = []
    for row in table.to_dict("records"):
        slope, low, high = (f"{row[f'slope{end}']:.3f}" for end in ("", "_low", "_high"))
        spread, least, most = (f"{row[f'deviation{end}']:.2f}" for end in ("", "_low", "_high"))
        lines.append(
            f"{row['run']} seed {row['seed']}, {row['kind']}: slope {slope} [{low}, {high}], "
            f"deviation {spread} [{least}, {most}] {row['unit']}, {row['n']} samples"
        )
    return "\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
