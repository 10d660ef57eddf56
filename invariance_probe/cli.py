"""The command line, thin over the package.

PyTorch and the plotting libraries are imported inside the commands, so that help is immediate.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ._version import __version__
from .console import ending, machine, reading, signals, talk
from .console import options as opt
from .console import training_options as learn
from .console import trust_options as allow
from .console.commands import animate as animating
from .console.commands import compare as comparing
from .console.commands import demo as demonstrating
from .console.commands import plot as plotting
from .console.commands import probe as probing
from .console.commands import report as reporting
from .console.commands import train as training

app = typer.Typer(
    cls=ending.Commands,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        talk.say(f"invariance-probe {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", callback=reporting.bibtex, is_eager=True, help="Citation.")
    ] = False,
) -> None:
    """Measure whether a spatial transformation can align the feature maps of a CNN."""


@app.command()
def demo(
    out: opt.Out = Path("demo-out"),
    number: Annotated[int, typer.Option(metavar="N", help="How many digits.")] = 160,
    seed: Annotated[int, typer.Option(help="Of the draw of digits and their split.")] = 0,
    resume: opt.GoOn = False,
    overwrite: opt.Overwrite = False,
    wide: opt.Wide = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: opt.Json = False,
) -> None:
    """Probe the embedded network on the embedded digits, and write one page about it."""
    demonstrating.demo(
        out, number=number, seed=seed, resume=resume, overwrite=overwrite, wide=wide, show=show
    )


@app.command(cls=reading.Grouped)
def probe(
    out: opt.Out,
    network: opt.Network = None,
    checkpoint: opt.Checkpoint = None,
    checkpoint_entry: opt.CheckpointEntry = None,
    checkpoint_prefix: opt.CheckpointPrefix = None,
    allow_partial: opt.AllowPartial = False,
    by_order: opt.ByOrder = False,
    network_arg: opt.NetworkArg = None,
    layers: opt.Layers = None,
    transforms: opt.Transforms = None,
    images: opt.Images = None,
    data_root: opt.DataRoot = None,
    train: opt.Train = None,
    number: opt.Number = None,
    image_channels: opt.ImageChannels = None,
    skip_damaged: opt.SkipDamaged = False,
    workers: opt.Workers = None,
    canvas: opt.Canvas = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    weighting: opt.Weighting = None,
    map_interpolation: opt.Interpolation = None,
    image_interpolation: opt.Interpolation = None,
    family: opt.Family = None,
    least_coverage: opt.LeastCoverage = None,
    channel_maps: opt.ChannelMaps = None,
    ledger: opt.Ledger = None,
    per_image: opt.PerImage = None,
    erode: opt.Erode = None,
    batch_size: opt.BatchSize = None,
    precision: opt.Precision = None,
    memory: opt.Memory = None,
    impure: opt.Impure = None,
    dense: opt.Dense = None,
    resamples: opt.Resamples = None,
    seed: opt.Seed = None,
    device: opt.Device = None,
    config: opt.Config = None,
    figures: opt.Figures = True,
    resume: opt.GoOn = False,
    overwrite: opt.Overwrite = False,
    save_every: opt.SaveEvery = 60.0,
    trust: allow.Trust = False,
    json: opt.Json = False,
) -> None:
    """Probe a network on images; write tables and figures."""
    given = {
        "network": network, "checkpoint": _text(checkpoint), "checkpoint_entry": checkpoint_entry,
        "checkpoint_prefix": checkpoint_prefix, "allow_partial": allow_partial or None,
        "by_order": by_order or None, "arguments": reading.arguments(network_arg),
        "layers": reading.words(layers),
        "transforms": " ".join(transforms) if transforms else None,
        "images": images, "data_root": _text(data_root), "train": train, "number": number,
        "image_channels": image_channels, "skip_damaged": skip_damaged or None, "workers": workers,
        "canvas": reading.canvas_size(canvas), "mean": reading.numbers("--mean", mean),
        "std": reading.numbers("--std", std), "device": device,
    }  # fmt: skip
    options = {
        "weighting": weighting, "map_interpolation": map_interpolation,
        "image_interpolation": image_interpolation, "family": family,
        "least_coverage": least_coverage, "channels": channel_maps, "ledger": ledger,
        "per_image": per_image, "erode": reading.pixels(erode),
        "batch_size": reading.count(batch_size), "precision": precision, "memory": memory,
        "impure": impure, "dense": reading.count(dense), "resamples": resamples, "seed": seed,
    }  # fmt: skip
    probing.probe(
        out, given, options, config=config, figures=figures, resume=resume, overwrite=overwrite,
        save_every=save_every, trust=trust,
    )  # fmt: skip


@app.command("layers", cls=reading.Greedy)
def show_layers(
    network: opt.Network = None,
    checkpoint: opt.Checkpoint = None,
    checkpoint_entry: opt.CheckpointEntry = None,
    checkpoint_prefix: opt.CheckpointPrefix = None,
    allow_partial: opt.AllowPartial = False,
    by_order: opt.ByOrder = False,
    network_arg: opt.NetworkArg = None,
    image_channels: opt.InputChannels = None,
    canvas: opt.Canvas = None,
    layers: opt.ListedLayers = None,
    everything: opt.AllLayers = False,
    json: opt.Json = False,
) -> None:
    """List the layers of a network and where their cells sit."""
    from .console.commands import layers as layer_tables
    from .networks import build_network

    with talk.progress("measuring") as report:
        built = build_network(
            network or "mnist_cnn",
            checkpoint=_text(checkpoint),
            checkpoint_entry=checkpoint_entry,
            checkpoint_prefix=checkpoint_prefix,
            allow_partial=allow_partial,
            by_order=by_order,
            **reading.of_factory(network_arg),
        )
        if image_channels is not None:
            built = replace(built, channels=image_channels)
        size = reading.canvas_size(canvas) or built.canvas
        shown = layer_tables.layers(
            built, size, reading.words(layers), everything or json, report, talk.out().width
        )
    talk.out().print(shown.table)
    notes = [*layer_tables.about(built, reading.canvas_size(canvas), image_channels), *shown.notes]
    for note in notes:
        talk.sentence(note, "dim")
    machine.dump({"network": built.name, "canvas": size, "notes": notes, "layers": shown.rows})


@app.command()
def plot(
    result: Annotated[Path, typer.Argument(metavar="RESULT-FOLDER", show_default=False)],
    out: opt.FiguresOut = None,
    formats: opt.Formats = "svg,png",
    figure_width: opt.FigureWidth = None,
    font: opt.Font = None,
    source: opt.Named = True,
    overwrite: opt.Overwrite = False,
) -> None:
    """Draw the figures of a result again."""
    plotting.plot(
        result, out, formats=formats, width=figure_width, font=font, source=source,
        overwrite=overwrite,
    )  # fmt: skip


@app.command(cls=reading.Greedy)
def compare(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT-FOLDER", help="Of networks probed alike.", show_default=False
        ),
    ],
    out: opt.Out,
    names: opt.ResultNames = None,
    baseline: opt.Baseline = None,
    along: opt.Along = None,
    match: opt.Match = None,
    layers: opt.ComparedLayers = None,
    quantities: opt.Quantities = None,
    level: opt.Level = None,
    resamples: opt.SameResamples = None,
    figures: opt.Figures = True,
    font: opt.Font = None,
    source: opt.Named = True,
    overwrite: opt.Overwrite = False,
    json: opt.Json = False,
) -> None:
    """Compare networks or checkpoints probed under one plan, image by image."""
    comparing.compare(
        results, out, names=names, baseline=baseline, along=along, match=match, layers=layers,
        quantities=quantities, level=level, resamples=resamples, figures=figures, font=font,
        source=source, overwrite=overwrite,
    )  # fmt: skip


@app.command(cls=reading.Greedy)
def animate(
    run: opt.ShownRun = None,
    out: opt.AnimationOut = None,
    html: opt.PageOut = None,
    network: opt.Network = None,
    checkpoint: opt.Checkpoint = None,
    checkpoint_entry: opt.CheckpointEntry = None,
    checkpoint_prefix: opt.CheckpointPrefix = None,
    allow_partial: opt.AllowPartial = False,
    by_order: opt.ByOrder = False,
    network_arg: opt.NetworkArg = None,
    layers: opt.Layers = None,
    transforms: opt.Transforms = None,
    images: opt.Images = None,
    data_root: opt.DataRoot = None,
    number: opt.SomeImages = 64,
    image_channels: opt.ImageChannels = None,
    canvas: opt.Canvas = None,
    device: opt.Device = None,
    image: opt.ShownImage = None,
    channel: opt.ShownChannel = None,
    width: opt.AnimationWidth = 900,
    seconds: opt.SecondsPerFrame = 0.12,
    overwrite: opt.Overwrite = False,
    trust: allow.Trust = False,
) -> None:
    """Show maps moving with the input and moved back: GIF, MP4, or an interactive page."""
    animating.animate(
        run, out, html, image=image, channel=channel, width=width, seconds=seconds, trust=trust,
        overwrite=overwrite, network=network, checkpoint=_text(checkpoint),
        checkpoint_entry=checkpoint_entry, checkpoint_prefix=checkpoint_prefix,
        allow_partial=allow_partial or None, by_order=by_order or None,
        arguments=reading.arguments(network_arg), layers=reading.words(layers),
        transforms=" ".join(transforms) if transforms else None,
        images=images, data_root=_text(data_root), number=number if run is None else None,
        image_channels=image_channels, canvas=reading.canvas_size(canvas), device=device,
    )  # fmt: skip


@app.command(cls=reading.Greedy)
def report(
    runs: opt.Runs,
    out: opt.ReportOut = Path("report"),
    paper: opt.Paper = False,
    figure_width: opt.PaperWidth = None,
    font: opt.Font = None,
    source: opt.Named = True,
    viewer: opt.Viewer = True,
    overwrite: opt.Overwrite = False,
    network: allow.TrustedNetwork = None,
    network_arg: allow.TrustedArg = None,
    checkpoint: allow.TrustedCheckpoint = None,
    image_set: allow.TrustedImages = None,
    data_root: allow.TrustedRoot = None,
    trust: allow.Trust = False,
) -> None:
    """Write the report of results: one HTML page, Markdown, and files for a paper."""
    reporting.report(
        runs, out, paper=paper, figure_width=figure_width, font=font, source=source, viewer=viewer,
        overwrite=overwrite,
        trust=reading.allowed(trust, network, network_arg, checkpoint, image_set, data_root),
    )  # fmt: skip


@app.command(cls=reading.Greedy)
def verify(
    runs: opt.Runs,
    images: opt.Replayed = 8,
    full: opt.Full = False,
    network: allow.TrustedNetwork = None,
    network_arg: allow.TrustedArg = None,
    checkpoint: allow.TrustedCheckpoint = None,
    image_set: allow.TrustedImages = None,
    data_root: allow.TrustedRoot = None,
    trust: allow.Trust = False,
    json: opt.Json = False,
) -> None:
    """Check that the numbers of stored results hold; exits with 1 if some do not."""
    reporting.verify(
        runs, images=images, full=full,
        trust=reading.allowed(trust, network, network_arg, checkpoint, image_set, data_root),
    )  # fmt: skip


@app.command(cls=reading.Greedy)
def train(
    out: learn.RunOut,
    network: Annotated[
        str | None,
        typer.Argument(metavar="NETWORK", help=f"{training.NETWORKS}, ...", show_default=False),
    ] = None,
    data: learn.Data = None,
    data_root: learn.DataFolder = None,
    transform: learn.Movement = None,
    canvas: learn.FolderCanvas = None,
    preset: learn.Preset = None,
    settings: learn.Settings = None,
    seeds: learn.Seeds = None,
    number: learn.Examples = None,
    backbone: learn.Backbone = None,
    family: learn.WarpFamily = None,
    width: learn.Width = None,
    network_arg: learn.ArchitectureArg = None,
    device: opt.Device = None,
    resume: learn.Resume = False,
    overwrite: opt.Overwrite = False,
    tensorboard: learn.TensorBoard = None,
    trust: allow.Trust = False,
    json: opt.Json = False,
) -> None:
    """Train a classifier, with or without spatial transformers, once per seed."""
    architecture = {"backbone": backbone, "family": family, "width": width}
    training.train(
        network, out, architecture=architecture | (reading.arguments(network_arg) or {}),
        settings=settings, seeds=seeds, device=device, resume=resume, overwrite=overwrite,
        tensorboard=tensorboard, trust=trust, data=data, data_root=data_root, preset=preset,
        number=number, transform=transform, canvas=reading.canvas_size(canvas),
    )  # fmt: skip


@app.command()
def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders that train has written.", show_default=False),
    ],
    passes: learn.NumberOfPasses = 10,
    data: learn.TestData = None,
    data_root: learn.DataFolder = None,
    number: learn.Examples = None,
    seed: learn.SeedOfPasses = 0,
    batch_size: learn.BatchOfPasses = None,
    device: opt.Device = None,
    out: learn.TableOut = None,
    figures: learn.EvaluationFigures = None,
    font: opt.Font = None,
    source: opt.Named = True,
    overwrite: opt.Overwrite = False,
    trust: allow.Trust = False,
    json: opt.Json = False,
) -> None:
    """Measure the test errors of trained runs over several fresh passes."""
    training.evaluate(
        runs, passes=passes, data=data, data_root=data_root, number=number, seed=seed,
        batch_size=batch_size, device=device, out=out, figures=figures, font=font, source=source,
        overwrite=overwrite, trust=trust,
    )  # fmt: skip


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def main() -> None:
    """Run the command line."""
    # Threads that spin while they wait slow a busy machine several times; free ones lose nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signals.listen()
    talk.write_anywhere()
    app(prog_name="invariance-probe")
