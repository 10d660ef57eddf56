"""Figures on disk: every one that applies to a result, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from ..errors import ProbeError
from ..probing import Result
from ..probing.files import write_atomically
from ._select import choose_blocks, kinds_of, moves_of
from .channels import has_channel_tables, plot_channel_shift, plot_moved
from .composition import plot_composition
from .curves import plot_residuals
from .heatmap import plot_recovered
from .ladder import plot_ladder
from .landscape import plot_landscape
from .spread import plot_spread
from .tuning import plot_tuning

FORMATS = ("svg", "png", "pdf")


def save_figures(
    result: Result,
    folder: str | Path,
    formats: Sequence[str] = ("svg", "png"),
    *,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write every figure that applies to the result into a folder; returns the files.

    Files are `ladder`, `recovered`, `spread`, `residuals_KIND`, `landscape_angle` and
    `landscape_scale`, and with channel tables `channel_shift`, `moved`, `tuning_KIND` and
    `composition`, with a suffix per format. Every file appears whole or not at all, replaces one
    of its name, and is the same bytes for the same result and matplotlib. `progress` is called
    with every name.

    Raises ProbeError for an unknown format, and where the folder cannot be written.
    """
    check_formats(formats)
    place = Path(folder)
    paths = []
    for name, figure in figures(result):
        if progress is not None:
            progress(name)
        for suffix in formats:
            paths.append(write_figure(figure, place / f"{name}.{suffix}"))
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that figures are not written in, before any work."""
    for name in formats:
        if name not in FORMATS:
            raise ProbeError(f"unknown figure format {name!r}; use {', '.join(FORMATS)}")


def write_figure(figure: Figure, path: Path) -> Path:
    """Write one figure in the format of the path's suffix; whole or not at all."""
    check_formats([path.suffix.removeprefix(".")])
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."))
    write_atomically(path, buffer.getvalue(), "the figure")
    return path


def figures(result: Result, without: Sequence[str] = ()) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of every figure that applies to the result, drawn one at a time.

    Figures named in `without` are not drawn.
    """
    moves = moves_of(result)
    if not moves["identity"].all():
        yield "ladder", plot_ladder(result)
        yield "recovered", plot_recovered(result)
        if "spread" not in without:
            yield "spread", plot_spread(result)
    for kind in kinds_of(result):
        yield f"residuals_{kind}", plot_residuals(result, kind)
    for by, kind in (("angle", "rotation"), ("scale", "scaling")):
        own = moves[moves["kind"] == kind]
        if len(own) > 1 and choose_blocks(result, kind)[0].numeric:
            yield f"landscape_{by}", plot_landscape(result, by=by)
    if has_channel_tables(result):
        yield from _channel_figures(result)


def _channel_figures(result: Result) -> Iterator[tuple[str, Figure]]:
    moves = moves_of(result)
    if not moves["identity"].all():
        if any(name.startswith("correlation/") for name in result.extra):
            yield "channel_shift", plot_channel_shift(result)
        yield "moved", plot_moved(result)
    for kind in ("rotation", "scaling"):
        several = int((moves["kind"] == kind).sum()) > 1
        responds = len(result.tuning) and result.tuning["rms"].gt(0).any()
        if several and responds and choose_blocks(result, kind)[0].numeric:
            yield f"tuning_{kind}", plot_tuning(result, kind=kind)
    if len(result.composition):
        yield "composition", plot_composition(result)
