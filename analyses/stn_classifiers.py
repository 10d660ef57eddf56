"""Which classifier with a spatial transformer errs least, and which one learns to align?

Trains networks on transformed images, several seeds each (what is trained already is kept, what
was interrupted goes on), tests each in fresh passes, and measures the poses that its transformer
gives to the test images. Training runs go to `runs`, and `overview` gets a table of networks by
data (CSV, LaTeX, Markdown), errors by pass, pose statistics by seed, figures for each data set
(predicted against applied pose, aligned images, class means), and the command.

example:
  python analyses/stn_classifiers.py --networks CNN STN-C0 STN-C1 STN-SL1 --data mnist-r \\
      --seeds 0 1 2 --preset quick --out figures/stn_classifiers
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)
from _stn import pose_figures, run_provenance  # noqa: E402

if TYPE_CHECKING:
    import pandas as pd

    from invariance_probe.data.examples import Examples
    from invariance_probe.training import Progress, TrainConfig, TrainedRun

NETWORKS = ("CNN", "STN-C0", "STN-C1", "STN-SL1")
OVERVIEW = "overview"
LINES_EVERY = 30.0  # seconds


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("stn_classifiers", __doc__)
    add = made.add_argument
    add("--networks", nargs="+", default=list(NETWORKS), help="such as CNN STN-C0 STN-SL1x2")
    add("--data", nargs="+", default=["mnist-r"], help="data sets by name: mnist-r mnist-t ...")
    add("--data-root", help="where the data are; mnist-* without it: digits of the package")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="a network is trained with each")
    add("--preset", default="quick", help="quick (minutes each) or paper (150,000 steps each)")
    add("--set", nargs="+", metavar="FIELD=VALUE", help="other values for fields of the recipe")
    add("--width", type=float, help="fraction of the filters and units; default: all")
    add("--number", type=int, help="training examples; default: all")
    add("--test-number", type=int, help="test examples; default: all")
    add("--passes", type=int, default=10, help="fresh passes over the test examples (default 10)")
    add("--test-seed", type=int, default=0, help="of the test passes and the bootstrap")
    add("--runs", type=Path, help="folder of the training runs; default: OUT/runs")
    stopped = "stopped; training that has begun is kept and goes on when this is run again"
    return run("stn_classifiers", analyse, made.parse_args(words), words, stopped)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Train what is missing, measure all, and write the overview whole or not at all."""
    import pandas as pd

    from invariance_probe.probing.storage import FIGURES, check_free, whole_folder
    from invariance_probe.reporting import (
        classifier_latex,
        classifier_markdown,
        classifier_table,
        write_figure,
    )
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.training import train_run
    from invariance_probe.training.pose_runs import run_pose_statistics, run_poses
    from invariance_probe.training.tables import evaluate_run

    check_formats(asked.formats)
    check_free(asked.out / OVERVIEW, overwrite=asked.overwrite)
    plans, tests = planned(asked)
    runs: dict[str, TrainedRun] = {}
    for key, (config, examples) in plans.items():
        runs[key] = train_run(
            config, (asked.runs or asked.out / "runs") / key, examples=examples,
            test=tests[config.data], device=asked.device, resume=True, on_step=reporter(key),
        )  # fmt: skip
    same: dict[str, Any] = {
        "passes": asked.passes, "seed": asked.test_seed, "device": asked.device,
    }  # fmt: skip
    errors, poses, tables = [], [], {}
    for key, trained in runs.items():
        print(f"{key}: testing {len(trained.networks)} networks")
        test = tests[trained.config.data]
        found = evaluate_run(trained, test, **same)
        one = next(iter(trained.networks.values()))
        count = sum(p.numel() for p in one.parameters())
        errors.append(found.assign(run=key, parameters=count))
        if has_poses(trained, test):
            tables[key] = run_poses(trained, test, **same)
            poses.append(run_pose_statistics(tables[key], key, seed=asked.test_seed))
    table = classifier_table(pd.concat(errors), pd.concat(poses) if poses else None)
    written: dict[str, pd.DataFrame] = {"summary": table, "errors": pd.concat(errors)}
    if poses:
        written["poses"] = pd.concat(poses)
    with whole_folder(asked.out / OVERVIEW, overwrite=asked.overwrite) as folder:
        for name, rows in written.items():
            rows.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        page = classifier_markdown(table)
        (folder / "table_classifiers.md").write_text(page, encoding="utf-8")
        (folder / "table_classifiers.tex").write_text(classifier_latex(table), encoding="utf-8")
        for data, test in tests.items():
            keys = [key for key in tables if runs[key].config.data == data]
            shown = {runs[key].config.architecture.name: (runs[key], tables[key]) for key in keys}
            for name, figure in pose_figures(shown, test, seed=asked.test_seed):
                for suffix in asked.formats:
                    path = folder / FIGURES / f"{name}_{Path(data).name}.{suffix}"
                    write_figure(figure, path)
        described = {key: run_provenance(trained) for key, trained in runs.items()}
        about = {"command": command, "passes": asked.passes, "seed": asked.test_seed}
        write_provenance(folder, about | {"runs": described})
    print(f"\n{page}")
    return (*(["runs"] if asked.runs is None else []), OVERVIEW)


def planned(
    asked: argparse.Namespace,
) -> tuple[dict[str, tuple[TrainConfig, Examples]], dict[str, Examples]]:
    """What is to be trained, by "data/network", and test examples by data; checked before work."""
    from invariance_probe._console.reading import arguments
    from invariance_probe.data.catalogue import load_examples
    from invariance_probe.errors import ProbeError
    from invariance_probe.training import TrainConfig, architecture_for, preset

    if asked.passes < 1:
        raise ProbeError(f"--passes {asked.passes}: give at least 1")
    changes = arguments(asked.set, "--set", "learning_rate=0.02") or {}
    recipes = {data: preset(asked.preset, data).changed(changes) for data in asked.data}
    plans, tests = {}, {}
    for data in dict.fromkeys(asked.data):
        examples, tests[data] = (
            load_examples(data, root=asked.data_root, train=train, number=number)
            for train, number in ((True, asked.number), (False, asked.test_number))
        )
        for name in dict.fromkeys(asked.networks):
            built = architecture_for(name, data, examples, width=asked.width)
            config = TrainConfig(
                data, built, recipes[data], tuple(asked.seeds), asked.preset, asked.data_root,
                asked.number,
            )  # fmt: skip
            plans[f"{Path(data).name}/{built.name}"] = (config, examples)
    return plans, tests


def has_poses(trained: TrainedRun, test: Examples) -> bool:
    """Whether a pose is known for the images and for what the network does to them."""
    about = trained.config.architecture
    aligns = about.kind is not None and about.family != "tps" and about.parallel == 1
    batch = test.draw(0).batch([0])
    return aligns and batch.transforms is not None and batch.targets.ndim == 1


def reporter(key: str) -> Callable[[int, Progress], None]:
    """Prints a line about training now and then."""
    last = time.monotonic()

    def report(seed: int, progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < LINES_EVERY:
            return
        last = time.monotonic()
        print(
            f"{key} seed {seed}: step {progress.step}/{progress.steps}, "
            f"loss {progress.loss:.3f}, {progress.images_per_second:.0f} images/s, "
            f"{progress.seconds_left / 60:.1f} min left",
            flush=True,
        )

    return report


if __name__ == "__main__":
    sys.exit(main())
