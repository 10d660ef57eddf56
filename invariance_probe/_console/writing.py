"""How the command line writes: results with their figures, and figures alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProbeError
from .reading import words
from .talk import Report, progress

if TYPE_CHECKING:
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
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"{folder} is a file; name a folder for the figures")
    held = sorted(p.name for f in formats for p in folder.glob(f"*.{f}")) if not overwrite else []
    if held:
        raise ProbeError(
            f"{folder} already holds figures ({held[0]}, ...), which are kept; name another "
            "folder with --out, or replace them with --overwrite"
        )


@contextmanager
def moved_into(folder: Path) -> Iterator[Path]:
    """A new folder whose files are moved into `folder` when the block ends well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            yield Path(name)
            folder.mkdir(exist_ok=True)
            for file in sorted(Path(name).iterdir()):
                os.replace(file, folder / file.name)
    except OSError as error:
        raise ProbeError(
            f"cannot write figures to {folder}: {error.strerror or error}; "
            "free some space or name another folder"
        ) from error


def write_result(result: Result, folder: Path, *, figures: bool) -> None:
    """Save a result that has a configuration into an empty folder, with its figures."""
    result.save(folder)
    if figures:
        with progress("drawing") as report:
            write_figures(result, folder / FIGURES, ("svg", "png"), report)
            _write_gallery(result, folder / FIGURES)


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


def _write_gallery(result: Result, folder: Path) -> None:
    """Maps of the first layer for the first image, which need the network once more."""
    from ..networks import build_network
    from ..probing import ProbeConfig
    from ..probing.config import load_images
    from ..reporting import plot_gallery
    from .tables import telling

    moves = telling(result)
    if not moves:
        return
    config = ProbeConfig.from_dict(result.provenance["config"])
    seed = config.options.seed
    network = build_network(
        config.network, checkpoint=config.checkpoint, seed=seed, **config.arguments
    )
    images = load_images(config, network)
    figure = plot_gallery(
        network, images, result.axes["layer"][0], moves[0],
        images.names.index(result.axes["image"][0]), mean=config.mean, std=config.std,
        image_interpolation=config.options.image_interpolation,
        map_interpolation=config.options.map_interpolation,
    )  # fmt: skip
    for suffix in ("svg", "png"):
        figure.savefig(folder / f"gallery.{suffix}")
