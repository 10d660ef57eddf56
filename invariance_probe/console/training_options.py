"""The options of `train` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

Data = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="mnist, mnist-r, -t, -s, -rts, -p, -e, -tc, likewise fashion and kmnist, "
        "mnist-addition, svhn, svhn-digits, street (generated), plankton, or the path of a folder "
        "with one of photographs per class. [default: mnist-r]",
    ),
]
EvaluationFigures = Annotated[
    Path | None,
    Option(
        "--figures",
        metavar="FOLDER",
        help="Draw how training went, and the poses that transformers give beside those applied.",
    ),
]
Movement = Annotated[
    str | None,
    Option(
        "--transform",
        metavar="KIND:MOST",
        help="Move every upright image, afresh in every pass: rotation:90 (degrees, either way), "
        "scaling:2, translation:8 (pixels) or similarity:90,2. [default: as they are]",
    ),
]
TestData = Annotated[
    str | None,
    Option("--data", metavar="NAME", help="Other data than the run's own, as for train."),
]
FolderCanvas = Annotated[
    str | None,
    Option(
        "--canvas", metavar="HxW", help="To what photographs of a folder are cut. [default: 64x64]"
    ),
]
DataFolder = Annotated[
    Path | None,
    Option(
        "--data-root",
        metavar="FOLDER",
        help="Where the data are. [default: for digits the package's own 10,000]",
    ),
]
Preset = Annotated[
    str | None,
    Option(
        metavar="quick|paper",
        help="Recipe: minutes on two cores, or the papers' schedule. [default: quick]",
    ),
]
Settings = Annotated[
    list[str] | None,
    Option("--set", metavar="FIELD=VALUE ...", help="Other values for fields of the recipe."),
]
Seeds = Annotated[
    str | None, Option(metavar="N,N,...", help="A network is trained for each. [default: 0]")
]
Examples = Annotated[
    int | None, Option("--number", metavar="N", help="How many examples. [default: all]")
]
Backbone = Annotated[
    str | None, Option(metavar="mnist|svhn|plankton", help="[default: the one for the data]")
]
WarpFamily = Annotated[
    str | None,
    Option(
        "--family",
        metavar="NAME",
        help="What a spatial transformer can do: affine, rotation, scaling, translation, "
        "similarity, attention, projective, tps. [default: affine]",
    ),
]
Width = Annotated[float | None, Option(metavar="X", help="Fraction of the filters. [default: 1]")]
ArchitectureArg = Annotated[
    list[str] | None,
    Option(
        "--network-arg",
        metavar="KEY=VALUE ...",
        help="Other fields of the architecture: head, reduction, beyond, ...",
    ),
]
RunOut = Annotated[Path, Option("--out", metavar="FOLDER", help="Where the run goes.")]
Resume = Annotated[
    bool,
    Option("--resume", help="Go on with the run in --out, to the same bits; NETWORK may be left."),
]
TensorBoard = Annotated[
    Path | None, Option("--tensorboard", metavar="FOLDER", help="Write curves for TensorBoard.")
]
NumberOfPasses = Annotated[
    int, Option("--passes", metavar="N", help="Passes with fresh transformations.")
]
TableOut = Annotated[
    Path | None, Option("--out", metavar="FILE.csv", help="A row per run, seed and pass.")
]
SeedOfPasses = Annotated[int, Option(metavar="N", help="Of the transformations.")]
BatchOfPasses = Annotated[
    int | None,
    Option(metavar="N", help="Changes no result.", show_default="100 on the CPU, 500 elsewhere"),
]
