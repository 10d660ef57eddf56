"""The options by which what a result names may be called and read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

TrustedNetwork = Annotated[
    str | None,
    Option("--network", metavar="SPEC", help="The network that a result names, to allow it."),
]
TrustedArg = Annotated[
    list[str] | None,
    Option(
        "--network-arg",
        metavar="KEY=VALUE ...",
        help="Its arguments, to allow them.",
    ),
]
TrustedCheckpoint = Annotated[
    Path | None,
    Option("--checkpoint", metavar="FILE", help="Its weights, to allow reading them."),
]
TrustedImages = Annotated[
    str | None,
    Option("--image-set", metavar="WHICH", help="The images of a result, to allow reading them."),
]
TrustedRoot = Annotated[
    Path | None,
    Option("--data-root", metavar="FOLDER", help="Where they are, to allow reading them."),
]
Trust = Annotated[
    bool,
    Option(
        "--trust",
        help="Call and read what a result names: the code of its network, weights, images. Only "
        "for results of people whose programs you would run.",
    ),
]
