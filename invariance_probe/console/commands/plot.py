"""The command `plot`: the figures of a result, drawn again."""

from __future__ import annotations

from pathlib import Path

from .. import ending, talk, writing


def plot(
    result: Path,
    out: Path | None,
    *,
    formats: str,
    width: float | None,
    font: str | None,
    source: bool,
    overwrite: bool,
) -> None:
    """Draw all figures of a result into its folder or another one, and name the files."""
    chosen = writing.figure_formats(formats)
    folder = out or result / writing.FIGURES
    writing.check_no_figures(folder, chosen, overwrite=overwrite)
    from ...probing import load_result
    from ...running.folders import added_files
    from ...running.storage import altered

    loaded = load_result(result)
    for line in altered(loaded.provenance):
        talk.hint(f"{result}: {line}")
    owner = result if out is None else folder
    with (
        writing.place(owner),
        writing.figure_look(font, source),
        talk.progress("drawing") as report,
        added_files(folder, owner) as place,
    ):
        names = writing.write_figures(loaded, place, chosen, report, width)
    ending.written.append(folder)
    for name in names:
        talk.say(str(folder / name))
