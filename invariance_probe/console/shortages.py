"""What to do where a disk or the memory is full, by what the command was asked for."""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Sequence

from ..errors import is_of_memory

# What takes less memory, by command: the first where there is something to make smaller.
_SMALLER = {
    "probe": "use a smaller --canvas, fewer --layers or --transforms, --memory such as 500MB, or a "
    "smaller network",
    "layers": "use a smaller --canvas, or a smaller network",
    "animate": "use a smaller --canvas, fewer --layers or --transforms, a smaller --number or "
    "--width, or a smaller network",
    "demo": "use a smaller --number",
    "train": "use a smaller batch (--set batch_size=64), a smaller --width, or fewer examples "
    "(--number)",
    "evaluate": "use fewer examples (--number)",
    "compare": "compare fewer --layers or --quantities, or use fewer --resamples",
    "plot": "use a smaller --figure-width, or --format svg",
    "report": "leave out the pictures of maps (--no-viewer), or report fewer runs together",
    "verify": "replay fewer --images, without --full",
}
_OTHER = "free some memory"
_ASKED = re.compile(
    r"[Tt]ried to allocate ([\d.]+) ?(bytes|[KMG]i?B)|Unable to allocate ([\d.]+ \w+)"
)
_BATCHES = ("probe", "evaluate")


def line(error: Exception, words: Sequence[str]) -> str | None:
    """The line for a full disk or a full memory, None for anything else.

    `words` are the command and its options, of which it says what can be smaller.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        place = f" ({error.filename})" if error.filename else ""
        return f"{os.strerror(error.errno)}{place}; free some space or write elsewhere"
    return memory_line(error, words)


def memory_line(error: BaseException | None, words: Sequence[str]) -> str | None:
    """The line for a full memory, also one that something else reports as its cause."""
    if not is_of_memory(error):
        return None
    return f"out of memory{_asked(str(error))}; {remedy(words)}"


def remedy(words: Sequence[str]) -> str:
    """What makes a command take less memory.

    >>> remedy(["evaluate", "run", "--batch-size", "1"])
    'use fewer examples (--number)'
    """
    command = words[0] if words else ""
    smaller = _SMALLER.get(command, _OTHER)
    if command in _BATCHES and not _one_at_a_time(words):
        return f"use a smaller --batch-size; where that is not enough, {smaller}"
    return smaller


def _one_at_a_time(words: Sequence[str]) -> bool:
    """Whether the batch is as small as can be."""
    return "--batch-size=1" in words or ("--batch-size", "1") in itertools.pairwise(words)


def _asked(text: str) -> str:
    """How much was asked for at once, where the error says so."""
    found = _ASKED.search(text)
    if found is None:
        return ""
    if found[2] == "bytes":
        return f" ({float(found[1]) / 1e9:.3g} GB asked for at once)"
    return f" ({found[3] or f'{found[1]} {found[2]}'} asked for at once)"
