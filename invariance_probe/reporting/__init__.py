"""Reporting: figures and tables of a result. Figures are returned, never shown.

The names below load their module on first use: a report needs no half of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .report import cite, report

if TYPE_CHECKING:
    from .aligned import plot_aligned, plot_class_means
    from .baselines import plot_baselines
    from .channels import plot_channel_shift, plot_moved
    from .classifier_tables import classifier_latex, classifier_markdown, classifier_table
    from .comparison import plot_comparison, plot_training_course
    from .comparison_files import write_comparison
    from .comparison_tables import comparison_latex, comparison_markdown
    from .composition import plot_composition
    from .curves import plot_residuals
    from .files import save_figures, write_figure
    from .gallery import plot_gallery
    from .heatmap import plot_gain
    from .history import plot_history
    from .ladder import plot_ladder
    from .landscape import plot_landscape
    from .learned import plot_learned
    from .oracle import plot_oracle
    from .oracle_tables import (
        oracle_latex,
        oracle_markdown,
        oracle_table,
        rungs_and_accuracies,
        rungs_markdown,
    )
    from .poses import plot_pose_histogram
    from .published_figure import plot_published
    from .published_tables import beside_published, published_latex, published_markdown
    from .spread import plot_spread
    from .tables import ladder_table, to_latex, to_markdown
    from .theorem import plot_theorem, theorem_table
    from .tuning import plot_tuning

__all__ = [
    "beside_published",
    "cite",
    "classifier_latex",
    "classifier_markdown",
    "classifier_table",
    "comparison_latex",
    "comparison_markdown",
    "ladder_table",
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
    "plot_learned",
    "plot_moved",
    "plot_oracle",
    "plot_pose_histogram",
    "plot_published",
    "plot_residuals",
    "plot_spread",
    "plot_theorem",
    "plot_training_course",
    "plot_tuning",
    "published_latex",
    "published_markdown",
    "report",
    "rungs_and_accuracies",
    "rungs_markdown",
    "save_figures",
    "theorem_table",
    "to_latex",
    "to_markdown",
    "write_comparison",
    "write_figure",
]

_MODULES = {
    "aligned": ("plot_aligned", "plot_class_means"),
    "baselines": ("plot_baselines",),
    "channels": ("plot_channel_shift", "plot_moved"),
    "classifier_tables": ("classifier_latex", "classifier_markdown", "classifier_table"),
    "comparison": ("plot_comparison", "plot_training_course"),
    "comparison_files": ("write_comparison",),
    "comparison_tables": ("comparison_latex", "comparison_markdown"),
    "composition": ("plot_composition",),
    "curves": ("plot_residuals",),
    "files": ("save_figures", "write_figure"),
    "gallery": ("plot_gallery",),
    "heatmap": ("plot_gain",),
    "history": ("plot_history",),
    "ladder": ("plot_ladder",),
    "landscape": ("plot_landscape",),
    "learned": ("plot_learned",),
    "oracle": ("plot_oracle",),
    "oracle_tables": (
        "oracle_latex",
        "oracle_markdown",
        "oracle_table",
        "rungs_and_accuracies",
        "rungs_markdown",
    ),
    "poses": ("plot_pose_histogram",),
    "published_figure": ("plot_published",),
    "published_tables": ("beside_published", "published_latex", "published_markdown"),
    "spread": ("plot_spread",),
    "tables": ("ladder_table", "to_latex", "to_markdown"),
    "theorem": ("plot_theorem", "theorem_table"),
    "tuning": ("plot_tuning",),
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
    return sorted(globals().keys() | _HOMES.keys())
