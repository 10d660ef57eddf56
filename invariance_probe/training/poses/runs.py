"""Poses that the networks of a training run give to its test examples."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...data.examples.examples import Examples
from ...errors import ProbeError
from ...running.devices import find_device
from ..checks import check_fits
from ..runs.trained_run import TrainedRun, run_examples
from .poses import collect_poses
from .statistics import pose_statistics


def run_poses(
    run: TrainedRun,
    examples: Examples | None = None,
    *,
    passes: int = 1,
    seed: int = 0,
    step: int = -1,
    batch_size: int | None = None,
    device: str = "cpu",
) -> dict[int, pd.DataFrame]:
    """Return the poses of every network of a run, by its seed, as `collect_poses` gives them.

    All networks see the same passes, those of `evaluate_run` with the same `seed`. Without
    `examples` these are the test examples of the run's own data. The networks are left on `device`.

    Raises ProbeError as `collect_poses`, for examples normalised otherwise than those that the run
    was trained on, and for ones that its networks do not take.
    """
    examples = run_examples(run.config, train=False) if examples is None else examples
    mean, std = run.normalisation
    if (tuple(examples.mean), tuple(examples.std)) != (mean, std):
        raise ProbeError(
            f"'{run.folder}' was trained on images normalised by {mean}, {std}, not by "
            f"{tuple(examples.mean)}, {tuple(examples.std)} as {examples.description}; "
            "give examples of the same kind"
        )
    place = find_device(device)
    examples, found = examples.to(place), {}
    for trained, network in run.networks.items():
        check_fits(network.to(place), examples)
        found[trained] = collect_poses(
            network, examples, passes, seed, batch_size=batch_size, step=step
        )
    return found


def run_pose_statistics(tables: dict[int, pd.DataFrame], run: str, **options: Any) -> pd.DataFrame:
    """Return the rows of `pose_statistics` of all seeds of a run, after columns `run` and `seed`.

    `tables` are those of `run_poses`; `options` go to `pose_statistics`.
    """
    rows = []
    for trained, table in tables.items():
        part = pose_statistics(table, **options)
        part.insert(0, "seed", trained)
        part.insert(0, "run", run)
        rows.append(part)
    return pd.concat(rows, ignore_index=True)
