"""What the analyses that train spatial transformers share, from arguments to provenance."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from invariance_probe.data.examples.examples import Examples
    from invariance_probe.networks.stn.architecture import Architecture
    from invariance_probe.training import Progress, Recipe, TrainConfig, TrainedRun

OVERVIEW = "overview"
STOPPED = "stopped; training that has begun is kept and goes on when this is run again"
LINES_EVERY = 30.0  # seconds


def training_arguments(made: argparse.ArgumentParser) -> None:
    """Add the arguments about training and testing."""
    add = made.add_argument
    add("--data-root", help="where the data are; mnist-* without it: digits of the package")
    add("--transform", help="move upright images, such as rotation:90, scaling:2, translation:8")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="a network is trained with each")
    add("--preset", default="quick", help="quick (minutes each) or paper (150,000 steps each)")
    add("--set", nargs="+", metavar="FIELD=VALUE", help="other values for fields of the recipe")
    add("--width", type=float, help="fraction of the filters and units; default: all")
    add("--network-arg", nargs="+", metavar="KEY=VALUE", help="other fields of the architecture")
    add("--number", type=int, help="training examples; default: all")
    add("--test-number", type=int, help="test examples; default: all")
    add("--passes", type=int, default=10, help="fresh passes over the test examples (default 10)")
    add("--test-seed", type=int, default=0, help="of the test passes and the bootstrap")
    add("--runs", type=Path, help="folder of the training runs; default: OUT/runs")


def recipes_of(asked: argparse.Namespace, data: Sequence[str]) -> dict[str, Recipe]:
    """The recipe for every data set, changed as asked."""
    from invariance_probe.console.reading import arguments
    from invariance_probe.errors import ProbeError
    from invariance_probe.training import preset

    if asked.passes < 1:
        raise ProbeError(f"--passes {asked.passes}: give at least 1")
    changes = arguments(asked.set, "--set", "learning_rate=0.02") or {}
    return {name: preset(asked.preset, name).changed(changes) for name in data}


def fields_of(asked: argparse.Namespace) -> dict[str, Any]:
    """Fields of the architectures, as asked."""
    from invariance_probe.console.reading import arguments

    given = arguments(asked.network_arg, "--network-arg", "reduction=1") or {}
    return {"width": asked.width, **given}


def examples_of(asked: argparse.Namespace, data: str) -> tuple[Examples, Examples]:
    """Training and test examples."""
    from invariance_probe.data.catalogue import load_examples

    train, test = (
        load_examples(
            data, root=asked.data_root, train=train, number=number, transform=asked.transform
        )
        for train, number in ((True, asked.number), (False, asked.test_number))
    )
    return train, test


def config_of(
    asked: argparse.Namespace, data: str, built: Architecture, recipe: Recipe
) -> TrainConfig:
    """How a network is trained."""
    from invariance_probe.training import TrainConfig

    seeds = tuple(asked.seeds)
    return TrainConfig(
        data, built, recipe, seeds, asked.preset, asked.data_root, asked.number, asked.transform
    )


def planned(
    asked: argparse.Namespace, **given: Any
) -> tuple[dict[str, tuple[TrainConfig, Examples]], dict[str, Examples]]:
    """What is to be trained, by "data/network", and test examples by data; checked before work.

    `given` are fields of the architectures.
    """
    from invariance_probe.networks import build_classifier
    from invariance_probe.training import architecture_for

    recipes = recipes_of(asked, asked.data)
    plans, tests = {}, {}
    for data in dict.fromkeys(asked.data):
        examples, tests[data] = examples_of(asked, data)
        for name in dict.fromkeys(asked.networks):
            built = architecture_for(name, data, examples, **{**given, **fields_of(asked)})
            build_classifier(built)  # depths beyond the backbone's are found now, not in hours
            config = config_of(asked, data, built, recipes[data])
            plans[f"{Path(data).name}/{built.name}"] = (config, examples)
    return plans, tests


def budget_of(asked: argparse.Namespace, one: TrainedRun) -> str:
    """How a run was trained, and fields of the networks that were asked for, in words."""
    from invariance_probe.training import training_budget

    said = training_budget(one)
    more = [word for word in asked.network_arg or () if word.partition("=")[0] not in said]
    return "; ".join([said, *more])


def trained(
    plans: Mapping[str, tuple[TrainConfig, Examples]],
    tests: Mapping[str, Examples],
    asked: argparse.Namespace,
) -> dict[str, TrainedRun]:
    """Train what is missing of all plans, each into the folder of its name; saved on Ctrl-C."""
    from invariance_probe.console.stopping import stopping
    from invariance_probe.training import train_run

    runs = {}
    with stopping(saving=True) as stop:
        for key, (config, examples) in plans.items():
            runs[key] = train_run(
                config, (asked.runs or asked.out / "runs") / key, examples=examples,
                test=tests[config.data], device=asked.device, resume=True, on_step=reporter(key),
                stop=stop,
            )  # fmt: skip
            if stop():
                raise KeyboardInterrupt
    return runs


def errors_of(
    key: str, trained: TrainedRun, test: Examples, asked: argparse.Namespace
) -> pd.DataFrame:
    """Errors of a run by seed and pass, with its name and the parameters of its network."""
    from invariance_probe.training.runs.errors import evaluate_run

    print(f"{key}: testing {len(trained.networks)} networks", flush=True)
    found = evaluate_run(
        trained, test, passes=asked.passes, seed=asked.test_seed, device=asked.device
    )
    one = next(iter(trained.networks.values()))
    return found.assign(run=key, parameters=sum(p.numel() for p in one.parameters()))


def measured(
    runs: Mapping[str, TrainedRun], tests: Mapping[str, Examples], asked: argparse.Namespace
) -> tuple[pd.DataFrame, pd.DataFrame | None, dict[str, dict[int, pd.DataFrame]]]:
    """Errors of all runs, pose statistics where there are poses, and the poses by run and seed."""
    import pandas as pd

    from invariance_probe.training.poses.runs import run_pose_statistics, run_poses

    errors, statistics, poses = [], [], {}
    for key, one in runs.items():
        test = tests[one.config.data]
        errors.append(errors_of(key, one, test, asked))
        if has_poses(one, test):
            poses[key] = run_poses(
                one, test, passes=asked.passes, seed=asked.test_seed, device=asked.device
            )
            statistics.append(run_pose_statistics(poses[key], key, seed=asked.test_seed))
    return pd.concat(errors), pd.concat(statistics) if statistics else None, poses


def has_poses(one: TrainedRun, test: Examples) -> bool:
    """Whether a pose is known for the images and for what the network does to them."""
    from invariance_probe.training.poses.poses import poses_known

    return poses_known(one.config.architecture, test)


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


def pose_figures(
    shown: Mapping[str, tuple[TrainedRun, Mapping[int, pd.DataFrame]]],
    examples: Examples,
    *,
    seed: int = 0,
    width: float | None = None,
) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of runs by label: poses per kind, aligned images, class means.

    Each run, with its tables of poses by seed, is shown by its first seed.
    """
    from invariance_probe.reporting import plot_aligned, plot_class_means, plot_pose_histogram
    from invariance_probe.training.poses.statistics import varied_kinds

    if not shown:
        return
    tables = {label: next(iter(own.values())) for label, (_, own) in shown.items()}
    varied = varied_kinds(next(iter(tables.values())))
    for kind in varied:
        if kind not in ("translation_x", "translation_y") or "translation" not in varied:
            yield f"poses_{kind}", plot_pose_histogram(tables, kind, width=width)
    networks = {label: trained.networks[next(iter(own))] for label, (trained, own) in shown.items()}
    yield "aligned", plot_aligned(networks, examples, seed=seed, width=width)
    yield "class_means", plot_class_means(networks, examples, seed=seed, width=width)


def provenance(
    asked: argparse.Namespace, command: str, runs: Mapping[str, TrainedRun]
) -> dict[str, Any]:
    """How the runs were tested, what each was and what came of it, for JSON."""
    from invariance_probe.probing.provenance import environment

    about = {"command": command, "passes": asked.passes, "seed": asked.test_seed}
    about["environment"] = environment(asked.device)
    return about | {"runs": {key: run_provenance(one) for key, one in runs.items()}}


def run_provenance(trained: TrainedRun) -> dict[str, Any]:
    """What a training run was and what came of it, for JSON."""
    from invariance_probe.probing.provenance import state_sha256

    about = next(iter(trained.metadata.values()))
    return {
        "config": trained.config.as_dict(),
        "data": about["data"],
        "torch": about["torch"],
        "state_sha256": {str(s): state_sha256(net) for s, net in trained.networks.items()},
    }
