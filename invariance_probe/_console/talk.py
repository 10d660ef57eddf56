"""What the command line says: lines, and progress with the time left."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.table import Column
from rich.text import Text

Report = Callable[[int, int, str], None]


def out() -> Console:
    """Where results go."""
    return Console(highlight=False)


def err() -> Console:
    """Where progress and errors go."""
    return Console(stderr=True, highlight=False)


def say(text: str, style: str = "") -> None:
    """One line of text, whole whatever the width of the terminal."""
    out().print(Text(text, style), soft_wrap=True)


def hint(text: str) -> None:
    """One dim line beside the results, on stderr."""
    err().print(Text(text, "dim"), soft_wrap=True)


@contextmanager
def progress(title: str, width: int = 30, lines_every: float = math.inf) -> Iterator[Report]:
    """A bar with the time left on stderr, or a line at start and end where nobody watches.

    There, long work can ask for a line every so many seconds too.
    """
    console, start = err(), time.monotonic()
    if not console.is_terminal or console.is_dumb_terminal or os.environ.get("CI"):
        console.print(Text(f"{title} ..."), soft_wrap=True)
        said = start

        def line(done: int, total: int, text: str) -> None:
            nonlocal said
            if time.monotonic() - said >= lines_every:
                said = time.monotonic()
                console.print(Text(f"{title}: {done} of {total}, {text}"), soft_wrap=True)

        yield line
        console.print(Text(f"{title}: {time.monotonic() - start:.1f} s"), soft_wrap=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(width=width, no_wrap=True)),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeLeft(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def report(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text)

        yield report
