"""The options of the commands, with their help.

None means that an option was not given: its default, or a replayed value, comes in later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from . import machine

Network = Annotated[
    str | None,
    Option(
        "--network",
        metavar="SPEC",
        help="mnist_cnn (trained), a torchvision name such as resnet18 (random weights unless "
        "--checkpoint is given), timm:NAME, package.module:factory, or the model.safetensors of a "
        "training run. [default: mnist_cnn]",
    ),
]
Checkpoint = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="Weights: safetensors (also the index of shards), a .pt that holds tensors only, or "
        "the weights of a TorchScript or torch.export archive.",
    ),
]
CheckpointEntry = Annotated[
    str | None,
    Option(metavar="NAME", help="Which state dict of the file, for example state_dict_ema."),
]
CheckpointPrefix = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="Which weights of a file in which the network is found under several prefixes, for "
        "example module.encoder_q.",
    ),
]
AllowPartial = Annotated[
    bool, Option("--allow-partial", help="Load what fits of a checkpoint; the rest is reported.")
]
ByOrder = Annotated[
    bool, Option("--by-order", help="Match weights in their order, whatever they are named.")
]
NetworkArg = Annotated[
    list[str] | None,
    Option(metavar="KEY=VALUE ...", help="Keyword arguments of the network's factory."),
]
Layers = Annotated[
    list[str] | None,
    Option(
        metavar="PATTERN ...",
        help="Names or glob patterns of layers; the command layers lists them. "
        "[default: 4 to 8 maps through the network]",
    ),
]
ListedLayers = Annotated[
    list[str] | None, Option("--layers", metavar="PATTERN ...", help="Only these layers.")
]
AllLayers = Annotated[
    bool, Option("--all", help="All layers of a long network, not only the outer ones.")
]
Transforms = Annotated[
    list[str] | None,
    Option(
        metavar="TEXT ...",
        help="rotation:30, rotation:START:STOP:STEP in degrees, scaling:START:STOP:NUMBER, "
        "translation:DX,DY, reflection:AXIS, shear:KX, affine:A,B,C,D,E,F. "
        "[default: rotation:-180:180:15]",
    ),
]
Images = Annotated[
    str | None,
    Option(
        "--images",
        "--image-set",
        metavar="WHICH",
        help="digits (embedded), a folder of images, data.npz:KEY, data.npy, data.h5:/DATASET, "
        "shards-{000..003}.tar, or a torchvision data set such as mnist. "
        "[default: digits]",
    ),
]
DataRoot = Annotated[
    Path | None, Option(metavar="FOLDER", help="Where torchvision put the data set.")
]
Train = Annotated[
    bool | None, Option("--train/--test", help="Part of the data set. [default: test]")
]
Number = Annotated[int | None, Option(metavar="N", help="How many images. [default: all]")]
ImageChannels = Annotated[
    int | None,
    Option(metavar="1|3", help="Convert the images of a folder; mixed ones need it."),
]
InputChannels = Annotated[
    int | None,
    Option(
        "--image-channels",
        metavar="N",
        min=1,
        max=4096,
        help="Of the images, where the network does not tell.",
        show_default="what the network runs on, of 3, 1, its first convolution's, 2 to 16",
    ),
]
SkipDamaged = Annotated[
    bool,
    Option("--skip-damaged", help="Leave out photographs that cannot be decoded, and name them."),
]
Workers = Annotated[
    int | None, Option(metavar="N", help="Threads that decode photographs. [default: 0]")
]
Canvas = Annotated[
    str | None, Option(metavar="HxW", help="Input size in pixels. [default: the network's own]")
]
Mean = Annotated[
    list[str] | None,
    Option(metavar="X ...", help="Normalisation. [default: the network's own]"),
]
Std = Mean
Weighting = Annotated[
    str | None,
    Option(
        metavar="raw|channel",
        help="channel divides each channel by its standard deviation. [default: raw]",
    ),
]
Interpolation = Annotated[
    str | None, Option(metavar="bilinear|bicubic", help="[default: bilinear]")
]
Family = Annotated[
    str | None,
    Option(
        metavar="rotation|similarity|affine",
        help="Over which transformations best is searched. "
        "[default: the smallest that holds the inverse]",
    ),
]
LeastCoverage = Annotated[
    float | None,
    Option(
        metavar="SHARE",
        help="Share of the compared cells that best must read on the map. [default: 0.5]",
    ),
]
ChannelMaps = Annotated[
    bool | None,
    Option(
        "--channel-maps/--no-channel-maps",
        help="Fit channel maps and the bound over all spatial operators too. [default: yes]",
    ),
]
Ledger = Annotated[
    bool | None,
    Option(
        "--ledger/--no-ledger",
        help="Split the maps' variance by what predicts it (one more pass of the fit images).",
        show_default=False,
    ),
]
PerImage = Annotated[
    bool | None,
    Option("--per-image/--shared", help="Search the best of each image too. [default: no]"),
]
_ERODE = "Margin of compared cells to the edge; auto: as far as padding is seen. [default: auto]"
Erode = Annotated[str | None, Option(metavar="PIXELS|auto", help=_ERODE)]
BatchSize = Annotated[
    str | None,
    Option(
        metavar="N|auto",
        help="Images in a forward pass; auto takes what is fast and fits. [default: auto]",
    ),
]
Precision = Annotated[
    str | None,
    Option(
        metavar="float32|bfloat16|float16",
        help="Of the forward passes; all sums are float64. [default: float32]",
    ),
]
_IMPURE = "Of networks whose maps depend on more than the one image. [default: warn]"
Impure = Annotated[str | None, Option(metavar="warn|refuse", help=_IMPURE)]
_DENSE = (
    "How many times finer the maps are that are moved back, made of shifted images (N² passes); "
    "auto: per layer, until the grid costs little. [default: 1]"
)
Dense = Annotated[str | None, Option(metavar="N|auto", help=_DENSE)]
Memory = Annotated[
    str | None,
    Option(
        metavar="SIZE",
        help="What the search's sums may take, such as 3GB; less costs further passes. "
        "[default: half of what is free, at most 1.2GB]",
    ),
]
Wide = Annotated[
    bool, Option("--wide", help="Print all tables, and not the ledger alone.", show_default=False)
]
Json = Annotated[bool, machine.JSON]
GoOn = Annotated[
    bool,
    Option(
        "--resume", help="Go on with the probe that was stopped; the other options may be left."
    ),
]
SaveEvery = Annotated[
    float,
    Option(metavar="SECONDS", help="How often a probe saves where it stands.", show_default=True),
]
Resamples = Annotated[
    int | None, Option(metavar="N", help="Sign flips behind p-values of compare. [default: 1000]")
]
Seed = Annotated[
    int | None,
    Option(metavar="N", help="Of split, p-values and random weights. [default: 0]"),
]
Device = Annotated[
    str | None,
    Option(metavar="NAME", help="cpu, cuda, cuda:1, mps, or auto: the fastest. [default: cpu]"),
]
Config = Annotated[
    Path | None,
    Option(
        metavar="RESULT", help="Replay a result folder or JSON file; other options override it."
    ),
]
Figures = Annotated[bool, Option("--figures/--no-figures", help="Draw figures too.")]
Out = Annotated[Path, Option(metavar="FOLDER", help="Where tables and figures go.")]
FiguresOut = Annotated[
    Path | None,
    Option("--out", metavar="FOLDER", help="[default: figures/ in the result folder]"),
]
Formats = Annotated[str, Option("--format", metavar="svg,png,pdf", help="Kinds of files.")]
FigureWidth = Annotated[
    float | None,
    Option(
        "--figure-width",
        metavar="MM",
        help="Of every figure: 85 for one column, 170 for two. [default: as its panels need]",
    ),
]
Font = Annotated[
    str | None,
    Option("--font", metavar="NAME", help="Of figures: Helvetica, Arial. [default: DejaVu Sans]"),
]
Named = Annotated[
    bool, Option("--source/--no-source", help="Name network and images in every figure.")
]
PaperWidth = Annotated[
    float | None,
    Option("--figure-width", metavar="MM", help="Of the figures in paper/. [default: 85]"),
]
ShownRun = Annotated[
    Path | None,
    Argument(metavar="RESULT", help="Folder of a probe, or saved pictures.", show_default=False),
]
AnimationOut = Annotated[
    Path | None,
    Option("--out", metavar="FILE", help="A .gif, or an .mp4 where ffmpeg is: of the first layer."),
]
PageOut = Annotated[
    Path | None,
    Option("--html", metavar="FILE", help="The viewer: a page to choose, slide and play in."),
]
SomeImages = Annotated[
    int,
    Option("--number", metavar="N", help="How many images; half of them give the channel means."),
]
ShownImage = Annotated[
    str | None,
    Option(
        "--image", metavar="N|NAME",
        help="Which image of the evaluation half. [default: the first; three in the page]",
    ),
]  # fmt: skip
ShownChannel = Annotated[
    int | None,
    Option(
        "--channel", metavar="N",
        help="Which channel. [default: the one that varies most; six in the page]",
    ),
]  # fmt: skip
AnimationWidth = Annotated[int, Option("--width", metavar="PIXELS", help="Of the animation.")]
SecondsPerFrame = Annotated[float, Option("--seconds", metavar="X", help="Each frame stays.")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace what is there.")]
ResultNames = Annotated[
    str | None,
    Option("--names", metavar="A,B,...", help="What the results are called. [default: folders]"),
]
Baseline = Annotated[
    str | None,
    Option("--baseline", metavar="NAME", help="Differences are to it. [default: the first]"),
]
Along = Annotated[
    str | None,
    Option("--along", metavar="X,Y,...", help="A number per result, such as its training step."),
]
Match = Annotated[
    list[str] | None,
    Option(
        "--match",
        metavar="LABEL=LAYER,LAYER ...",
        help="Layers that belong together, one per result. [default: those of one name; where "
        "there are none, those of one place]",
    ),
]
ComparedLayers = Annotated[
    list[str] | None, Option("--layers", metavar="NAME ...", help="Only these layers.")
]
Quantities = Annotated[
    list[str] | None,
    Option(
        "--quantities",
        metavar="NAME ...",
        help="Rungs, gain, recovered, won_by_linear, won_by_permutation. [default: nine]",
    ),
]
Level = Annotated[
    float | None, Option("--level", metavar="X", help="Of the intervals. [default: the first's]")
]
SameResamples = Annotated[
    int | None, Option("--resamples", metavar="N", help="[default: the first's]")
]
Runs = Annotated[
    list[Path],
    Argument(
        metavar="RUN...",
        help="Folders that probe or demo has written; several make one report.",
        show_default=False,
    ),
]
Replayed = Annotated[
    int, Option("--images", metavar="N", min=1, help="How many evaluation images to replay.")
]
Full = Annotated[bool, Option("--full", help="Replay the whole run, fitted maps included.")]
ReportOut = Annotated[Path, Option("--out", metavar="FOLDER", help="Where the report goes.")]
Viewer = Annotated[
    bool, Option("--viewer/--no-viewer", help="Run the networks again for pictures of their maps.")
]
Paper = Annotated[
    bool,
    Option(
        "--paper",
        help="Also write paper/: figures (PDF, SVG, PNG, data), tables, references, methods.",
    ),
]
