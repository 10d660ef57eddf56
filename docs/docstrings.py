"""Docstrings as Markdown, for the API pages: an extension that mkdocstrings loads.

The docstrings are plain text that reads well in a terminal: sentences with names in backquotes, a
paragraph "Convention: ...", doctests, and at most one list under an underlined "Attributes". None
of the known styles takes them whole, and Markdown would make quotations of the doctests.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import griffe

PACKAGE = Path(__file__).resolve().parents[1] / "invariance_probe"

_LIST = re.compile(r"\A[A-Z]\w+\n-{4,}\n")
_ENTRY = re.compile(r"^(\w[\w, ]*?) : ", flags=re.MULTILINE)
_CODE = re.compile(r"(``.+?``|`[^`\n]+`)")
_ERROR = re.compile(r"(?<![\w.`])ProbeError(?![\w`])")


def public_names(package: Path = PACKAGE) -> dict[str, dict[str, str]]:
    """Paths by name and room, of the names that a room lists in its `__all__`."""
    paths: dict[str, dict[str, str]] = defaultdict(dict)
    for page in sorted(package.glob("[a-z]*/__init__.py")):
        room = page.parent
        for node in ast.parse(page.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                for name in ast.literal_eval(node.value):
                    paths[name][room.name] = f"{package.name}.{room.name}.{name}"
    return paths


def to_markdown(text: str, names: dict[str, dict[str, str]], room: str = "", own: str = "") -> str:
    """A docstring as Markdown. `room` is where it stands, `own` the name that it describes.

    >>> print(to_markdown("Turn it.\\n\\nConvention: x is right.", {}))
    Turn it.
    <BLANKLINE>
    !!! note "Convention"
        x is right.
    """
    parts = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n\n".join(_paragraph(part, names, room, own) for part in parts)


def _paragraph(text: str, names: dict[str, dict[str, str]], room: str, own: str) -> str:
    if text.startswith(">>>"):
        return f"```pycon\n{text}\n```"
    if text.startswith("    "):
        return text  # code already
    linked = _linked(text, names, room, own)
    if head := _LIST.match(text):
        entries = re.split(_ENTRY, _linked(text[head.end() :], names, room, own))
        pairs = zip(entries[1::2], entries[2::2], strict=True)
        return "\n".join(
            f"- {', '.join(f'`{part.strip()}`' for part in name.split(','))}: "
            + " ".join(line.strip() for line in meaning.strip().splitlines())
            for name, meaning in pairs
        )
    if text.startswith("Convention: "):
        body = textwrap.indent(linked.removeprefix("Convention: "), "    ")
        return f'!!! note "Convention"\n{body}'
    return linked


def _linked(text: str, names: dict[str, dict[str, str]], room: str, own: str) -> str:
    """Names in backquotes that mean one public thing lead to it.

    Only those that cannot be words: with a capital letter or an underscore.
    """

    def link(match: re.Match[str]) -> str:
        name = match.group().strip("`")
        paths = names.get(name, {})
        if name == own or not paths or not (name[0].isupper() or "_" in name):
            return match.group()
        path = paths.get(room) or (next(iter(paths.values())) if len(paths) == 1 else None)
        return f"[`{name}`][{path}]" if path else match.group()

    linked = re.sub(_CODE, link, text)
    if own == "ProbeError":
        return linked
    return re.sub(_ERROR, "[`ProbeError`][invariance_probe.errors.ProbeError]", linked)


class Docstrings(griffe.Extension):
    """Turn every docstring of the package into Markdown as it is read."""

    def __init__(self) -> None:
        super().__init__()
        self._names = public_names()

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called once for every module, class, function and attribute."""
        if obj.docstring is not None:
            path = obj.path.split(".")
            room = path[1] if len(path) > 1 else ""
            obj.docstring.value = to_markdown(obj.docstring.value, self._names, room, path[-1])
