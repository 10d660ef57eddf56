"""Runs on disk: one network per seed, its weights, history and configuration, in one folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..._limits import is_real, quoted
from ..._version import __version__
from ...data.catalogue import load_examples
from ...data.examples.examples import Examples
from ...errors import ProbeError, one_line
from ...networks import build_classifier
from ...networks.stn.architecture import Architecture
from ...networks.stn.trained import KIND
from ...networks.weights.load import load_checkpoint, metadata
from ...running.files import Unreadable, is_part, read_bytes, write_atomically
from ...running.folders import check_place
from ...running.plots import Plots, as_html
from ...running.processes import Group, processes
from ...running.snapshots import differences, save_tensors
from ..checks import check_fits
from ..history import Progress, Row, check_history, check_installed
from ..loop import train
from .config import TrainConfig
from .places import Place

CONFIG, MODEL, HISTORY, PROGRESS = (
    "config.json", "model.safetensors", "history.csv", "progress.safetensors",
)  # fmt: skip
_RUN = "invariance_probe training run"
_OF_SEED = {MODEL, HISTORY, PROGRESS}


@dataclass(frozen=True)
class TrainedRun:
    """What a run folder holds: configuration and, by seed, networks in evaluation mode.

    `metadata` is that of the checkpoints, by seed: normalisation, data and recipe as text.
    """

    folder: Path
    config: TrainConfig
    networks: Mapping[int, nn.Module]
    metadata: Mapping[int, Mapping[str, str]]

    plot = Plots()
    """The figures of this run: ``run.plot.history()`` is ``plot_history(run)``."""

    def history(self, seed: int) -> pd.DataFrame:
        """The history of a seed, a row per interval, as `Row` has it."""
        path = seed_folder(self.folder, seed) / HISTORY
        try:
            table = pd.read_csv(BytesIO(read_bytes(path)))
            check_history(table)
            return table
        except FileNotFoundError:
            raise ProbeError(
                f"seed {seed} of '{self.folder}' has no history; train it again to have one"
            ) from None
        except Unreadable:
            raise
        except ValueError as error:
            raise ProbeError(
                f"'{path}' is no history of training ({one_line(error)}); train that seed again"
            ) from None

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel that the networks were trained with."""
        first = next(iter(self.metadata.values()))
        return _numbers(first, "mean"), _numbers(first, "std")

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, self.networks))
        return f"TrainedRun({self.config.architecture.name} on {self.config.data}, seeds {seeds})"

    def _repr_html_(self) -> str:
        def table() -> pd.DataFrame:
            last = {f"seed {seed}": self.history(seed).iloc[-1] for seed in self.networks}
            return pd.DataFrame(last).T.convert_dtypes()

        return as_html(self, f"Where training ended, from {self.folder}.", table, "{:.4g}")


def train_run(
    config: TrainConfig,
    out: str | Path,
    *,
    examples: Examples | None = None,
    test: Examples | None = None,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    save_every: float | None = 60.0,
    save_every_steps: int | None = None,
    on_seed: Callable[[int, Row | None], None] | None = None,
    on_step: Callable[[int, Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    tensorboard: str | Path | None = None,
) -> TrainedRun:
    """Train one network per seed into a folder, and return them.

    The folder gets config.json and, per seed, seed_N/model.safetensors and seed_N/history.csv; a
    seed that is being trained has seed_N/progress.safetensors instead. With `resume` finished seeds
    are kept and an unfinished one goes on to the same bits; more seeds may be asked for than
    before, and a folder that is not there is begun. `overwrite` replaces a run, which stays
    until the first state of the new one is whole. `on_seed` gets each
    seed when it begins, and with its last row when it ends; `on_step` and `stop` are those of
    `train`. Under torchrun all processes call this together. `examples` and `test`, where they are
    loaded already, are those that the configuration names.

    Raises ProbeError for a folder that holds something else, for a run to be resumed that was
    configured differently (with what differs), and as `load_examples` and `train`.
    """
    folder = Path(out)
    if tensorboard is not None:
        check_installed()
    with processes(device) as (group, device_here), ExitStack() as held:
        place = Place(folder)

        def take() -> bool:
            nonlocal place
            check_run_place(folder, resume=resume, overwrite=overwrite)
            if resume:
                _check_same(folder, config)
            place = held.enter_context(Place.held(folder))
            return True

        group.from_main(take)
        examples = examples or run_examples(config, train=True)
        test = test or run_examples(config, train=False)
        check_fits(build_classifier(config.architecture, seed=config.seeds[0]), examples)
        group.from_main(lambda: _begin(place, config, examples, resume))
        for seed in config.seeds:
            if group.from_main(lambda seed=seed: (seed_folder(place.now, seed) / MODEL).exists()):  # type: ignore[misc]
                continue
            board = None if tensorboard is None else Path(tensorboard) / f"seed_{seed}"
            if on_seed is not None:
                on_seed(seed, None)
            network = build_classifier(config.architecture, seed=seed).to(device_here)
            history = train(
                network, examples, replace(config.recipe, seed=seed), test=test,
                progress_file=seed_folder(place.now, seed) / PROGRESS, save_every=save_every,
                save_every_steps=save_every_steps, stop=stop, tensorboard=board,
                on_step=None if on_step is None else partial(on_step, seed),
                on_saved=place.saved,
            )  # fmt: skip
            _write_seed(folder, config, seed, network, history, examples, group)
            if on_seed is not None:
                on_seed(seed, history[-1])
        # The first process reads for all: others may be on machines that do not have the folder.
        return group.from_main(lambda: load_run(folder))


def load_run(folder: str | Path) -> TrainedRun:
    """Return the finished seeds of a run folder.

    Raises ProbeError for a folder without a run, one of which no seed is finished, and for
    checkpoints of other networks.
    """
    folder = Path(folder)
    config = _stored(folder)
    networks, described = {}, {}
    for seed in config.seeds:
        path = seed_folder(folder, seed) / MODEL
        if not path.exists():
            continue
        about = metadata(path)
        _check_checkpoint(path, about, config)
        network = build_classifier(config.architecture, seed=seed)
        load_checkpoint(network, path)
        networks[seed], described[seed] = network.eval(), about
    if not networks:
        raise ProbeError(f"no seed of the run in '{folder}' is finished; go on with it (--resume)")
    return TrainedRun(folder, config, networks, described)


def run_examples(config: TrainConfig, *, train: bool) -> Examples:
    """Return the examples that a run is trained on, or all those that it is tested on."""
    number = config.number if train else None
    return load_examples(
        config.data, root=config.data_root, train=train, number=number,
        canvas=config.canvas, transform=config.transform,
    )  # fmt: skip


def run_config(folder: str | Path) -> TrainConfig:
    """Return the configuration of a run folder, finished or not; ProbeError where none is."""
    return _stored(Path(folder))


def seed_folder(folder: str | Path, seed: int) -> Path:
    """Return where a seed of a run is."""
    return Path(folder) / f"seed_{seed}"


def _numbers(about: Mapping[str, str], name: str) -> tuple[float, ...]:
    """The finite numbers, one per channel, that a checkpoint's metadata holds under a name."""
    try:
        values = json.loads(about.get(name, ""))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(is_real(v, -math.inf, math.inf) for v in values):
        raise ProbeError(
            f"{name}={quoted(about.get(name))} of a checkpoint is no list of finite numbers; train "
            "that seed again"
        )
    return tuple(values)


def _check_checkpoint(path: Path, about: Mapping[str, str], config: TrainConfig) -> None:
    try:
        stated = json.loads(about.get("architecture", ""))
    except (ValueError, RecursionError):
        stated = None
    if about.get("kind") != KIND or not isinstance(stated, dict):
        raise ProbeError(f"'{path}' is no classifier of a training run; train that seed again")
    # A field that architectures did not have when it was written has its default.
    changed = differences(config.architecture.as_dict(), {**Architecture().as_dict(), **stated})
    if changed:
        raise ProbeError(
            f"'{path}' is the checkpoint of another network ({changed}); put the run's own there, "
            "or train that seed again"
        )


def check_run_place(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that cannot become a run, or hold the one to go on with.

    Raises ProbeError.
    """
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"'{folder}' is a file; name a folder for the run")
    check_place(folder)
    held = _entries(folder)
    if not held:
        return
    if not (folder / CONFIG).is_file():
        raise ProbeError(
            f"'{folder}' holds files that are no training run ({held[0]}, ...) and is left alone; "
            "name another folder"
        )
    if overwrite and held == [CONFIG]:
        return  # begun and no more, perhaps cut off while it was written
    stored = _stored(folder)
    if resume:
        return
    if not overwrite:
        raise ProbeError(
            f"'{folder}' already holds a run, which is kept; go on with it (--resume), replace it "
            "(--overwrite), or name another folder"
        )
    known = {CONFIG} | {seed_folder(folder, seed).name for seed in stored.seeds}
    inside = {
        p.name
        for seed in stored.seeds
        for p in seed_folder(folder, seed).glob("*")
        if not is_part(p.name, _OF_SEED)
    }
    others = sorted((set(held) - known) | (inside - _OF_SEED))
    if others:
        raise ProbeError(
            f"'{folder}' holds more than a run ({others[0]}, ...) and is not replaced; "
            "name another folder"
        )


def _check_same(folder: Path, config: TrainConfig) -> None:
    """Refuse to go on with a run that is not the one asked for; more seeds are no other run."""
    if not (folder / CONFIG).is_file():
        return  # it is begun
    stored = _stored(folder)
    more = set(stored.seeds) <= set(config.seeds)
    same = replace(config, seeds=stored.seeds) if more else config
    if changed := differences(stored.as_dict(), same.as_dict()):
        raise ProbeError(
            f"the run in '{folder}' was configured differently ({changed}); resume it with its "
            "own options, or name another folder"
        )


def _entries(folder: Path) -> list[str]:
    """What a folder holds, but for a configuration whose writing was cut off."""
    if not folder.exists():
        return []
    return sorted(e.name for e in folder.iterdir() if not is_part(e.name, [CONFIG]))


def _begin(place: Place, config: TrainConfig, examples: Examples, resume: bool) -> None:
    """Write the configuration; that of a run which replaces another, beside it."""
    content = {
        "kind": _RUN,
        "config": config.as_dict(),
        "examples": {
            "description": examples.description,
            "number": len(examples),
            "sha256": examples.sha256,
        },
        "software": {"invariance_probe": __version__, "torch": torch.__version__},
    }
    held = (place.folder / CONFIG).exists()
    if held and not resume:
        place.begin_beside(lambda: check_run_place(place.folder, resume=False, overwrite=True))
    if not held or not resume or _stored(place.folder) != config:
        write_atomically(place.now / CONFIG, (json.dumps(content, indent=2) + "\n").encode())


def _stored(folder: Path) -> TrainConfig:
    """The configuration of a run folder, or ProbeError."""
    path = folder / CONFIG
    try:
        content = json.loads(read_bytes(path))
        if content["kind"] != _RUN:
            raise ValueError("another kind of file")
        values = content["config"]
    except FileNotFoundError:
        raise ProbeError(f"no training run in '{folder}' (no {CONFIG}); train one first") from None
    except Unreadable:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProbeError(
            f"'{path}' describes no training run ({error}); remove that folder, or name another"
        ) from None
    return TrainConfig.from_dict(values)


def _write_seed(
    folder: Path,
    config: TrainConfig,
    seed: int,
    network: nn.Module,
    history: tuple[Row, ...],
    examples: Examples,
    group: Group,
) -> None:
    """Write what a finished seed leaves; the weights come last, they mark it finished."""

    def write() -> None:
        place = seed_folder(folder, seed)
        table = pd.DataFrame([asdict(row) for row in history])
        text = table.to_csv(index=False, lineterminator="\n")
        write_atomically(place / HISTORY, text.encode())
        # No times in the checkpoint: the same run gives the same file.
        about: dict[str, Any] = {
            "architecture": config.architecture.as_dict(),
            "mean": list(examples.mean),
            "std": list(examples.std),
            "canvas": list(examples.canvas),
            "channels": examples.channels,
            "classes": examples.classes,
            "positions": examples.positions,
            "recipe": replace(config.recipe, seed=seed).as_dict(),
            "seed": seed,
            "test_error": history[-1].test_error,
        }
        described = {name: json.dumps(value, sort_keys=True) for name, value in about.items()}
        described |= {
            "kind": KIND,
            "data_name": config.data,
            "data": examples.description,
            "torch": torch.__version__,
        }
        save_tensors(place / MODEL, network.state_dict(), described)
        (place / PROGRESS).unlink(missing_ok=True)

    group.from_main(write)
