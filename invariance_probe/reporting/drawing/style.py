"""How figures look: sizes of a printed column, colours and marks that survive grey and CVD."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from inspect import signature
from io import BytesIO
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.transforms import Bbox

from ...errors import ProbeError
from .sources import add_source, source_of

NARROW, WIDE = 85.0, 170.0
"""Widths in millimetres of one and of two columns of a printed page."""

_LEAST, _MOST = 70.0, 300.0  # millimetres: labels do not fit less, no page is wider

RESIDUAL = "residual (fraction of\nvariance unexplained)"

PLAIN = "DejaVu Sans"
"""The font of figures: it ships with matplotlib, so that a layout is the same on every machine."""

# What no figure is drawn by, what asks for a backend, and what `names_as_they_are` sets.
_NOT_OURS = ("backend", "interactive", "toolbar", "keymap.", "webagg.", "savefig.directory",
             "text.parse_math")  # fmt: skip

# Settings of the user would change figures, and some (LaTeX that is not there) end them.
_DEFAULTS = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith(_NOT_OURS)}

RC: Any = _DEFAULTS | {
    "font.family": [PLAIN],
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "figure.titlesize": 8.0,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "axes.grid": False,
    # Else letters are as wide as whole pixels make them, and a layout holds at one resolution only.
    "text.hinting": "none",
    "lines.linewidth": 1.1,
    "lines.markersize": 3.0,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 300,
    "svg.fonttype": "none",  # text stays text: searchable, and set in the page's own hand
    "svg.hashsalt": "invariance_probe",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

_fonts: ContextVar[tuple[str, ...]] = ContextVar("fonts", default=(PLAIN,))
_named: ContextVar[bool] = ContextVar("named", default=True)

SHADE, MASKED, FAINT = "0.93", "0.9", "0.75"


class StyledFigure(Figure):
    """A Figure outside pyplot that is saved in the house style, the same bytes every time.

    Shows itself in notebooks without a pyplot backend.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.look: Any = look()

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as `Figure.savefig` does, with text as text and without dates."""
        given = options.get("format") or str(getattr(fname, "name", fname)).rpartition(".")[2]
        options.setdefault("metadata", _METADATA.get(str(given).lower()))
        with matplotlib.rc_context(self.look):
            engine = self.get_layout_engine()
            if engine is not None:  # laid out here, or matplotlib draws everything twice
                engine.execute(self)
                self.set_layout_engine(None)
                self._round_positions()
            try:
                super().savefig(fname, **options)
            finally:
                if engine is not None:
                    self.set_layout_engine(engine)

    def _round_positions(self) -> None:
        """Take from the places of axes what the layout's solver leaves to chance.

        It goes by the addresses of objects, and differs from run to run in the last bits; names of
        clip paths in an SVG are hashed from all of them.
        """
        for ax in self.axes:
            ends = np.round(ax.get_position(original=True).extents, 9)
            ax._set_position(Bbox.from_extents(*ends))  # type: ignore[attr-defined]

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a drawing function under the house style and leave matplotlib's settings alone.

    `ax` is taken for `axes`.
    """

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        if "ax" in kwargs and "axes" in signature(draw).parameters:  # as pandas and seaborn call it
            kwargs["axes"] = kwargs.pop("ax")
        with matplotlib.rc_context(look()):
            drawn = draw(*args, **kwargs)
            # What is drawn into a figure of others leaves to them what that says.
            if _named.get() and isinstance(drawn, StyledFigure) and kwargs.get("axes") is None:
                add_source(drawn, source_of(args[0]) if args else "")
            return drawn

    return inner


def look() -> Any:
    """Settings of matplotlib for a figure that is drawn now."""
    return {**RC, "font.family": list(_fonts.get())}


@contextmanager
def figure_style(*, font: str | None = None, named: bool = True) -> Iterator[None]:
    """Draw figures in another font, or without the line that names network and images.

    `font` is "Helvetica", "Arial" or any other that matplotlib finds; letters that it lacks come
    from DejaVu Sans, and so do all where it is not installed, with one warning. Files in PDF hold
    the letters that they use. Holds for the figures drawn in the block, by whatever function.

        with figure_style(font="Helvetica", named=False):
            plot_residuals(result, width=85).savefig("residuals.pdf")
    """
    if font is not None and (problem := font_problem(font)):
        warnings.warn(problem, stacklevel=3)
        font = None
    before = _fonts.set((font, PLAIN) if font not in (None, PLAIN) else (PLAIN,)), _named.set(named)
    try:
        yield
    finally:
        _fonts.reset(before[0])
        _named.reset(before[1])


def font_problem(font: str) -> str:
    """Say that a font is not installed; "" where it is."""
    try:
        findfont(FontProperties(family=font), fallback_to_default=False)
    except ValueError:
        return (
            f"the font {font!r} is not installed, so that figures are set in {PLAIN}; install it, "
            "or name another"
        )
    return ""


def names_as_they_are() -> AbstractContextManager[None]:
    """Draw without mathematics: a dollar sign in the name of a layer or a network is none."""
    return matplotlib.rc_context({"text.parse_math": False})


def checked_width(width: float | None) -> float | None:
    """A figure's width in millimetres as it was asked for; None leaves it to the figure.

    Raises ProbeError for widths at which labels cannot be read, and for none at all.

    >>> checked_width(85), checked_width(None)
    (85.0, None)
    """
    if width is None:
        return None
    try:
        wanted = float(width)
    except (TypeError, ValueError):
        wanted = math.nan
    if not _LEAST <= wanted <= _MOST:
        raise ProbeError(
            f"figure width {width!r}: give millimetres from {_LEAST:g} to {_MOST:g}, "
            f"such as {NARROW:g} (one column of a page) or {WIDE:g} (two)"
        )
    return wanted


def new_figure(width: float, height: float) -> StyledFigure:
    """An empty figure of a size in millimetres, laid out so that nothing overlaps."""
    figure = StyledFigure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.04)  # type: ignore[call-arg]
    return figure
