"""What a paper takes over: figures, tables, references and the methods paragraph, as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...running.hashes import table_bytes
from ..tables.escaping import guarded
from .contents import Content
from .drawing import Drawn
from .illustrations import Illustration
from .runs import Runs
from .tables import ladder_latex, treatments_latex
from .text.citing import as_bibtex
from .text.methods import methods_latex, methods_markdown

FORMATS = ("pdf", "png")  # beside SVG
_PREAMBLE = (
    "% Set the tables with \\usepackage{booktabs}; compile the references with BibTeX or biber.\n"
)


def write_paper(
    folder: Path, said: Content, runs: Runs, figures: Iterable[tuple[Illustration, Drawn]]
) -> None:
    """Write the folder: the same bytes for the same results (and the same matplotlib)."""
    folder.mkdir()
    sizes = ["name,width_mm,height_mm,title"]
    for one, drawn in figures:
        for suffix, content in drawn.files.items():
            (folder / f"{one.name}.{suffix}").write_bytes(content)
        (folder / f"{one.name}.csv").write_bytes(table_bytes(guarded(one.data)))
        width, height = drawn.size
        title = one.title.replace('"', '""')
        sizes.append(f'{one.name},{width:.0f},{height:.0f},"{title}"')
    (folder / "figures.csv").write_text("\n".join(sizes) + "\n", encoding="utf-8")
    for number, ladder in enumerate(said.ladders, start=1):
        name = f"table_ladder_{number}.tex"
        (folder / name).write_text(ladder_latex(ladder), encoding="utf-8")
    for number, one_table in enumerate(said.treatments, start=1):
        name = f"table_{one_table.measure}_{number}.tex"
        (folder / name).write_text(treatments_latex(one_table), encoding="utf-8")
    (folder / "references.bib").write_text(as_bibtex(said.references), encoding="utf-8")
    (folder / "methods.md").write_text(methods_markdown(runs), encoding="utf-8")
    (folder / "methods.tex").write_text(_PREAMBLE + methods_latex(runs), encoding="utf-8")
