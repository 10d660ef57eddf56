"""How commands end: expected failures in one line and an exit code, bugs with a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from ..errors import ProbeError, one_line
from . import shortages
from .talk import err, main

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of the click that typer carries

written: list[Path] = []
"""What this command has finished writing, for the line that Ctrl-C leaves."""

# What a place can have wrong with it, and what to do then; no fault of the program.
_PLACES = {
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "give the place itself, not a link that leads back to itself",
    errno.ENOTDIR: "name a folder, and not a file, above it",
    errno.EISDIR: "name a file",
} | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENXIO, errno.EINVAL, errno.ENODEV),
    "name another place, or change what may be done there",
)


class Commands(TyperGroup):
    """The commands, whose expected failures end in one line on stderr and an exit code."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Read what stands before the command."""
        try:
            return super().make_context(*args, **more)
        except UsageError as error:
            raise _brief(error) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; bugs keep their traceback."""
        written.clear()
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        try:
            _check_no_empty(words)
            return super().invoke(ctx)
        except ProbeError as error:
            own = getattr(error, "own", False)  # of a process that could not tell the first one
            said = shortages.memory_line(error.__cause__, words) or error
            raise _ended(f"error: {said}", 2, always=own) from error
        except UsageError as error:
            if main():
                raise _brief(error) from None
            raise typer.Exit(2) from error  # the first process says the same
        except KeyboardInterrupt as stop:
            left = ", ".join(map(str, written))
            what = f"{left} is complete" if left else str(stop) or "nothing was written"
            raise _ended(f"stopped; {what}", getattr(stop, "code", 130)) from None
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # the reader has gone: nothing left to tell it
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except SystemExit as stop:  # of code that is not ours: whatever its number, no success
            raise _ended(
                f"error: code of the network ended the program (SystemExit: {stop.code}) before "
                "the command was done; take that out of it",
                2,
            ) from stop
        except (MemoryError, OSError, RuntimeError) as error:
            if line := shortages.line(error, words) or _of_a_place(error):
                raise _ended(f"error: {line}", 2) from error
            raise


def _ended(line: str, code: int, always: bool = False) -> typer.Exit:
    err(always).print(Text(one_line(line), "red"), soft_wrap=True)
    return typer.Exit(code)


def _brief(error: Exception) -> Exception:
    """The same usage error, what it quotes cut short."""
    for name in ("message", "param_hint"):
        if isinstance(text := getattr(error, name, None), str):
            setattr(error, name, one_line(text, 400))
    return error


def _check_no_empty(words: Sequence[str]) -> None:
    """Refuse values that are empty, as a shell leaves them of a variable that is not set."""
    for before, word in zip(["", *words], words, strict=False):
        option, mark, value = word.partition("=")
        if not word.strip() or (option.startswith("--") and mark and not value.strip()):
            name = option if mark else before if before.startswith("-") else "an argument"
            raise ProbeError(f"{name} is empty; give it a value, or omit it")


def _of_a_place(error: Exception) -> str | None:
    """The line for a name or a place that the system does not take, None for anything else."""
    if not isinstance(error, OSError) or error.errno not in _PLACES or error.filename is None:
        return None
    return f"{error.filename}: {error.strerror}; {_PLACES[error.errno]}"
