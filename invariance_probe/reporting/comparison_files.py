"""A comparison on disk: its tables, printed tables and figures, in one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..probing.comparison.compared import Comparison
from ..running.claims import claimed
from ..running.folders import FIGURES, added_files, whole_folder
from .drawing.style import checked_width, names_as_they_are
from .figures.comparisons.comparison import plot_comparison, plot_training_course
from .files import check_formats, write_figure
from .tables.comparison import comparison_latex, comparison_markdown

DRAWN = ("inverse", "gain")
"""Quantities that are drawn unless others are asked for."""


def write_comparison(
    comparison: Comparison,
    folder: str | Path,
    formats: Sequence[str] = ("svg", "png"),
    *,
    overwrite: bool = False,
    width: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a comparison with printed tables to a folder, whole or not at all, then its figures.

    Beside what `Comparison.save` writes there are `table_comparison.md` and `.tex`, and in
    `figures` one `comparison_QUANTITY` for `inverse` and `gain` (or for all, where it has
    neither) and, for networks in an order, `training_course`, in every format; none for `formats`
    empty. `width` is that of the figures in millimetres, as in `plot_comparison`. `progress` is
    called with the name of every figure.

    Raises ProbeError for an unknown format, and as `Comparison.save`.
    """
    check_formats(formats)
    checked_width(width)
    place = Path(folder)
    with claimed(place):
        with whole_folder(place, overwrite=overwrite) as partial:
            comparison.save(partial)
            for suffix, printed in (("md", comparison_markdown), ("tex", comparison_latex)):
                (partial / f"table_comparison.{suffix}").write_text(
                    printed(comparison), encoding="utf-8"
                )
        if formats and not comparison.table["identity"].all():  # else every residual is 0
            with added_files(place / FIGURES, place) as drawn, names_as_they_are():
                for name, figure in _figures(comparison, width):
                    if progress is not None:
                        progress(name)
                    for suffix in formats:
                        write_figure(figure, drawn / f"{name}.{suffix}")
    return place


def _figures(comparison: Comparison, width: float | None) -> Iterator[tuple[str, Figure]]:
    drawn = [one for one in DRAWN if one in comparison.quantities] or comparison.quantities
    for quantity in drawn:
        yield f"comparison_{quantity}", plot_comparison(comparison, quantity, width=width)
    if comparison.along is not None:
        yield "training_course", plot_training_course(comparison, width=width)
