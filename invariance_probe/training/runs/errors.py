"""Errors of trained runs as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ...data.examples.examples import Examples
from ...running.devices import find_device
from ..passes import evaluate_passes
from .trained_run import TrainedRun, run_examples


def evaluate_run(
    run: TrainedRun,
    examples: Examples | None = None,
    *,
    data: str | None = None,
    passes: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "cpu",
    on_seed: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Return the errors of a run's networks, a row per seed and pass.

    Columns: run (its folder), network, data, seed, pass (from 1), error (in [0, 1]), loss, number.
    All networks see the same passes, normalised as they were trained. Without `examples` these are
    the test examples of the run's own data; `data` is what the column says.
    `on_seed` gets each seed when it is done.

    Raises ProbeError as `evaluate_passes`.
    """
    examples = run_examples(run.config, train=False) if examples is None else examples
    mean, std = run.normalisation
    place = find_device(device)
    tables = []
    for trained, network in run.networks.items():
        result = evaluate_passes(
            network.to(place), examples, passes, seed=seed, batch_size=batch_size, mean=mean,
            std=std,
        )  # fmt: skip
        table = result.table()
        about = {
            "run": str(run.folder),
            "network": run.config.architecture.name,
            "data": data or run.config.data,
            "seed": trained,
        }
        for column, (name, value) in enumerate(about.items()):
            table.insert(column, name, value)
        tables.append(table)
        if on_seed is not None:
            on_seed(trained)
    return pd.concat(tables, ignore_index=True)


def summarise_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run of a table of `evaluate_run`: mean error and its spread.

    Columns: run, network, data, seeds, passes, number, error (mean over seeds and passes),
    error_low and error_high (95 % interval of the mean over seeds, Student's t; nan for one seed),
    sd_seeds (of the seeds' means, n - 1; nan for one seed), sd_passes (over passes, pooled over
    seeds, n - 1; nan for one pass).
    """
    rows = []
    for (run, network, data), group in table.groupby(["run", "network", "data"], sort=False):
        by_seed = group.groupby("seed")["error"]
        mean, sd = float(by_seed.mean().mean()), float(by_seed.mean().std())
        seeds = by_seed.ngroups
        reach = float(stdtrit(seeds - 1, 0.975)) * sd / seeds**0.5 if seeds > 1 else np.nan
        rows.append(
            {
                "run": run,
                "network": network,
                "data": data,
                "seeds": seeds,
                "passes": int(by_seed.size().max()),
                "number": int(group["number"].iloc[0]),
                "error": mean,
                "error_low": mean - reach,
                "error_high": mean + reach,
                "sd_seeds": sd,
                "sd_passes": float(by_seed.var().mean()) ** 0.5,
            }
        )
    return pd.DataFrame(rows)


def evaluate_runs(runs: Iterable[TrainedRun], passes: int = 10, seed: int = 0) -> pd.DataFrame:
    """Return the tables of several runs below each other, each on its own test examples."""
    return pd.concat([evaluate_run(run, passes=passes, seed=seed) for run in runs])
