"""How far work is, below the cell of a notebook; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any

from .look import Progress

_EVERY = 0.25  # seconds between two texts


def listener(progress: Progress | None) -> Progress | None:
    """Who is told how far work is: what the caller gave, or a line below the cell of a notebook."""
    if progress is not None or not _in_notebook():
        return progress
    return Line()


def _in_notebook() -> bool:
    """Whether a kernel runs this, whose output a browser shows; a terminal has none."""
    started = sys.modules.get("IPython")
    shell = started.get_ipython() if started is not None else None
    return getattr(shell, "kernel", None) is not None


class Line:
    """A line below the cell that is written anew as work goes on, and is empty at its end."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = -_EVERY

    def __call__(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if now - self._last < _EVERY and done < total:
            return
        self._last = now
        share = f"{100 * done // total} %  " if total else ""
        self._show("" if 0 < total <= done else f"{share}{text}")

    def _show(self, text: str) -> None:
        display = sys.modules["IPython"].display.display
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
