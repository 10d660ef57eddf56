"""The small line by which a figure says of which network and which images it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any

from matplotlib.figure import Figure

from ...probing import Comparison, OracleResult, Result
from ...training import TrainedRun
from .fitting import wrapped

_SIZE, _LINE, _EDGE = 7.0, 3.1, 1.0  # points of its letters; millimetres of a line and beside it


@singledispatch
def source_of(value: object) -> str:
    """What a figure of a value is of, such as "mnist_cnn, MNIST test digits"; "" if it is unknown.

    Of several results each network and each set of images is named once; of a comparison, whose
    networks stand in its legend, the images alone.
    """
    return ""


@source_of.register(Result)
@source_of.register(OracleResult)
def _(value: Result | OracleResult) -> str:
    return _named([value.provenance])


@source_of.register(list)
@source_of.register(tuple)
def _(value: Iterable[object]) -> str:
    return _named([one.provenance for one in value if isinstance(one, Result | OracleResult)])


@source_of.register
def _(value: Comparison) -> str:
    parts = value.provenance.get("parts", {}).values()
    return ", ".join(_distinct(parts, "images", "description"))


@source_of.register
def _(value: TrainedRun) -> str:
    return f"{value.config.architecture.name}, {value.config.data}"


def _named(parts: Iterable[Mapping[str, Any]]) -> str:
    parts = list(parts)
    return ", ".join(
        [*_distinct(parts, "network", "name"), *_distinct(parts, "images", "description")]
    )


def _distinct(parts: Iterable[Mapping[str, Any]], section: str, name: str) -> list[str]:
    found = [str((part.get(section) or {}).get(name) or "") for part in parts]
    return [one for one in dict.fromkeys(found) if one]


def add_source(figure: Figure, text: str) -> None:
    """Write a line above everything at the right of a figure, which grows by its height."""
    engine = figure.get_layout_engine()
    if not text or engine is None:
        return
    lines = wrapped(text, 25.4 * figure.get_figwidth() - 2 * _EDGE, _SIZE)
    above = _LINE * (1 + lines.count("\n")) / 25.4
    height = figure.get_figheight() + above
    figure.set_figheight(height)
    engine.set(rect=(0, 0, 1, 1 - above / height))  # type: ignore[call-arg]
    figure.text(
        1 - _EDGE / 25.4 / figure.get_figwidth(), 1 - 0.4 / 25.4 / height, lines, ha="right",
        va="top", size=_SIZE, color="0.35", linespacing=1.0, parse_math=False, in_layout=False,
    )  # fmt: skip
