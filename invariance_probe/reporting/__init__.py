"""Reporting: figures and tables of a result. Figures are returned, never shown."""

from .curves import plot_residuals
from .files import save_figures
from .gallery import plot_gallery
from .heatmap import plot_recovered
from .ladder import plot_ladder
from .landscape import plot_landscape
from .tables import ladder_table, to_latex, to_markdown

__all__ = [
    "ladder_table",
    "plot_gallery",
    "plot_ladder",
    "plot_landscape",
    "plot_recovered",
    "plot_residuals",
    "save_figures",
    "to_latex",
    "to_markdown",
]
