r"""What a paper takes over, set by pdfLaTeX and BibTeX: nothing leaves its column."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compared_results import made_result
from papers.classifier_tables import classifier_latex
from papers.depths import depth_latex
from papers.learned_tables import learned_latex
from papers.published_tables import published_latex

from invariance_probe.probing import Result, compare
from invariance_probe.reporting import comparison_latex, ledger_latex, ledger_table, to_latex
from invariance_probe.reporting.reports.contents import content
from invariance_probe.reporting.reports.paper import write_paper
from invariance_probe.reporting.reports.runs import as_runs
from invariance_probe.reporting.reports.text.bibliography import EVERY
from invariance_probe.reporting.reports.text.citing import as_bibtex

PAGE = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,textwidth=178mm,columnsep=8mm]{geometry}
\usepackage{booktabs,tabularx}
\begin{document}
%s
\nocite{*}
\bibliographystyle{plain}
\bibliography{references}
\end{document}
"""

FIGURES = Path(__file__).resolve().parents[3] / "figures"
SUMMARIES: dict[str, Callable[[pd.DataFrame], str]] = {
    "stn_classifiers/*/overview": classifier_latex,
    "learned_alignment/*": learned_latex,
    "localisation_depth/**/overview": depth_latex,
    "distorted_digits/*/overview": published_latex,
}
LONG = "efficientnet_lite0 trained longer on photographs of 320x320 px"


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory, runs: Path) -> Path:
    folder = tmp_path_factory.mktemp("paper") / "paper"
    given = as_runs(runs)
    write_paper(folder, content(given), given, [])
    return folder


def test_the_short_methods_are_one_paragraph_without_settings(paper: Path) -> None:
    text = (paper / "methods_short.md").read_text(encoding="utf-8")
    bare = re.sub(r"\[@[^]]*\]", "", text)
    assert 90 <= len(bare.split()) <= 135
    assert "\n" not in text.strip() and not re.search(
        r"\w+:-?\d|[0-9a-f]{16}|invariance-probe", bare
    )
    assert "rotations (2, by 45° to 90°)" in bare and "a scaling by 1.5" in bare


def test_every_table_has_a_caption_and_a_label_of_its_own(paper: Path) -> None:
    tables = "".join(path.read_text(encoding="utf-8") for path in paper.glob("table_*.tex"))
    labels = re.findall(r"\\label\{(.+?)\}", tables)
    floats = tables.count(r"\begin{table}") + tables.count(r"\begin{table*}")
    assert len(set(labels)) == len(labels) == floats == tables.count(r"\caption{")


def test_the_ledger_is_a_table_of_one_column_and_of_two(paper: Path, probed: Result) -> None:
    table = ledger_table(probed).set_index(["over", "source", "layer", "part"])["share"]
    narrow, wide = (
        (paper / f"table_ledger_1{end}.tex").read_text(encoding="utf-8") for end in ("", "_wide")
    )
    space = table["mean of 2 rotations", "maps moved", "conv1", "space"]
    rows = [line for line in narrow.splitlines() if line.startswith("conv1 &")]
    assert len(rows) == 2, "rotations and a scaling"
    assert rows[0].split(" & ")[2].startswith(rf"\below{{{space:.2f}}}".replace("-", "$-$"))
    titles = re.findall(r"\\emph\{(.+?)\}", wide)
    assert titles == ["maps moved", "input moved", "another image"] * 2
    assert "undeter-" in wide and "undeter-" not in narrow


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_nothing_leaves_its_column(paper: Path, probed: Result, tmp_path: Path) -> None:
    for path in paper.glob("*.tex"):
        shutil.copy(path, tmp_path)
    (tmp_path / "references.bib").write_text(as_bibtex(EVERY), encoding="utf-8")
    texts = [rf"\input{{{path.name}}}" for path in sorted(tmp_path.glob("*.tex"))]
    for wide in (False, True):
        texts.append(to_latex(_renamed(probed), wide=wide, label=f"long-{wide}"))
        texts.append(ledger_latex(_renamed(probed), wide=wide, label=f"long-ledger-{wide}"))
    said = _compiled(tmp_path, PAGE % "\n\n".join(texts))
    _check_columns(said)
    printed = (tmp_path / "page.bbl").read_text(encoding="utf-8")
    assert "arXiv:2004.14716" in printed and "3427" in printed and "2017--2025" in printed


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.skipif(not FIGURES.is_dir(), reason="needs the committed results")
def test_tables_of_comparisons_and_of_classifiers_fit_too(tmp_path: Path) -> None:
    networks = {name: made_result(seed=n) for n, name in enumerate((LONG, "b_1", "50 % & more"))}
    texts = [comparison_latex(compare(networks))]
    for pattern, write in SUMMARIES.items():
        found = sorted(FIGURES.glob(f"{pattern}/summary.csv"))
        assert found, pattern
        texts += [write(_read(path)) for path in found]
    # Two results have tables of one name; no page would show both.
    texts = [re.sub(r"\\label\{.+?\}", "", text) for text in texts]
    (tmp_path / "references.bib").write_text(as_bibtex(EVERY), encoding="utf-8")
    _check_columns(_compiled(tmp_path, PAGE % "\n\\clearpage\n".join(texts)))


def _read(path: Path) -> pd.DataFrame:
    """A stored table as it was made: text that is empty is no missing number."""
    table = pd.read_csv(path)
    texts = [n for n in table if n in ("note", "pose") or pd.api.types.is_string_dtype(table[n])]
    return table.astype(dict.fromkeys(texts, object)).fillna(dict.fromkeys(texts, ""))


def _check_columns(log: str) -> None:
    far = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide", log)]
    assert max(far, default=0.0) <= 1.0, re.findall(r"Overfull.{,160}", log)
    assert "Float too large" not in log and "undefined" not in log


def _renamed(result: Result) -> Result:
    """The result with long names of layers, and more of them than a page holds."""
    names = ("features.denseblock4.denselayer16.conv2", "Mixed_7c.branch3x3dbl_3b.BatchNorm")
    layers = [f"{names[n % 2]}.{n}" for n in range(30)]
    table = result.residuals[result.residuals["layer"] == result.axes["layer"][0]]
    return replace(
        result,
        axes={**result.axes, "layer": tuple(layers)},
        errors=np.concatenate([result.errors] * 15),
        variance=np.concatenate([result.variance] * 15),
        residuals=table,
        extra={f"ledger/{layer}": result.extra["ledger/conv1"] for layer in layers},
    )


def _compiled(folder: Path, page: str) -> str:
    """The log of the last run of pdfLaTeX."""
    (folder / "page.tex").write_text(page, encoding="utf-8")
    for command in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        words = [
            command,
            *(["-interaction=nonstopmode", "-halt-on-error"] if command != "bibtex" else []),
            "page",
        ]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-3000:]
    log = (folder / "page.log").read_text(encoding="utf-8", errors="replace")
    return log.replace("\n", " ")
