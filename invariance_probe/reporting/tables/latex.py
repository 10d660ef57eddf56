"""Text and tables for LaTeX: floats that fit a column or the width of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .escaping import one_row

Cell = str | tuple[str, str]
"""What stands in a cell: text, or a number and what stands small below it."""

PACKAGES = r"needs \usepackage{booktabs,tabularx}"

_CUT = "\ue002"  # in no name of a network or a layer
_COMMANDS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "h⁻¹": "$h^{-1}$", "−": "$-$", "–": "--", "×": r"$\times$", "°": r"$^{\circ}$",
    "…": r"\ldots{}", "\u00a0": "~", "√": r"$\surd$", "“": "``", "”": "''", "Σ": r"$\Sigma$",
    "‖": r"$\Vert$", "μ": r"$\mu$", "²": "$^2$", "±": r"$\pm$", "≤": r"$\leq$",
    _CUT: r"\allowbreak{}",
}  # fmt: skip
_SIGN = re.compile("|".join(map(re.escape, _COMMANDS)) + "|[^\n\t -~\u00a1-\u017f]")
# Names of layers, hashes and lists of transformations hold no space at which a line could end.
_UNBROKEN = re.compile(r"\S*[._:;,/=\d]\S{10,}|\S{10,}[._:;,/=\d]\S+|\S{25,}")
_PIECE = re.compile(r"[^._:;,/=]{1,8}[._:;,/=]*|[._:;,/=]+")

_LINES = 44  # of one float: more would leave the page
_BELOW = (
    r"\providecommand{\below}[2]{\begin{tabular}[t]{@{}r@{}}#1\\[-2pt]"
    r"{\scriptsize #2}\end{tabular}}"
)


def latex(text: str) -> str:
    r"""Text as LaTeX in one row, with places to break long names; `?` for what pdfTeX cannot set.

    >>> print(latex("conv_1 at 90° & 50 %"), latex("layer4.1.conv2.weight"))
    conv\_1 at 90$^{\circ}$ \& 50 \% layer4.\allowbreak{}1.\allowbreak{}conv2.\allowbreak{}weight
    """
    row = _UNBROKEN.sub(lambda word: _CUT.join(_PIECE.findall(word[0])), one_row(text))
    return _SIGN.sub(lambda sign: _COMMANDS.get(sign[0], "?"), row)


def latex_table(
    blocks: Sequence[tuple[str, Sequence[Sequence[Cell]]]],
    heads: Sequence[str],
    caption: str,
    label: str,
    *,
    texts: int = 1,
    wide: bool = False,
) -> str:
    """Blocks (title, rows) as floats of one column, or `wide`, of two, with caption and label.

    The first `texts` columns take the width that the numbers leave, and break their names. Tables
    longer than a page go on in further floats.
    """
    kind = "table*" if wide else "table"
    spare = r">{\raggedright\arraybackslash}X" * texts
    names = " & ".join([*map(_name, heads[:texts]), *map(_head, heads[texts:])])
    out = [f"% {PACKAGES}", _BELOW]
    for number, part in enumerate(_floats(blocks, 16 if wide else 8)):
        going_on = number > 0
        out += [
            rf"\begin{{{kind}}}",
            r"\centering\footnotesize",
            rf"\caption{{{latex(caption)}{' (continued)' * going_on}}}",
            *([] if going_on else [rf"\label{{tab:{label}}}"]),
            r"\setlength{\tabcolsep}{3pt}",
            rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}{spare}{'r' * (len(heads) - texts)}@{{}}}}",
            r"\toprule",
            rf"{names} \\",
        ]
        for title, rows in part:
            out.append(r"\midrule")
            if title:
                out.append(rf"\multicolumn{{{len(heads)}}}{{@{{}}l}}{{\emph{{{latex(title)}}}}} \\")
            out += [" & ".join([*map(_name, row[:texts]), *map(_cell, row[texts:])]) + r" \\"
                    for row in rows]  # fmt: skip
        out += [r"\bottomrule", r"\end{tabularx}", rf"\end{{{kind}}}"]
    return "\n".join(out) + "\n"


def stacked(entry: str) -> Cell:
    """An entry such as "1.37 [1.33, 1.41]", the interval small below the number.

    >>> stacked("0.87 [0.84, 0.90] px"), stacked("–")
    (('0.87 px', '[0.84, 0.90]'), '–')
    """
    value, opened, rest = entry.partition(" [")
    ends, _, unit = rest.partition("]")
    return (value + unit, f"[{ends}]") if opened else entry


def _floats(
    blocks: Sequence[tuple[str, Sequence[Sequence[Cell]]]], letters: int
) -> Iterator[list[tuple[str, Sequence[Sequence[Cell]]]]]:
    """Blocks cut where a page would end, with so many letters in a line of a name."""
    part: list[tuple[str, Sequence[Sequence[Cell]]]] = []
    room = _LINES
    for title, rows in blocks:
        begun = 0
        for number, row in enumerate(rows):
            lines = max(2 if isinstance(cell, tuple) else -(-len(cell) // letters) for cell in row)
            if lines > room and (part or number > begun):
                yield [*part, (title, rows[begun:number])] if number > begun else part
                part, begun, room = [], number, _LINES
            room -= lines
        part.append((title, rows[begun:]))
    if part:
        yield part


def _head(text: str) -> str:
    """A head of one word a line, else its column is wider than its numbers."""
    lines = r"\\".join(map(latex, text.split()))
    return rf"\shortstack[r]{{{lines}}}"


def _name(cell: Cell) -> str:
    return _cell(cell).replace(r"\_", r"\_\allowbreak{}")


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return latex(cell)
    return rf"\below{{{latex(cell[0])}}}{{{latex(cell[1])}}}" if cell[1] else latex(cell[0])
