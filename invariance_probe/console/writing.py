"""How the command line writes: results with their figures, and figures alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProbeError
from .reading import words
from .talk import Report, hint, progress

if TYPE_CHECKING:
    from ..data import ImageSet
    from ..networks import Network
    from ..probing import Result

FIGURES = "figures"
FORMATS = ("svg", "png", "pdf")


def figure_formats(text: str) -> tuple[str, ...]:
    """The formats of "svg,png"."""
    chosen = words([text]) or ()
    if not chosen or not set(chosen) <= set(FORMATS):
        raise ProbeError(f"--format {text}: use {', '.join(FORMATS)}, joined by commas")
    return tuple(dict.fromkeys(chosen))


def check_no_figures(folder: Path, formats: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a folder with figures in one of the formats, before any work is done."""
    from ..running.folders import check_flat

    check_flat(folder)
    held = sorted(p.name for f in formats for p in folder.glob(f"*.{f}")) if not overwrite else []
    if held:
        raise ProbeError(
            f"{folder} already holds figures ({held[0]}, ...), which are kept; name another "
            "folder with --out, or replace them with --overwrite"
        )


@contextmanager
def figure_look(font: str | None, named: bool) -> Iterator[None]:
    """Figures in the font asked for, or in the usual one with a word about it."""
    from ..reporting.drawing.style import figure_style, font_problem

    if font is not None and (problem := font_problem(font)):
        hint(problem)
        font = None
    with figure_style(font=font, named=named):
        yield


@contextmanager
def place(out: Path) -> Iterator[None]:
    """Hold the place of an output against other runs, and tell what a killed one left there."""
    from ..running.claims import claimed

    with claimed(out) as claim:
        for found in claim.found:
            hint(found)
        claim.found = ()
        yield


def known_as(out: Path) -> str:
    """The content hash that a result states of itself; "" where none is."""
    from ..running.folders import stated_hash

    return stated_hash(out)


def check_apart(out: Path, images: str | None) -> None:
    """Refuse an output among the photographs: the next run would take it for some of them."""
    if images in (None, "digits") or not os.path.isdir(images):
        return
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(images)):
        raise ProbeError(
            f"--out {out} is in the folder of the images, {images}, where the next run would take "
            "it for some of them; name a place outside"
        )


def add_figures(
    result: Result, out: Path, network: Network | None = None, images: ImageSet | None = None
) -> None:
    """Draw the figures of a saved result into its folder: all of them or none.

    With the network and the images that were probed there is a gallery of maps too.
    """
    from ..running.folders import added_files

    with progress("drawing") as report, added_files(out / FIGURES, out) as folder:
        write_figures(result, folder, ("svg", "png"), report)
        if network is not None and images is not None:
            _write_gallery(result, folder, network, images)


@contextmanager
def undrawn(left: str, again: str) -> Iterator[None]:
    """Whatever ends the drawing: what is there, whole, without it, and how to draw again."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.args = (f"{left}; {again}",)
        raise
    except BaseException as error:  # of a font, of matplotlib, of the network that runs again
        named = (type(error).__name__, str(error))
        said = error if isinstance(error, ProbeError) else ": ".join(filter(None, named))
        raise ProbeError(f"{left} ({said}); {again}") from None


def write_figures(
    result: Result,
    folder: Path,
    formats: Sequence[str],
    report: Report,
    width: float | None = None,
) -> list[str]:
    """Draw all figures that a result alone allows; returns the names of the files."""
    from ..reporting import save_figures
    from ..reporting.files import figures

    names = [name for name, _ in figures(result, width=width)]
    paths = save_figures(
        result, folder, formats, width=width,
        progress=lambda name: report(names.index(name), len(names), f"drawing {name}"),
    )  # fmt: skip
    report(len(names), len(names), "drawn")
    return sorted(path.name for path in paths)


def _write_gallery(result: Result, folder: Path, network: Network, images: ImageSet) -> None:
    """Maps of the first layer for the first image, which need the network once more."""
    from ..probing import ProbeConfig
    from ..reporting import plot_gallery, write_figure
    from .tables import telling

    moves = telling(result)
    if not moves:
        return
    config = ProbeConfig.from_dict(result.provenance["config"])
    figure = plot_gallery(
        network, images, result.axes["layer"][0], moves[0],
        images.names.index(result.axes["image"][0]), mean=config.mean, std=config.std,
        margin=result.margins[result.axes["layer"][0]],
        image_interpolation=config.options.image_interpolation,
        map_interpolation=config.options.map_interpolation,
    )  # fmt: skip
    for suffix in ("svg", "png"):
        write_figure(figure, folder / f"gallery.{suffix}")
