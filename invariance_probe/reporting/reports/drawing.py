"""The figures of a report as the bytes of files, drawn by one process or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ..drawing.style import names_as_they_are
from ..files import figure_bytes
from .beside import beside
from .illustrations import Illustration

LARGEST_FIGURE = 1_500_000  # bytes of an SVG; larger ones go into the page as PNG
_DPI = 200  # of those

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Drawn:
    """A figure as bytes of files by suffix, with its width and height in millimetres.

    `pixels` is a PNG for the page where the SVG is too large for it.
    """

    files: Mapping[str, bytes]
    size: tuple[float, float]
    pixels: bytes | None = None


@contextmanager
def drawing(
    shown: Sequence[Illustration], formats: Sequence[str] = (), *, share: float = 0.0
) -> Iterator[Callable[[Progress | None], list[Drawn]]]:
    """Begin to draw all as SVG and `formats`; what is yielded goes on and returns all, in order.

    A `share` of them is drawn by a second process, if the system has one to spare; the bytes are
    the same. What is yielded takes a function to be told the title of every figure drawn here.
    """
    theirs = [n for n in range(len(shown)) if int((n + 1) * share) > int(n * share)]
    with beside([partial(_draw, shown[n], formats) for n in theirs]) as results:

        def finish(progress: Progress | None = None) -> list[Drawn]:
            drawn: dict[int, Drawn] = {}
            for number in [n for n in range(len(shown)) if n not in theirs]:
                _tell(progress, shown[number])
                drawn[number] = _draw(shown[number], formats)
            drawn |= dict(zip(theirs, results(), strict=False))  # fewer, where they failed there
            for number in [n for n in theirs if n not in drawn]:
                _tell(progress, shown[number])
                drawn[number] = _draw(shown[number], formats)
            return [drawn[number] for number in range(len(shown))]

        yield finish


def _tell(progress: Progress | None, one: Illustration) -> None:
    if progress is not None:
        progress(one.title)


def _draw(one: Illustration, formats: Sequence[str]) -> Drawn:
    with names_as_they_are():
        figure = one.draw()
        files = {"svg": figure_bytes(figure, "svg")}
        # The layout was found when the SVG was drawn; the other formats keep it.
        figure.set_layout_engine("none")
        files |= {suffix: figure_bytes(figure, suffix) for suffix in formats}
        large = len(files["svg"]) > LARGEST_FIGURE
        pixels = figure_bytes(figure, "png", dpi=_DPI) if large else None
    width, height = (25.4 * float(inches) for inches in figure.get_size_inches())
    return Drawn(files, (width, height), pixels)
