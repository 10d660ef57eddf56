"""How the command line writes reports, checks stored results, and says how to cite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .. import ending, machine
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
    say(f"report: {page}", "bold")


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
