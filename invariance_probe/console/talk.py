"""What the command line says: lines, and progress with the time left."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from unicodedata import category

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.table import Column
from rich.text import Text

Report = Callable[[int, int, str], None]


LINES_EVERY = 30.0  # seconds between lines where nobody watches
TIMED = 2.0  # seconds of work by which the rest is judged
LONG = 600.0  # seconds of work that are announced before most of it is done
_STEERING = {"Cc", "Cf", "Cs"}  # kinds of characters: control, direction and width, half of one


machine = False
"""Whether stdout belongs to one JSON object."""


def only_json(asked: bool) -> bool:
    """Keep everything but the JSON object from stdout, or nothing: the callback of `--json`."""
    global machine
    machine = asked
    return asked


def write_anywhere() -> None:
    """Let a terminal of few letters (ASCII) show "?" for others, instead of ending a command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def main() -> bool:
    """Whether this process is the one that talks, among those of torchrun."""
    return os.environ.get("RANK", "0") == "0"


def out() -> Console:
    """Where results go; nowhere in all processes but the first, and beside a JSON object."""
    return Console(highlight=False, quiet=machine or not main())


def err(always: bool = False) -> Console:
    """Where progress and errors go, of the first process or `always`."""
    return Console(stderr=True, highlight=False, quiet=not (always or main()))


def say(text: str, style: str = "") -> None:
    """One line of text, whole whatever the width of the terminal."""
    out().print(written(text, style), soft_wrap=True)


def sentence(text: str, style: str = "") -> None:
    """A sentence, broken between words at the width of the terminal."""
    out().print(written(text, style))


def hint(text: str) -> None:
    """One dim line beside the results, on stderr."""
    err().print(written(text, "dim"), soft_wrap=True)


def written(text: str, style: str = "") -> Text:
    r"""A text that can be written: what steers a terminal, and bytes that are no UTF-8, as escapes.

    >>> print(written("caf\udce9"), written("a\u202eb"), written("é ö"))
    caf\udce9 a\u202eb é ö
    """
    kept = (c if c in "\n\t" or category(c) not in _STEERING else ascii(c)[1:-1] for c in text)
    return Text("".join(kept), style)


@contextmanager
def progress(title: str, width: int = 30, lines_every: float = LINES_EVERY) -> Iterator[Report]:
    """A bar with the time left on stderr; where nobody watches a line at start, end and seldom."""
    console, start = err(), time.monotonic()
    began: int | None = None  # work done before, by a run that is gone on with
    if not console.is_terminal or console.is_dumb_terminal or os.environ.get("CI"):
        console.print(written(f"{title} ..."), soft_wrap=True)
        said = start

        def line(done: int, total: int, text: str) -> None:
            nonlocal said, began
            began = done if began is None else began
            now = time.monotonic()
            if now - said >= lines_every:
                said = now
                left = (now - start) * (total - done) / (done - began) if done > began else None
                ahead = "" if left is None else f", {duration(left)} left"
                counted = f"{done} of {total}, " if total else ""
                console.print(written(f"{title}: {counted}{text}{ahead}"), soft_wrap=True)

        yield line
        console.print(written(f"{title}: {time.monotonic() - start:.1f} s"), soft_wrap=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn(
            "{task.description}", markup=False, table_column=Column(width=width, no_wrap=True)
        ),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeLeft(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(written(title).plain, total=None)

        def report(done: int, total: int, text: str) -> None:
            # Where nobody knows how much there is (0), the bar moves and names no share.
            bar.update(task, completed=done, total=total or None, description=written(text).plain)

        yield report


def announcing(report: Report, unit: str, remedy: str) -> Report:
    """A progress that says once, as soon as it has timed some work, when much more is ahead.

    `unit` is what is counted; `remedy` says what would take less time.
    """
    began: tuple[int, float] | None = None
    known = False

    def told(done: int, total: int, text: str) -> None:
        nonlocal began, known
        now = time.monotonic()
        began = began or (done, now)
        work, gone = done - began[0], now - began[1]
        if not known and work > 0 and gone >= TIMED:
            known = True
            if (each := gone / work) * (total - done) > LONG:
                ahead = f"{total - done:,} {unit} ahead at {brief(each)} each"
                hint(f"{ahead}: about {duration(each * (total - done))}\n{remedy}")
        report(done, total, text)

    return told


def brief(seconds: float) -> str:
    """A short time with its unit.

    >>> brief(1.5), brief(0.0123), brief(4e-5)
    ('1.5 s', '12 ms', '0.04 ms')
    """
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"


def duration(seconds: float) -> str:
    """Seconds in short.

    >>> duration(42.4), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
