"""How a value finds its figures: `reporting` stands to the right of this room, so only on use."""

from __future__ import annotations

import difflib
import inspect
from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from importlib import import_module
from types import MethodType
from typing import Any

import pandas as pd

from ..errors import ProbeError

_REPORTING = "invariance_probe.reporting"
_ROWS, _LETTERS = 12, 200

_PAGE = """<div>
<p><b>{name}</b><br>{caption}</p>
<div style="overflow-x: auto">{table}</div>
{figure}{warnings}</div>"""

# On white whatever the page's colour: the figures are drawn for paper.
_FIGURE = """<img alt="{alt}" src="data:image/png;base64,{data}"
 style="background: white; border-radius: 4px; width: 100%; max-width: {width}px; margin: 0.5em 0">
"""


class UnknownFigure(ProbeError, AttributeError):
    """A figure that a value does not have; `hasattr` takes it for an answer."""


class Plots:
    """The figures of a value: ``result.plot.residuals()`` is ``plot_residuals(result)``.

    There is one for every function ``plot_NAME`` of `invariance_probe.reporting` that takes such a
    value first; it takes the other arguments of that function and returns its Figure. An unknown
    name raises a ProbeError (also an AttributeError) with near matches.

    A class has it as ``plot = Plots()``. It is no property, since IPython completes what follows an
    attribute but never calls a property to find out.
    """

    def __init__(self, value: object = None) -> None:
        self._value = value

    def __get__(self, value: object, owner: type | None = None) -> Plots:
        return self if value is None else Plots(value)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # asked for by notebooks and copies, which must not cost an import
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        there = figures_of(self._value)
        if name not in there:
            plain = name.removeprefix("plot_")
            near = [plain] if plain in there else difflib.get_close_matches(plain, there, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(there)}"
            raise UnknownFigure(f"no figure {name!r} of a {type(self._value).__name__}; {hint}")
        return MethodType(there[name], self._value)

    def __dir__(self) -> list[str]:
        return [*figures_of(self._value), *super().__dir__()]

    def __repr__(self) -> str:
        return f"figures of {self._value!r}: {', '.join(figures_of(self._value))}"


def figures_of(value: object) -> dict[str, Callable[..., Any]]:
    """The functions ``plot_NAME`` of `reporting` whose first argument is such a value, by NAME.

    Read from their annotations: ``Result | Sequence[Result]`` takes a Result, and
    ``Mapping[str, Result]`` does not.
    """
    room = import_module(_REPORTING)
    kinds = {kind.__name__ for kind in type(value).__mro__} - {"object"}
    found = {}
    for name in room.__all__:
        if name.startswith("plot_"):
            function = getattr(room, name)
            first = next(iter(inspect.signature(function).parameters.values()))
            if kinds & set(str(first.annotation).split(" | ")):
                found[name.removeprefix("plot_")] = function
    return found


def as_html(
    value: object,
    caption: str,
    table: Callable[[], pd.DataFrame],
    number: str = "{:.2f}",
    warnings: Sequence[str] = (),
) -> str:
    """A value for notebooks: what it is, a compact table, one small figure, its warnings.

    All in one piece, without style sheets or scripts, legible on light and dark pages; names are
    escaped. `number` formats the table's numbers. Never raises: what cannot be shown is left out.
    """
    try:
        rows = table().rename(columns=lambda name: str(name).replace("_", " "))
        shown = rows.rename_axis(index=None, columns=None).to_html(
            border=0, na_rep="–", float_format=number.format, max_rows=_ROWS, escape=True
        )
    except Exception:
        shown = ""
    name = repr(value)
    return _PAGE.format(
        name=escape(name if len(name) <= _LETTERS else type(value).__name__),
        caption=escape(caption),
        table=shown.replace("<table ", '<table style="color: inherit; text-align: right" ', 1),
        figure=_figure(value),
        warnings=_list(warnings),
    )


def _figure(value: object) -> str:
    """The small figure as an element; nothing where drawing fails, say without matplotlib."""
    try:
        figure = import_module(f"{_REPORTING}.notebook").small_figure(value)
        if figure is None:
            return ""
        data = b64encode(figure._repr_png_()).decode("ascii")
        width = round(96 * figure.get_figwidth())
        return _FIGURE.format(alt=escape(figure.get_label()), data=data, width=width)
    except Exception:
        return ""


def _list(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    rows = "".join(f"<li>{escape(str(text))}</li>" for text in warnings)
    many = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    return f"<details><summary>{many}</summary><ul>{rows}</ul></details>\n"
