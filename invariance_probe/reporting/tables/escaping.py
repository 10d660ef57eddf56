"""Names that users give, made safe for the formats in which tables and texts are written."""

from __future__ import annotations

import re

import pandas as pd

from ..._limits import is_formula

_MARKDOWN = str.maketrans({letter: "\\" + letter for letter in "\\`*[]<>|"})
_BREAKS = re.compile(r"[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def one_row(text: str) -> str:
    r"""Text without the breaks that would end a row, a comment or a paragraph.

    >>> one_row("two\n\nlines")
    'two lines'
    """
    return printable(_BREAKS.sub(" ", text))


def printable(text: str) -> str:
    r"""Text without control characters, which no XML may hold and a terminal obeys.

    >>> printable("a\x1b[31m\n")
    'a?[31m\n'
    """
    return _CONTROLS.sub("?", text)


def markdown_text(text: object) -> str:
    r"""Text of one row in which nothing is Markdown or HTML; underscores inside names stay.

    >>> print(markdown_text("a|b <i>\n# c_d"))
    a\|b \<i\> # c_d
    """
    return one_row(str(text)).translate(_MARKDOWN)


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """A table for spreadsheets: texts that they would compute as formulas begin with a quote.

    >>> guarded(pd.DataFrame({"layer": ["=1+1", "conv1"], "value": [-1, 2]})).to_dict("list")
    {'layer': ["'=1+1", 'conv1'], 'value': [-1, 2]}
    """
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{str(name): table[name].map(_quoted) for name in texts})


def _quoted(value: object) -> object:
    risky = isinstance(value, str) and is_formula(value) and not _is_number(value)
    return f"'{value}" if risky else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
