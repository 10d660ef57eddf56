"""How commands end: expected failures in one line and an exit code, bugs with a traceback."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from ..errors import ProbeError
from .talk import err, main

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of the click that typer carries

written: list[Path] = []
"""What this command has finished writing, for the line that Ctrl-C leaves."""


class Commands(TyperGroup):
    """The commands, whose expected failures end in one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; bugs keep their traceback."""
        written.clear()
        try:
            return super().invoke(ctx)
        except ProbeError as error:
            own = getattr(error, "own", False)  # of a process that could not tell the first one
            raise _ended(f"error: {error}", 2, always=own) from error
        except UsageError as error:
            if main():
                raise
            raise typer.Exit(2) from error  # the first process says the same
        except KeyboardInterrupt as stop:
            left = ", ".join(map(str, written))
            what = f"{left} is complete" if left else str(stop) or "nothing was written"
            raise _ended(f"stopped; {what}", 130) from None
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # the reader has gone: nothing left to tell it
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (MemoryError, OSError, RuntimeError) as error:
            if line := _shortage(error):
                raise _ended(f"error: {line}", 2) from error
            raise


def _ended(line: str, code: int, always: bool = False) -> typer.Exit:
    err(always).print(Text(" ".join(line.split()), "red"), soft_wrap=True)
    return typer.Exit(code)


def _shortage(error: Exception) -> str | None:
    """The line for a full disk or a full memory, None for anything else."""
    text = str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        place = f" ({error.filename})" if error.filename else ""
        return f"{os.strerror(error.errno)}{place}; free some space or write elsewhere"
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in text
    ):
        return (
            "out of memory; use a smaller --batch-size (when training: --set batch_size=), fewer "
            "--layers or fewer --transforms"
        )
    return None
