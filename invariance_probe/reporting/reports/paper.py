"""What a paper takes over: figures, tables, references and the methods paragraph, as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ...running.hashes import table_bytes
from ..tables.escaping import guarded
from ..tables.ladder import to_latex
from ..tables.ledger import has_ledger
from ..tables.ledger_latex import ledger_latex
from ..tables.oracle import main_measure, oracle_latex
from .contents import Content
from .drawing import Drawn
from .illustrations import Illustration
from .runs import Runs
from .text.citing import as_bibtex
from .text.methods import as_latex, as_markdown, paragraphs, summary

FORMATS = ("pdf", "png")  # beside SVG
_PREAMBLE = "% Compile references.bib, which this cites, with BibTeX or biber.\n"


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
    for name, text in _tables(runs):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "references.bib").write_text(as_bibtex(said.references), encoding="utf-8")
    for name, paragraph in (("methods", paragraphs(runs)), ("methods_short", summary(runs))):
        (folder / f"{name}.md").write_text(as_markdown(paragraph), encoding="utf-8")
        (folder / f"{name}.tex").write_text(_PREAMBLE + as_latex(paragraph), encoding="utf-8")


def _tables(runs: Runs) -> Iterator[tuple[str, str]]:
    """(file name, text) of every table: of one column, ladders and ledgers also of two."""
    for number, (_, result) in enumerate(runs.probes, start=1):
        for wide in (False, True):
            text = to_latex(result, wide=wide, label=f"ladder-{number}")
            yield f"table_ladder_{number}{'_wide' * wide}.tex", text
            if has_ledger(result):
                text = ledger_latex(result, wide=wide, label=f"ledger-{number}")
                yield f"table_ledger_{number}{'_wide' * wide}.tex", text
    for number, (_, found) in enumerate(runs.oracles, start=1):
        text = oracle_latex(found, measure=main_measure(found), label=f"oracle-{number}")
        yield f"table_oracle_{number}.tex", text
