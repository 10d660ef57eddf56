"""Reporting: figures and tables of a result. Figures are returned, never shown."""

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
from .heatmap import plot_recovered
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
from .report import cite, report
from .spread import plot_spread
from .tables import ladder_table, to_latex, to_markdown
from .theorem import plot_theorem, theorem_table
from .tuning import plot_tuning

__all__ = [
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
    "plot_gallery",
    "plot_history",
    "plot_ladder",
    "plot_landscape",
    "plot_learned",
    "plot_moved",
    "plot_oracle",
    "plot_pose_histogram",
    "plot_recovered",
    "plot_residuals",
    "plot_spread",
    "plot_theorem",
    "plot_training_course",
    "plot_tuning",
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
