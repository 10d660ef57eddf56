"""The command line: `demo`, `probe`, `layers` and `plot`, thin over the package.

PyTorch and the plotting libraries are imported inside the commands, so that help is immediate.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import _console as console
from ._version import __version__

if TYPE_CHECKING:
    from .probing import ProbeConfig, Result

app = typer.Typer(
    cls=console.Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEMO_LAYERS = ("conv1", "relu1", "conv2", "relu2")
DEMO_PROBES = {"rotations": "rotation:-180:180:15", "scalings": "scaling:0.5:2:9"}

Spec = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="SPEC",
        show_default="mnist_cnn",
        help="mnist_cnn (trained), a torchvision name such as resnet18 (random weights unless "
        "--checkpoint is given), or package.module:factory.",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Weights: .safetensors, or .pt that holds tensors only."),
]
NetworkArg = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE ...", help="Keyword arguments of the network's factory."),
]
Canvas = Annotated[
    str | None,
    typer.Option(metavar="HxW", show_default="the network's own", help="Input size in pixels."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def _version(asked: bool) -> None:
    if asked:
        console.say(f"invariance-probe {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Measure whether a spatial transformation can align the feature maps of a CNN."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write.")] = Path("demo-out"),
    number: Annotated[int, typer.Option(metavar="N", help="How many digits.")] = 600,
    seed: Annotated[int, typer.Option(help="Of the draw of digits and their split.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Probe the embedded network on the embedded digits: rotations and scalings."""
    from .probing import Options, ProbeConfig, run_config
    from .probing.storage import whole_folder

    results = {}
    with whole_folder(out, overwrite=overwrite, parts=tuple(DEMO_PROBES)) as folder:
        for name, transforms in DEMO_PROBES.items():
            config = ProbeConfig(
                layers=DEMO_LAYERS,
                transforms=transforms,
                number=number,
                options=Options(seed=seed),
            )
            with console.progress(f"probing {name}") as report:
                results[name] = run_config(config, report)
            _write(results[name], folder / name, figures=True)
    console.written.append(out)
    for name, result in results.items():
        console.show_result(result, explain=name == list(results)[-1])
    console.say(f"tables and figures: {', '.join(str(out / name) for name in results)}", "bold")


@app.command(cls=console.Greedy)
def probe(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write the result and its figures.")
    ],
    network: Spec = None,
    checkpoint: Checkpoint = None,
    network_arg: NetworkArg = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN ...",
            show_default="4 to 8 through the network",
            help="Names or glob patterns of layers; the command layers lists them.",
        ),
    ] = None,
    transforms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT ...",
            show_default="rotation:-180:180:15",
            help="rotation:30, rotation:START:STOP:STEP in degrees, scaling:START:STOP:NUMBER, "
            "translation:DX,DY, reflection:AXIS, shear:KX, affine:a,b,c,d,e,f.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            show_default="digits",
            help="digits (embedded), a folder of images, or a torchvision data set such as mnist.",
        ),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where torchvision put the data set.")
    ] = None,
    train: Annotated[
        bool | None, typer.Option("--train/--test", help="Part of the data set.", show_default="test")
    ] = None,
    number: Annotated[
        int | None, typer.Option(metavar="N", help="How many images.", show_default="all")
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(help="Convert a folder's images to 1 or 3 channels; mixed ones need it."),
    ] = None,
    canvas: Canvas = None,
    mean: Annotated[
        list[str] | None,
        typer.Option(metavar="X ...", show_default="the network's own", help="Normalisation."),
    ] = None,
    std: Annotated[
        list[str] | None,
        typer.Option(metavar="X ...", show_default="the network's own", help="Normalisation."),
    ] = None,
    weighting: Annotated[
        str | None,
        typer.Option(
            metavar="raw|channel",
            show_default="raw",
            help="channel divides each channel by its standard deviation.",
        ),
    ] = None,
    map_interpolation: Annotated[
        str | None, typer.Option(metavar="bilinear|bicubic", show_default="bilinear")
    ] = None,
    image_interpolation: Annotated[
        str | None, typer.Option(metavar="bilinear|bicubic", show_default="bilinear")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            metavar="rotation|similarity|affine",
            show_default="smallest with the inverse",
            help="Over which transformations best is searched.",
        ),
    ] = None,
    erode: Annotated[
        float | None,
        typer.Option(
            metavar="PIXELS", show_default="0", help="Margin that compared cells keep to the edge."
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", show_default="32")] = None,
    resamples: Annotated[
        int | None, typer.Option(metavar="N", show_default="1000", help="Of the bootstrap.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(show_default="0", help="Of split, bootstrap, random weights.")
    ] = None,
    device: Annotated[str | None, typer.Option(show_default="cpu", help="cpu, cuda, ...")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="RESULT", help="Replay a result folder or JSON file; other options override it."
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Write figures too.")
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Probe any network on any images, and write tables and figures to a folder."""
    from .probing.storage import check_free, whole_folder

    check_free(out, overwrite=overwrite)
    given = {
        "network": network,
        "checkpoint": _text(checkpoint),
        "arguments": console.arguments(network_arg),
        "layers": console.words(layers),
        "transforms": " ".join(transforms) if transforms else None,
        "images": images,
        "data_root": _text(data_root),
        "train": train,
        "number": number,
        "channels": channels,
        "canvas": console.canvas_size(canvas),
        "mean": console.numbers("--mean", mean),
        "std": console.numbers("--std", std),
        "device": device,
    }
    options = {
        "weighting": weighting,
        "map_interpolation": map_interpolation,
        "image_interpolation": image_interpolation,
        "family": family,
        "erode": erode,
        "batch_size": batch_size,
        "resamples": resamples,
        "seed": seed,
    }
    stored = console.stored_config(config)
    chosen = _configured(stored, given, options)
    console.check_device(chosen.device)
    from .probing import run_config

    with whole_folder(out, overwrite=overwrite) as folder:
        with console.progress("probing") as report:
            if "layers" not in stored and not layers:
                chosen = _with_layers(chosen)
            result = run_config(chosen, report)
        _write(result, folder, figures=figures)
    console.written.append(out)
    console.show_result(result)
    console.say(f"tables{' and figures' * figures}: {out}", "bold")


@app.command("layers", cls=console.Greedy)
def show_layers(
    network: Spec = None,
    checkpoint: Checkpoint = None,
    network_arg: NetworkArg = None,
    canvas: Canvas = None,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN ...", help="Only these layers.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All layers of a long network, not only the outer ones.")
    ] = False,
) -> None:
    """List layers: map size, where their cells sit in the image, which input size centres them."""
    from . import _layers
    from .networks import build_network

    with console.progress("measuring") as report:
        built = build_network(
            network or "mnist_cnn",
            checkpoint=_text(checkpoint),
            **(console.arguments(network_arg) or {}),
        )
        size = console.canvas_size(canvas) or built.canvas
        table, notes = _layers.table(built, size, console.words(layers), everything, report)
    console.out().print(table)
    for note in notes:
        console.say(note, "dim")


@app.command()
def plot(
    result: Annotated[Path, typer.Argument(metavar="RESULT-FOLDER", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", show_default="figures/ in the result folder")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="Of svg, png, pdf.")] = "svg,png",
    overwrite: Overwrite = False,
) -> None:
    """Draw the figures of a saved result again."""
    chosen = console.figure_formats(formats)
    folder = out or result / "figures"
    console.check_no_figures(folder, chosen, overwrite=overwrite)
    from .probing import load_result

    loaded = load_result(result)
    with console.progress("drawing"), console.moved_into(folder) as place:
        names = _figures(loaded, place, chosen)
    console.written.append(folder)
    for name in names:
        console.say(str(folder / name))


def main() -> None:
    """Run the command line."""
    app(prog_name="invariance-probe")
