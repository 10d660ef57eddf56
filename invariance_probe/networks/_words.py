"""Names out of files, as one line of an error or a note may show them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_SHOWN = 3
_LONG = 120


def shown(name: object) -> str:
    """A name as text: as it is where that is harmless, else quoted with escapes and cut short.

    >>> print(shown("layer1.0.conv1.weight"), shown("two\\nlines"), shown("[red]loud"))
    layer1.0.conv1.weight 'two\\nlines' '[red]loud'
    """
    text = str(name)
    whole = isinstance(name, Path) or len(text) <= 2 * _LONG
    cut = text if whole else f"{text[:_LONG]}...{text[-_LONG:]}"
    plain = cut.isprintable() and not set(cut) & set("[]") and cut == cut.strip() and cut
    return cut if plain else repr(cut)


def few(items: Iterable[str], mark: str = ", ", most: int = _SHOWN) -> str:
    """The first three (or `most`) and whether there are more."""
    items = list(items)
    return mark.join(items[:most]) + (f"{mark}..." if len(items) > most else "")


def first_line(error: object) -> str:
    """The first line of an error's text, or its kind where it has none."""
    try:
        text = str(error).strip()
    except Exception:  # an error of the user's own that cannot be written
        text = ""
    if isinstance(error, LookupError):  # whose text is only what was looked for
        text = f"{type(error).__name__} {text}"
    text = text.rpartition("WeightsUnpickler error: ")[2]  # torch puts its advice in front
    lines = (text.strip() or type(error).__name__).splitlines()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in lines[0][:300])
