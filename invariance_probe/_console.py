"""What the command line says and how it ends: errors in one line, progress, tables."""

from __future__ import annotations

import ast
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from .errors import ProbeError

if TYPE_CHECKING:
    import torch

    from .networks import LayerInfo
    from .probing import Result

Report = Callable[[int, int, str], None]

written: list[Path] = []
"""What this command has finished writing, for the line that Ctrl-C leaves."""


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


# --- how commands end and are read -------------------------------------------------------------


class Commands(TyperGroup):
    """The commands, whose expected failures end in one line on stderr and an exit code."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Run the command; bugs keep their traceback."""
        written.clear()
        try:
            return super().invoke(ctx)
        except ProbeError as error:
            raise _ended(f"error: {error}", 2) from error
        except KeyboardInterrupt:
            left = ", ".join(map(str, written))
            what = f"{left} is complete" if left else "nothing was written"
            raise _ended(f"stopped; {what}", 130) from None
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # the reader has gone: nothing left to tell it
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (MemoryError, OSError, RuntimeError) as error:
            if line := _shortage(error):
                raise _ended(f"error: {line}", 2) from error
            raise


def _ended(line: str, code: int) -> typer.Exit:
    err().print(Text(" ".join(line.split()), "red"), soft_wrap=True)
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
        return "out of memory; use a smaller --batch-size, fewer --layers or fewer --transforms"
    return None


class Greedy(TyperCommand):
    """A command without arguments, whose list options take all values up to the next option."""

    several = ("--layers", "--transforms", "--network-arg", "--mean", "--std")

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, as the parser wants it."""
        spread: list[str] = []
        current, values = "", 0
        for token in args:
            if token.startswith("-") and not token[1:2].isdigit():
                current, values = token if token in self.several else "", 0
            elif current:
                values += 1
                if values > 1:
                    spread.append(current)
            spread.append(token)
        return super().parse_args(ctx, spread)


def words(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Values of a list option, which may also be joined by commas or spaces."""
    if not values:
        return None
    return tuple(word for value in values for word in value.replace(",", " ").split())


def numbers(name: str, values: Sequence[str] | None) -> tuple[float, ...] | None:
    """The numbers of a list option."""
    try:
        return None if not values else tuple(float(word) for word in words(values) or ())
    except ValueError:
        raise ProbeError(f"{name} {' '.join(values or ())}: give numbers, such as 0.5") from None


def canvas_size(text: str | None) -> tuple[int, int] | None:
    """(rows, columns) from "224x224" or "224"."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ProbeError(f"--canvas {text}: give rows x columns in pixels, such as 224x224")
    return int(sides[0]), int(sides[-1])


def arguments(pairs: Sequence[str] | None) -> dict[str, Any] | None:
    """{key: value} from "key=value" texts; values are JSON or Python literals, else text."""
    if not pairs:
        return None
    read: dict[str, Any] = {}
    for pair in pairs:
        key, mark, text = pair.partition("=")
        if not mark or not key.isidentifier():
            raise ProbeError(f"--network-arg {pair}: write key=value, such as width=64")
        read[key] = text
        for parse in (ast.literal_eval, json.loads):
            with suppress(ValueError, SyntaxError):
                read[key] = parse(text)
    return read


def stored_config(path: Path | None) -> dict[str, Any]:
    """The configuration in a result folder, its provenance.json, or a JSON file."""
    if path is None:
        return {}
    file = path / "provenance.json" if path.is_dir() else path
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProbeError(f"{file} does not exist; give a result folder or a JSON file") from None
    except (OSError, ValueError) as error:
        raise ProbeError(f"{file} is no JSON file ({error}); give a result folder") from None
    if isinstance(values, dict) and "software" in values:
        values = values.get("config")
        if not values:
            raise ProbeError(
                f"{path} was measured on Python objects and has no configuration to replay"
            )
    if not isinstance(values, dict):
        raise ProbeError(f"{file} holds no configuration; give a result folder")
    return values


def checked_device(name: str) -> torch.device:
    """The device of that name, if there is one."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ProbeError(
            f"there is no device {name!r} here; use cpu{' or cuda' * torch.cuda.is_available()}"
        ) from None
    return device


# --- progress ----------------------------------------------------------------------------------


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A bar with the time left on stderr, or a line at start and end where nobody watches."""
    console, start = err(), time.monotonic()
    if not console.is_terminal or console.is_dumb_terminal or os.environ.get("CI"):
        console.print(Text(f"{title} ..."), soft_wrap=True)
        yield lambda done, total, text: None
        console.print(Text(f"{title}: {time.monotonic() - start:.1f} s"), soft_wrap=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(width=30, no_wrap=True)),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeLeft(compact=True, elapsed_when_finished=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def report(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=text)

        yield report


# --- tables ------------------------------------------------------------------------------------

RECOVERED = (
    "recovered: the share of the gap between the map of another image and the aligned input "
    "that moving the maps back closes (1 all of it, 0 none)"
)


def table(title: str, *columns: Column) -> Table:
    """An empty table of the house's look."""
    return Table(
        *columns, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold",
    )  # fmt: skip


def ladder(result: Result, transform: str) -> Table:
    """Residuals under one transform: a row per layer, a column per rung, and `recovered`."""
    rungs = result.axes["rung"]
    level = result.provenance.get("options", {}).get("level", 0.95)
    right = [Column(name.replace("_", "\n"), justify="right", no_wrap=True) for name in rungs]
    share = Column(f"recovered\n[{level:.0%}]", justify="right", no_wrap=True)
    shown = table(f"residuals under {transform}", Column("layer", overflow="fold"), *right, share)
    rows = result.summary[result.summary["transform"] == transform]
    for row in rows.to_dict("records"):
        values = [Text(f"{row[rung]:.3f}") for rung in rungs]
        interval = f"{row['recovered']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        shown.add_row(Text(row["layer"]), *values, Text(interval, "bold"))
    return shown


def telling(result: Result) -> list[str]:
    """One transform of each kind to show: the rotation nearest 90°, the scaling nearest 2."""
    import numpy as np

    rows = result.summary[~result.summary["identity"]].drop_duplicates("transform")
    chosen = []
    for kind, group in rows.groupby("kind", sort=False):
        value = group["parameter"]
        away = {
            "rotation": abs(value.abs() - 90) - 1e-6 * value,  # 90 rather than -90
            "scaling": abs(np.log2(value.where(value > 0, np.nan)) - 1),
        }.get(str(kind), -abs(value))
        chosen.append(str(group["transform"].iloc[int(np.argmin(away))]))
    return chosen[:3]


def show_result(result: Result) -> None:
    """The ladder of the telling transforms, what `recovered` means, and the warnings."""
    console = out()
    for transform in telling(result) or list(result.axes["transform"])[:1]:
        console.print(ladder(result, transform))
        console.print()
    console.print(Text(RECOVERED))
    for warning in result.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))


def layer_row(info: LayerInfo, frame: Any, aligned: tuple[int, int] | None) -> list[Text]:
    """Cells of the table of layers: name, kind, channels, map, jump, start, offset, input size."""
    (dx, dy), centred = frame.centre_offset, max(map(abs, frame.centre_offset)) < 1e-6
    size = "-" if centred else f"{aligned[0]}x{aligned[1]}" if aligned else "none near"
    style = "" if centred else "yellow"
    return [
        Text(info.name), Text(info.kind), Text(str(info.channels)),
        Text(f"{frame.size[0]}x{frame.size[1]}"), Text(pair(frame.jump)), Text(pair(frame.start)),
        Text("0" if centred else pair((dx, dy)), style), Text(size, style),
    ]  # fmt: skip


def pair(values: tuple[float, float]) -> str:
    """(x, y) in short: one number when both agree."""
    x, y = (f"{value:.4g}" for value in values)
    return x if x == y else f"{x}, {y}"
