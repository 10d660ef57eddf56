"""Runs the Python of docs/tour.md and puts what it prints and draws into the page.

    python docs/build_tour.py           # writes the page, its pictures, and the same as a notebook
    python docs/build_tour.py --check   # says where what is printed differs from the page

Blocks run in order in one namespace, in a temporary folder. What a block prints stands behind it
as a block of text; pictures that it saves and the page shows lie in docs/tour.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

TOUR = Path(__file__).with_name("tour.md")
NOTEBOOK = TOUR.with_suffix(".ipynb")

_BLOCK = re.compile(
    r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<printed>.*?)```\n)?", re.DOTALL
)
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:\.\d+)?%?")


def blocks(page: str) -> list[tuple[str, str]]:
    """Code and what the page says that it prints, "" for nothing."""
    return [(found["code"], found["printed"] or "") for found in _BLOCK.finditer(page)]


def run(page: str, folder: Path) -> list[str]:
    """What the blocks print now. Files that they write go to `folder`."""
    names: dict[str, Any] = {"__name__": "tour"}
    printed = []
    before = os.getcwd()
    os.chdir(folder)
    try:
        for number, (code, _) in enumerate(blocks(page), start=1):
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(code, f"{TOUR.name}, block {number}", "exec"), names)
            printed.append("".join(f"{line.rstrip()}\n" for line in said.getvalue().splitlines()))
    finally:
        os.chdir(before)
    return printed


def pictures(page: str) -> list[str]:
    """Names of the pictures in docs/tour that the page shows."""
    return re.findall(r"\]\(tour/([^)]+)\)", page)


def written(page: str, printed: list[str]) -> str:
    """The page with what was printed in its blocks of text."""
    said = iter(printed)

    def block(found: re.Match[str]) -> str:
        text = next(said)
        return f"```python\n{found['code']}```\n" + (f"\n```text\n{text}```\n" if text else "")

    return _BLOCK.sub(block, page)


def same(printed: str, committed: str) -> bool:
    """Whether both say the same, numbers to within one unit of the last digit that is stated.

    >>> same("a  0.31 9", "a 0.32 9"), same("a 0.31", "a 0.33"), same("b 0.31", "a 0.31")
    (True, False, False)
    >>> same("7 of 9%", "7 of 10%"), same("6 of 10%", "7 of 10%")
    (True, False)
    """
    texts = [" ".join(_NUMBER.sub("#", text).split()) for text in (printed, committed)]
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(committed), strict=False)
    return texts[0] == texts[1] and all(_close(now, then) for now, then in pairs)


def _close(now: str, then: str) -> bool:
    digits = len(then.rstrip("%").partition(".")[2])
    values = [float(text.rstrip("%").replace("−", "-")) for text in (now, then)]
    # Whole numbers are counts, sizes and angles, except in percent.
    step = 1.01 * 10.0**-digits if digits or then.endswith("%") else 0.0
    return abs(values[0] - values[1]) <= step


def differences(page: str, printed: list[str]) -> list[str]:
    """The blocks that print something else than the page says, each with both texts."""
    pairs = enumerate(zip(printed, blocks(page), strict=True), start=1)
    return [
        f"block {number} prints\n{now}where the page has\n{then}"
        for number, (now, (_, then)) in pairs
        if not same(now, then)
    ]


def notebook(page: str) -> str:
    """The page as a Jupyter notebook: its code in cells, with what it prints; the rest as text."""
    cells: list[dict[str, Any]] = []

    def cell(kind: str, text: str, **more: Any) -> None:
        if text.strip():
            own = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}}
            cells.append(own | {"source": text.strip().splitlines(keepends=True)} | more)

    end = 0
    for found in _BLOCK.finditer(page):
        cell("markdown", page[end : found.start()])
        said = {"output_type": "stream", "name": "stdout", "text": found["printed"]}
        outputs = [said] if found["printed"] else []
        cell("code", found["code"], execution_count=None, outputs=outputs)
        end = found.end()
    cell("markdown", page[end:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(about, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Run the page, and compare it or write it again with its pictures."""
    page = TOUR.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        printed = run(page, Path(folder))
        missing = [name for name in pictures(page) if not (Path(folder) / name).exists()]
        if missing:
            print(f"the page shows pictures that no block saves: {', '.join(missing)}")
            return 1
        if "--check" in arguments:
            wrong = differences(page, printed)
            if NOTEBOOK.read_text(encoding="utf-8") != notebook(page):
                wrong.append(f"{NOTEBOOK.name} is not the page; run docs/build_tour.py\n")
            print("\n".join(wrong), end="")
            return int(bool(wrong))
        for name in pictures(page):
            (TOUR.parent / "tour").mkdir(exist_ok=True)
            shutil.copyfile(Path(folder) / name, TOUR.parent / "tour" / name)
    page = written(page, printed)
    TOUR.write_text(page, encoding="utf-8")
    NOTEBOOK.write_text(notebook(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
