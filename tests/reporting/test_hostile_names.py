"""Names of layers, images, networks and results that mean something to LaTeX, Markdown, a sheet."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from compared_results import made_result

from invariance_probe.probing import Result, compare
from invariance_probe.reporting import comparison_latex, comparison_markdown, to_latex, to_markdown
from invariance_probe.reporting.comparison_files import write_comparison
from invariance_probe.reporting.reports import report
from invariance_probe.reporting.tables.escaping import guarded

NAMES = (
    "=cmd|'/c calc'!A0",
    "<img src=x onerror=alert(1)>",
    r"a|b\input{/etc/passwd}$\frac{$_^%&#~",
    "**b** [l](javascript:x) `c`",
    "two\n\n# lines\n\\end{tabular}",
    "-1+1",
    "字\u202e\x1b[31m",
)
COMMANDS = re.compile(r"(?<!\\)\\(?:input|frac|end\{tabular\})")


def hostile(made: Result) -> Result:
    provenance = json.loads(json.dumps(made.provenance))
    provenance["network"] = {"name": NAMES[2], "description": NAMES[4]}
    provenance["images"] = {"description": NAMES[1]}
    provenance["warnings"] = [f"grid of {name}: off" for name in NAMES] + [f"images: {NAMES[3]}"]
    return replace(made, provenance=provenance)


def no_markup(text: str) -> None:
    """Nothing of the names is Markdown, HTML or a row of its own."""
    assert "<img" not in text.replace("\\<img", "")
    assert "**b**" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert not re.search("^# lines", text, re.MULTILINE)


def no_commands(text: str) -> None:
    """Nothing of the names is a command, a special character or a row of LaTeX."""
    rows = [line for line in text.splitlines() if not line.startswith(("%", r"\providecommand"))]
    for row in rows:
        assert row == r"\end{tabular}" or not COMMANDS.search(row), row
        assert not re.search(r"(?<!\\)[#%^]", row.replace("^{", "").replace("$^2$", "")), row


def sheet(path: Path) -> None:
    """No cell of a table for spreadsheets begins a formula."""
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            for cell in row:
                number = re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", cell)
                assert number or not cell.startswith(("=", "+", "-", "@")), (path.name, cell)


def test_tables_of_a_result(probed: Result) -> None:
    result = probed
    no_markup(to_markdown(result))
    no_commands(to_latex(result))
    rows = to_markdown(result).splitlines()
    assert len(rows) == 2 + len(NAMES)
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


@pytest.fixture(scope="module")
def probed(make_result: Callable[..., Result]) -> Result:
    return hostile(make_result("rotation:0:90:45", layers=NAMES))


@pytest.fixture(scope="module")
def written(probed: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile") / "report"
    report(probed, out, paper=True, viewer=False)
    return out


def test_a_report_and_its_files_for_a_paper(written: Path) -> None:
    no_markup((written / "report.md").read_text(encoding="utf-8"))
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "\x1b" not in page
    no_markup((written / "paper" / "methods.md").read_text(encoding="utf-8"))
    for path in (written / "paper").glob("*.tex"):
        no_commands(path.read_text(encoding="utf-8"))
    for path in (written / "paper").glob("*.csv"):
        sheet(path)
    json.loads((written / "report.json").read_text(encoding="utf-8"))


def test_a_comparison(tmp_path: Path) -> None:
    both = {
        name: made_result(layers=NAMES, seed=seed) for seed, name in enumerate((NAMES[4], NAMES[1]))
    }
    found = compare(both)
    no_markup(comparison_markdown(found))
    no_commands(comparison_latex(found))
    write_comparison(found, tmp_path / "out", ("svg",))
    for path in (tmp_path / "out").rglob("*.md"):
        no_markup(path.read_text(encoding="utf-8"))
    for path in (tmp_path / "out").rglob("*.tex"):
        no_commands(path.read_text(encoding="utf-8"))


def test_tables_for_spreadsheets_keep_numbers_and_quote_formulas(probed: Result) -> None:
    table = probed.summary
    safe = guarded(table)
    assert safe["layer"].iloc[0] == "'" + NAMES[0]
    assert safe["inverse"].equals(table["inverse"])
