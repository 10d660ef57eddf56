"""The report as one HTML file that loads nothing and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...probing.ladder.shares import READINGS, SHARES
from ...probing.rungs import RUNG, TELLING
from ..select import spoken
from ..tables.escaping import guarded, printable
from .contents import Content, Ladder, LadderRow, as_json
from .drawing import Drawn
from .illustrations import Illustration
from .svg import inline_svg
from .text.citing import as_bibtex
from .text.wording import interval, share

_TEMPLATES = Path(__file__).with_name("templates")
_ACROSS = 5  # layers in one table of the ladder
_ROWS = 40  # rows of a figure's data that are shown
_DIGITS = 6  # significant digits of the data in the page
LARGEST_DATA = 600_000  # bytes of a figure's CSV in the page
DATA_BUDGET = 4_000_000  # bytes of all of them


@dataclass(frozen=True)
class Extra:
    """A further section: its id, title and markup, with its own style sheet and script.

    Whoever makes one answers for its `body` being safe.
    """

    name: str
    title: str
    body: Markup
    style: str = ""
    script: str = ""


@dataclass(frozen=True)
class Shown:
    """A figure as the page shows it."""

    name: str
    section: str
    title: str
    caption: str
    picture: Markup
    link: str
    count: int
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def page(
    said: Content, figures: Iterable[tuple[Illustration, Drawn]], extras: Sequence[Extra] = ()
) -> str:
    """The whole file, from what there is to say and every figure with what is drawn of it."""
    shown = sorted(_shown(figures), key=_order)
    sections = {one.section for one in shown}
    styles = [_asset("report.css"), *(extra.style for extra in extras if extra.style)]
    scripts = [_asset("report.js"), *(extra.script for extra in extras if extra.script)]
    text = _environment().get_template("report.html.j2").render(
        said=said, figures=shown, extras=extras, several=len(said.parts) > 1,
        ladders=[(one, columns) for one in said.ladders for columns in _columns(one)],
        sections=_sections(said, sections, extras), expert=_for_experts(said, sections),
        has=lambda name: name in sections,
        styles=list(map(Markup, styles)), scripts=list(map(Markup, scripts)),
        policy=_policy(styles, scripts), data=json_block(as_json(said)),
        bibtex=as_bibtex(said.references), known={*RUNG, *READINGS}, interval=interval, share=share,
        bar=bar, spoken=spoken,
        telling={*TELLING, "gain"},
    )  # fmt: skip
    return printable(text)


def json_block(text: str) -> Markup:
    """JSON that no content can leave: the characters that end a script or begin markup escaped."""
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def bar(ladder: Ladder, row: LadderRow, place: int) -> Markup:
    """A small bar for one entry of the ladder; a picture of what stands beside it."""
    estimate, whole = row.cells[place], ladder.top
    floor, ceiling = ladder.band(place)
    if row.rung in SHARES or row.rung == "attribution":
        whole, floor, ceiling = 1.0, 0.0, 1.0
    ends = (estimate.value, estimate.low, estimate.high, floor, ceiling)
    value, low, high, left, right = (
        100 * min(max(end / whole, 0.0), 1.0) if np.isfinite(end) else 0.0 for end in ends
    )
    return Markup(
        '<svg class="bars" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" x="0" y="0" width="100" height="10"/>'
        '<rect class="band" x="{:.1f}" y="0" width="{:.1f}" height="10"/>'
        '<rect class="whole" x="0" y="3" width="{:.1f}" height="4"/>'
        '<path class="ends" d="M{:.1f} 5H{:.1f}" vector-effect="non-scaling-stroke"/></svg>'
    ).format(left, max(right - left, 0.0), value, low, high)


def _order(one: Shown) -> int:
    """The ladder's figure, which repeats its table, comes late, and single images last."""
    names = ("residuals", "gain", "ladder", "spread")
    return next((place for place, name in enumerate(names) if name in one.name), 0)


def _sections(said: Content, figured: set[str], extras: Sequence[Extra]) -> list[tuple[str, str]]:
    there = [
        ("answer", "Answer", True),
        *((extra.name, extra.title, True) for extra in extras),
        ("numbers", "In numbers", True),
        ("oracle", "Classifier", bool(said.treatments)),
        ("measured", "What was measured", True),
        ("ladder", "Ladder", bool(said.ladders)),
        ("experts", "For experts", _for_experts(said, figured)),
        ("pitfalls", "Pitfalls", True),
        ("methods", "Methods", True),
        ("provenance", "Provenance", True),
        ("cite", "How to cite", True),
    ]
    return [(name, title) for name, title, shown in there if shown]


def _for_experts(said: Content, figured: set[str]) -> bool:
    """Whether there is anything that only experts ask for."""
    drawn = {"experts", "search", "channels"} & figured
    return bool(said.ladders or said.search or said.channels or drawn)


@dataclass(frozen=True)
class _Columns:
    places: tuple[int, ...]
    layers: tuple[str, ...]


def _columns(ladder: Ladder) -> Iterator[_Columns]:
    """Layers of a ladder, as many as fit beside each other."""
    number_of = len(ladder.layers)
    tables = -(-number_of // _ACROSS)
    for part in np.array_split(np.arange(number_of), tables):
        places = tuple(map(int, part))
        yield _Columns(places, tuple(ladder.layers[place] for place in places))


def _shown(figures: Iterable[tuple[Illustration, Drawn]]) -> Iterator[Shown]:
    left = DATA_BUDGET
    for one, drawn in figures:
        link = ""
        text = guarded(one.data).to_csv(
            index=False, lineterminator="\n", float_format=f"%.{_DIGITS}g"
        )
        if len(text) <= min(LARGEST_DATA, left):
            left -= len(text)
            coded = base64.b64encode(text.encode()).decode()
            link = f"data:text/csv;charset=utf-8;base64,{coded}"
        first = one.data.head(_ROWS)
        rows = tuple(tuple(map(_entry, row)) for row in first.itertuples(index=False, name=None))
        heads = tuple(map(str, one.data.columns))
        picture = _picture(one, drawn)
        yield Shown(
            one.name, one.section, one.title, one.caption, picture, link, len(one.data), heads, rows
        )


def _picture(one: Illustration, drawn: Drawn) -> Markup:
    if drawn.pixels is None:
        return Markup(inline_svg(drawn.files["svg"], f"figure-{one.name}", one.alt))
    coded = base64.b64encode(drawn.pixels).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(one.alt, Markup(coded))


def _entry(value: object) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if pd.isna(value) else f"{value:.4g}".replace("-", "−")
    return str(value)


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """What the page may load and run: its own styles and scripts, by hash, and pictures in it."""
    return "; ".join(
        [
            "default-src 'none'",
            "style-src " + " ".join(map(_source, styles)),
            "script-src " + " ".join(map(_source, scripts)),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
