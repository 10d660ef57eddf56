"""Figures on disk: every one that applies to a result, each file whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..errors import ProbeError
from ..probing import Result
from ..running.files import write_atomically
from .drawing.style import checked_width, names_as_they_are
from .figures.channels import has_channel_tables, plot_channel_shift
from .figures.composition import plot_composition
from .figures.gain import plot_gain
from .figures.ladder import plot_ladder
from .figures.landscape import plot_landscape
from .figures.ledger import plot_ledger
from .figures.residuals import plot_residuals
from .figures.spread import plot_spread
from .figures.tuning import plot_tuning
from .select import choose_blocks, kinds_of, moves_of
from .tables.ledger import has_ledger

FORMATS = ("svg", "png", "pdf")

_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
Draw = Callable[[], Figure]


def save_figures(
    result: Result,
    folder: str | Path,
    formats: Sequence[str] = ("svg", "png"),
    *,
    width: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write every figure that applies to the result into a folder; returns the files.

    Files are `ledger`, `ladder`, `gain`, `spread`, `residuals_KIND`, `landscape_angle` and
    `landscape_scale`, and with channel tables `channel_shift`, `tuning_KIND` and `composition`,
    with a suffix per format. Every file appears whole or not at all, replaces one of its name, and
    is the same bytes for the same result and matplotlib. `width` is that of every figure in
    millimetres, 85 for one column of a page; by default figures of several panels
    take two. `progress` is called with every name.

    Raises ProbeError for an unknown format or width, and where the folder cannot be written.
    """
    check_formats(formats)
    checked_width(width)
    place = Path(folder)
    paths = []
    for name, draw in figures(result, width=width):
        if progress is not None:
            progress(name)
        with names_as_they_are():
            figure = draw()
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
    write_atomically(path, figure_bytes(figure, path.suffix.removeprefix(".")), "the figure")
    return path


def figure_bytes(figure: Figure, suffix: str, **options: Any) -> bytes:
    """A figure as a file of a format; `options` are those of `savefig`."""
    buffer = BytesIO()
    figure.savefig(buffer, format=suffix, **options)
    # Control characters of a name, which no XML may hold.
    return _CONTROLS.sub(b"?", buffer.getvalue()) if suffix == "svg" else buffer.getvalue()


def figures(
    result: Result, without: Sequence[str] = (), *, width: float | None = None
) -> Iterator[tuple[str, Draw]]:
    """(name, what draws it) of every figure that applies to the result.

    Figures named in `without` are left out. `width` is that of each in millimetres; None leaves
    it to what a figure holds.

    Raises ProbeError for widths below 70 or above 300.
    """
    checked_width(width)
    moves = moves_of(result)
    if not moves["identity"].all():
        if has_ledger(result):
            yield "ledger", partial(plot_ledger, result, width=width)
        yield "ladder", partial(plot_ladder, result, width=width)
        yield "gain", partial(plot_gain, result, width=width)
        if "spread" not in without:
            yield "spread", partial(plot_spread, result, width=width)
    for kind in kinds_of(result):
        yield f"residuals_{kind}", partial(plot_residuals, result, kind, width=width)
    for by, kind in (("angle", "rotation"), ("scale", "scaling")):
        own = moves[moves["kind"] == kind]
        if len(own) > 1 and choose_blocks(result, kind)[0].numeric:
            yield f"landscape_{by}", partial(plot_landscape, result, by=by, width=width)
    if has_channel_tables(result):
        yield from _channel_figures(result, width)


def _channel_figures(result: Result, width: float | None) -> Iterator[tuple[str, Draw]]:
    moves = moves_of(result)
    kept = any(name.startswith("correlation/") for name in result.extra)
    if kept and not moves["identity"].all():
        yield "channel_shift", partial(plot_channel_shift, result, width=width)
    for kind in ("rotation", "scaling"):
        several = int((moves["kind"] == kind).sum()) > 1
        responds = len(result.tuning) and result.tuning["rms"].gt(0).any()
        if several and responds and choose_blocks(result, kind)[0].numeric:
            yield f"tuning_{kind}", partial(plot_tuning, result, kind=kind, width=width)
    if len(result.composition):
        yield "composition", partial(plot_composition, result, width=width)
