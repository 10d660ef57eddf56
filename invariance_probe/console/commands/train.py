"""The commands `train` and `evaluate`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ProbeError
from .. import ending, machine, reading, talk, writing
from ..stopping import stopping

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from ...data.examples.examples import Examples
    from ...training import Progress, TrainConfig, TrainedRun

_FEW, _FEW_TESTS = 200, 100  # images
_POSES = ("rotation", "scaling", "translation")  # x and y of a shift together
_LESS = "(fewer --seeds, --number or --set iterations=N take less; Ctrl-C saves)"
NETWORKS = "CNN, STN-C0, STN-C1 or STN-SL1"


def train(
    network: str | None,
    out: Path,
    *,
    architecture: dict[str, Any],
    settings: Sequence[str] | None,
    seeds: str | None,
    device: str | None,
    resume: bool,
    overwrite: bool,
    tensorboard: Path | None,
    trust: bool,
    **given: Any,
) -> None:
    """Train what the options say; `given` are data and how it is taken, preset and number."""
    if resume and overwrite:
        raise ProbeError("--resume keeps the run and --overwrite replaces it; give one of them")
    changes = reading.arguments(settings, "--set", "learning_rate=0.02")
    chosen = reading.whole_numbers("--seeds", seeds)
    named = {**given, "set": changes, "seeds": chosen, **architecture}
    used = [f"--{name.replace('_', '-')}" for name, value in named.items() if value is not None]
    if network is None and not resume:
        raise ProbeError(f"no network is named; give one, such as {NETWORKS}, or --resume a run")
    if network is None and used:
        raise ProbeError(
            f"{used[0]} without a network: a run that is resumed has its own options; "
            "omit it, or give the whole command again"
        )
    place = device or "cpu"
    reading.check_device(place)
    from ...data.catalogue import example_names
    from ...running.folders import check_place
    from ...training import TrainConfig, architecture_for, preset, train_run
    from ...training.runs.config import check_trusted_data
    from ...training.runs.trained_run import check_run_place, run_config, run_examples

    if talk.main():  # other processes may not see its folder, or see it begun
        check_run_place(out, resume=resume, overwrite=overwrite)
        if tensorboard is not None:
            check_place(tensorboard)
    examples = test = None
    if network is None:
        config = run_config(out)
        check_trusted_data(config, trust, out)
    else:
        data, name = given["data"] or "mnist-r", given["preset"] or "quick"
        if data.lower() not in example_names():
            writing.check_apart(out, data)
        root = given["data_root"]
        recipe = preset(name, data).changed(changes or {})
        from ...networks import Architecture

        config = TrainConfig(
            data, Architecture(), recipe, chosen or (0,), name,
            None if root is None else str(root), given["number"], given["transform"],
            given["canvas"],
        )  # fmt: skip
        with _main_only("reading the data"):
            examples, test = (run_examples(config, train=part) for part in (True, False))
        built = architecture_for(network, data, examples, **architecture)
        config = TrainConfig.from_dict({**config.as_dict(), "architecture": built.as_dict()})
        if talk.main():
            _announced(config, examples, test)
    older = _stamp(out)
    title = f"training {config.architecture.name} on {config.data}"
    try:
        with (
            stopping(alone=True, saving=True) as stop,
            _main_only(title, 44, talk.LINES_EVERY) as report,
        ):
            tell = talk.announcing(report, "steps", _LESS)
            run = train_run(
                config, out, examples=examples, test=test, device=place, resume=resume,
                overwrite=overwrite, on_step=_shown(config, tell), stop=stop,
                tensorboard=tensorboard,
            )  # fmt: skip
    except KeyboardInterrupt as stopped:
        if overwrite and older is not None and older == _stamp(out):
            stopped.args = (f"the older run in {out} is kept",)
        elif (out / "config.json").exists():
            allowed = " --trust" * bool(config.files)
            again = f"train --resume --out {shlex.quote(str(out))}{allowed}"
            stopped.args = (f"go on with: invariance-probe {again}",)
        raise
    if not talk.main():
        return
    ending.written.append(out)
    errors = {seed: float(about["test_error"]) for seed, about in run.metadata.items()}
    for seed, error in errors.items():
        talk.say(f"seed {seed}: test error {100 * error:.2f} % (one pass)")
    machine.dump({"folder": out, "test_error": errors})
    talk.say(f"networks and history: {out}", "bold")


def _announced(config: TrainConfig, examples: Examples, test: Examples) -> None:
    """Say what is trained on what, and what that leaves out."""
    from ...training.poses.poses import poses_known

    built = config.architecture
    size = "x".join(map(str, examples.canvas))
    channels = "1 channel" if examples.channels == 1 else f"{examples.channels} channels"
    talk.say(f"{examples.description}; {len(test):,} for testing")
    talk.say(f"canvas {size}, {channels}, {examples.classes} classes; backbone {built.backbone}")
    if len(examples) < _FEW or len(test) < _FEW_TESTS:
        reach = 100 / len(test) ** 0.5
        talk.hint(
            f"{len(examples)} images to train on and {len(test)} to test on are few: errors are "
            f"known to about {reach:.0f} points of 100, and the network may learn its images by "
            "heart"
        )
    if built.kind is not None and not poses_known(built, test):
        talk.hint(
            "no transformation of these images is known, so that poses cannot be measured; "
            "upright ones are turned by --transform rotation:90"
        )


def _stamp(out: Path) -> int | None:
    """By what a run folder is told from the one that takes its place; None where none is."""
    try:
        return out.stat().st_ino
    except OSError:
        return None


def evaluate(
    runs: Sequence[Path],
    *,
    passes: int,
    data: str | None,
    data_root: Path | None,
    number: int | None,
    seed: int,
    batch_size: int | None,
    device: str | None,
    out: Path | None,
    figures: Path | None,
    font: str | None,
    source: bool,
    overwrite: bool,
    trust: bool,
) -> None:
    """Measure the errors of runs, print them and write the table and the figures."""
    from ...running.folders import check_file, check_flat

    if out is not None:
        check_file(out, overwrite=overwrite)
    if figures is not None:
        check_flat(figures)
    place = device or "cpu"
    reading.check_device(place)
    import pandas as pd

    from ...data.catalogue import example_names, load_examples
    from ...data.distortions import moved
    from ...reporting.tables.escaping import guarded
    from ...running.files import write_atomically
    from ...training import load_run
    from ...training.runs.config import check_trusted_data
    from ...training.runs.errors import evaluate_run, summarise_errors

    loaded = [load_run(folder) for folder in dict.fromkeys(runs)]
    for run in loaded:
        if data is None:
            check_trusted_data(run.config, trust, run.folder, data_root)
    total = sum(len(run.networks) for run in loaded)
    tables: list[pd.DataFrame] = []
    drawn: list[tuple[TrainedRun, Examples]] = []
    once: dict[str, str] = {}
    done = 0
    with talk.progress("evaluating", 44) as report:
        for run in loaded:
            name = data or run.config.data
            root = data_root if data_root is not None or data else run.config.data_root
            report(done, total, f"{run.folder}: reading the data")
            config = run.config
            examples = load_examples(
                name, root=root, train=False, number=number,
                canvas=None if name.lower() in example_names() else config.canvas,
            )  # fmt: skip
            if config.transform is not None and not examples.fresh:
                examples = moved(examples, config.transform)
            if figures is not None:
                drawn.append((run, examples))
            if passes > 1 and not examples.fresh:
                once[name] = f"{name}: images are the same in every pass, so that one is measured"

            def on_seed(seed: int, folder: Path = run.folder) -> None:
                nonlocal done
                done += 1
                report(done, total, f"{folder}: seed {seed}")

            measured = evaluate_run(
                run, examples, data=name, passes=passes, seed=seed, batch_size=batch_size,
                device=place, on_seed=on_seed,
            )  # fmt: skip
            tables.append(measured)
    for line in once.values():
        talk.hint(line)
    table = pd.concat(tables, ignore_index=True)
    summary = summarise_errors(table)
    talk.out().print(_errors(summary))
    machine.dump({"summary": summary, "passes": table})
    if out is not None:  # last: a disk that is full by now leaves what is printed
        text = guarded(table).to_csv(index=False, lineterminator="\n")
        write_atomically(out, text.encode())
        ending.written.append(out)
        talk.say(f"table: {out}", "bold")
    if figures is not None:
        with writing.figure_look(font, source):
            _draw(drawn, figures, passes, seed, batch_size, place)
        talk.say(f"figures: {figures}", "bold")


def _draw(
    runs: Sequence[tuple[TrainedRun, Examples]],
    folder: Path,
    passes: int,
    seed: int,
    batch_size: int | None,
    device: str,
) -> None:
    """Figures of every run: how training went and, where they are known, poses by kind."""
    from ...reporting import plot_history, plot_pose_histogram, write_figure
    from ...running.folders import added_files
    from ...training.poses.poses import poses_known
    from ...training.poses.runs import run_poses
    from ...training.poses.statistics import varied_kinds

    with added_files(folder) as place, talk.progress("drawing", 44) as report:
        for done, (run, examples) in enumerate(runs):
            report(done, len(runs), str(run.folder))
            name = run.folder.name or "run"
            if len({one.folder.name for one, _ in runs}) < len(runs):
                name = f"{done + 1}_{name}"
            write_figure(plot_history(run), place / f"{name}_history.png")
            if run.config.architecture.kind is None:
                continue
            if not poses_known(run.config.architecture, examples):
                talk.hint(f"{run.folder}: how images are transformed is not known, so no poses")
                continue
            tables = run_poses(
                run, examples, passes=passes, seed=seed, batch_size=batch_size, device=device
            )
            named = {f"seed {number}": table for number, table in tables.items()}
            varied = varied_kinds(next(iter(tables.values())))
            for kind in (kind for kind in _POSES if kind in varied):
                figure = plot_pose_histogram(named, kind)
                write_figure(figure, place / f"{name}_poses_{kind}.png")
    ending.written.append(folder)


def _errors(summary: pd.DataFrame) -> Table:
    """The errors of runs in percent, a row each."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    names = (
        "run",
        "network",
        "data",
        "seeds",
        "passes",
        "error %",
        "sd of\nseeds",
        "sd of\npasses",
    )
    columns = [Column(name, overflow="fold", justify="right") for name in names]
    for column in columns[:3]:
        column.justify = "left"
    table = Table(
        *columns, title="Test errors", title_justify="left", title_style="bold",
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for row in summary.to_dict("records"):
        shown = [
            "–" if row[name] != row[name] else f"{100 * row[name]:.2f}"
            for name in ("error", "sd_seeds", "sd_passes")
        ]
        words = [str(row[name]) for name in ("run", "network", "data", "seeds", "passes")]
        table.add_row(*(Text(word) for word in (*words, *shown)))
    return table


def _shown(config: TrainConfig, report: talk.Report) -> Callable[[int, Progress], None]:
    """What the bar shows of a step: seeds one after the other, as one piece of work."""

    def on_step(seed: int, at: Progress) -> None:
        before = config.seeds.index(seed) * at.steps
        text = f"seed {seed} loss {at.loss:.3f} {at.accuracy:.1%} {at.images_per_second:,.0f} img/s"
        if not talk.err().is_terminal:
            text += f", {talk.duration(at.seconds_left)} left for this seed"
        report(before + at.step, len(config.seeds) * at.steps, text)

    return on_step


def _main_only(title: str, width: int = 30, lines_every: float = float("inf")) -> Any:
    """The progress of the process that talks; nothing in the others."""
    if talk.main():
        return talk.progress(title, width, lines_every)
    return nullcontext(lambda done, total, text: None)
