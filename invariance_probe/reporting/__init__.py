"""Reporting: figures and tables of a result. Figures are returned, never shown.

The names below load their module on first use: a report needs no half of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .reports import cite, report

if TYPE_CHECKING:
    from .comparison_files import write_comparison
    from .drawing.style import figure_style
    from .figures.baselines import plot_baselines
    from .figures.channels import plot_channel_shift, plot_moved
    from .figures.classifiers.aligned import plot_aligned, plot_class_means
    from .figures.classifiers.history import plot_history
    from .figures.classifiers.poses import plot_pose_histogram
    from .figures.comparisons.comparison import plot_comparison, plot_training_course
    from .figures.composition import plot_composition
    from .figures.gain import plot_gain
    from .figures.gallery import plot_gallery
    from .figures.ladder import plot_ladder
    from .figures.landscape import plot_landscape
    from .figures.ledger import plot_ledger
    from .figures.oracle import plot_oracle
    from .figures.residuals import plot_residuals
    from .figures.spread import plot_spread
    from .figures.tuning import plot_tuning
    from .files import save_figures, write_figure
    from .tables.comparison import comparison_latex, comparison_markdown
    from .tables.ladder import ladder_table, to_latex, to_markdown
    from .tables.ledger import ledger_table
    from .tables.ledger_latex import ledger_latex
    from .tables.oracle import (
        oracle_latex,
        oracle_markdown,
        oracle_table,
        rungs_and_accuracies,
        rungs_markdown,
    )

__all__ = [
    "cite",
    "comparison_latex",
    "comparison_markdown",
    "figure_style",
    "ladder_table",
    "ledger_latex",
    "ledger_table",
    "oracle_latex",
    "oracle_markdown",
    "oracle_table",
    "plot_aligned",
    "plot_baselines",
    "plot_channel_shift",
    "plot_class_means",
    "plot_comparison",
    "plot_composition",
    "plot_gain",
    "plot_gallery",
    "plot_history",
    "plot_ladder",
    "plot_landscape",
    "plot_ledger",
    "plot_moved",
    "plot_oracle",
    "plot_pose_histogram",
    "plot_residuals",
    "plot_spread",
    "plot_training_course",
    "plot_tuning",
    "report",
    "rungs_and_accuracies",
    "rungs_markdown",
    "save_figures",
    "to_latex",
    "to_markdown",
    "write_comparison",
    "write_figure",
]

_MODULES = {
    "figures.classifiers.aligned": ("plot_aligned", "plot_class_means"),
    "figures.baselines": ("plot_baselines",),
    "figures.channels": ("plot_channel_shift", "plot_moved"),
    "figures.comparisons.comparison": ("plot_comparison", "plot_training_course"),
    "drawing.style": ("figure_style",),
    "comparison_files": ("write_comparison",),
    "tables.comparison": ("comparison_latex", "comparison_markdown"),
    "figures.composition": ("plot_composition",),
    "figures.residuals": ("plot_residuals",),
    "files": ("save_figures", "write_figure"),
    "figures.gallery": ("plot_gallery",),
    "figures.gain": ("plot_gain",),
    "figures.classifiers.history": ("plot_history",),
    "figures.ladder": ("plot_ladder",),
    "figures.landscape": ("plot_landscape",),
    "figures.ledger": ("plot_ledger",),
    "figures.oracle": ("plot_oracle",),
    "tables.oracle": (
        "oracle_latex",
        "oracle_markdown",
        "oracle_table",
        "rungs_and_accuracies",
        "rungs_markdown",
    ),
    "figures.classifiers.poses": ("plot_pose_histogram",),
    "figures.spread": ("plot_spread",),
    "tables.ladder": ("ladder_table", "to_latex", "to_markdown"),
    "tables.ledger": ("ledger_table",),
    "tables.ledger_latex": ("ledger_latex",),
    "figures.tuning": ("plot_tuning",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that holds `name` and remember the value."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
