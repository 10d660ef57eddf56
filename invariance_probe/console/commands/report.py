"""How the command line writes reports, checks stored results, and says how to cite."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...errors import ProbeError
from .. import ending, machine, reading
from ..talk import progress, say, sentence
from ..writing import figure_look, place

if TYPE_CHECKING:
    from ...probing.verification.trust import Trust


def report(
    runs: Sequence[Path],
    out: Path,
    *,
    paper: bool,
    figure_width: float | None,
    font: str | None,
    source: bool,
    viewer: bool,
    overwrite: bool,
    trust: Trust,
) -> None:
    """Write the report of the results in the folders and say where it lies."""
    from ..._foreign import REPORT
    from ...running.folders import check_free

    check_free(out, overwrite=overwrite, marker=REPORT)  # the cheapest checks come first
    from ...reporting.reports import report as write
    from ...reporting.reports.viewing import UNSEEN

    missing: list[str] = []
    with place(out), figure_look(font, source), progress("reporting") as tell:
        page = write(
            list(runs), out, paper=paper, viewer=viewer, overwrite=overwrite, processes=2,
            trust=trust, notice=missing.append,
            figure_width=85.0 if figure_width is None else figure_width,
            progress=lambda text: tell(0, 0, text),
        )  # fmt: skip
    ending.written.append(out)
    for line in missing:
        say(line, "yellow")
    if any(line.startswith(UNSEEN) for line in missing):
        options = ["--paper"] * paper + ["--no-source"] * (not source)
        options += [] if figure_width is None else ["--figure-width", f"{figure_width:g}"]
        options += [] if font is None else ["--font", font]
        say(f"with them: {_again(runs, out, options)}", "yellow")
    say(f"report: {page}", "bold")


def _again(runs: Sequence[Path], out: Path, options: Sequence[str]) -> str:
    """The command that writes the same page with pictures of all results."""
    from ...probing import ProbeConfig
    from ...probing.verification.trust import allowing
    from ...reporting.reports.runs import result_folders

    named = set()
    for folder in (one for run in runs for one in result_folders(run)):
        with suppress(ProbeError):  # of Python objects
            named.add(allowing(ProbeConfig.from_dict(reading.stored_config(folder))))
    named.discard("")
    words = ["invariance-probe", "report", *map(str, runs), "--out", str(out), *options]
    return f"{shlex.join(words)} --overwrite{named.pop() if len(named) == 1 else ' --trust'}"


def verify(runs: Sequence[Path], *, images: int, full: bool, trust: Trust) -> None:
    """Check stored results; exit code 1 where something does not hold."""
    from ...probing.verification.verify import holds
    from ...probing.verification.verify import verify as check
    from ...reporting.reports.runs import result_folders

    words = {
        True: ("holds", "green"),
        False: ("FAILS", "red"),
        None: ("not checked", "dim"),
    }
    sound, told = True, {}
    for run in runs:
        for folder in result_folders(run):
            with progress(f"checking {folder.name}") as tell:
                checks = check(folder, images=images, full=full, trust=trust,
                               progress=lambda text, tell=tell: tell(0, 0, text))  # type: ignore[misc]  # fmt: skip
            say(str(folder), "bold")
            for one in checks:
                word, style = words[one.holds]
                sentence(f"  {one.what}: {word}; {one.detail}", style)
            told[folder] = [vars(one) for one in checks]
            sound = sound and holds(checks)
    say(
        "the numbers hold" if sound else "some numbers do not hold", "bold" if sound else "bold red"
    )
    machine.dump({"holds": sound, "results": told})
    if not sound:
        raise typer.Exit(1)


def bibtex(asked: bool) -> None:
    """Print how to cite the package and its theory, and leave."""
    if asked:
        from ...reporting.reports.text.citing import cite

        say(cite("bibtex").rstrip("\n"))
        raise typer.Exit
