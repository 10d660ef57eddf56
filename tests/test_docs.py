"""The docs keep their promises: pages are found, links lead somewhere, the tour says the truth."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
ROOMS = [path.parent for path in sorted((ROOT / "invariance_probe").glob("[a-z]*/__init__.py"))]

each_page = pytest.mark.parametrize("name", PAGES)
each_room = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)


def script(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def prose(name: str) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", PAGES[name].read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda found: "" if "](" in found.group() else found.group(), text)


def anchors(name: str) -> set[str]:
    """What `#...` can point at on a page: its headings, as mkdocs names them."""
    heads = re.findall(r"^#+ (.+?)\s*$", prose(name), flags=re.M)
    plain = [re.sub(r"[^\w\s-]", "", head).strip().lower() for head in heads]
    return {re.sub(r"[-\s]+", "-", head) for head in plain}


def entries(nav: Any) -> list[str]:
    """The pages of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in entries(part)]


# --- navigation and links ----------------------------------------------------------------------


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(entries(SITE["nav"])) == sorted(PAGES)
    assert entries(SITE["nav"])[:2] == ["index.md", "tour.md"]


@each_page
def test_links_inside_the_docs_lead_somewhere(name: str) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (PAGES[name].parent / path).resolve() if path else PAGES[name]
        page = str(place.relative_to(DOCS)) if place.is_relative_to(DOCS) else ""
        if not place.exists() or (anchor and (page not in PAGES or anchor not in anchors(page))):
            lost.append(target)
    assert lost == []


def test_a_heading_is_found_by_its_anchor() -> None:
    assert "the-oracle-spatial-transformer" in anchors("measures.md")
    assert "the-oracle" not in anchors("measures.md")


@each_page
def test_a_page_begins_with_its_only_title(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", PAGES[name].read_text(encoding="utf-8"), flags=re.M | re.S)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1


# --- reference ---------------------------------------------------------------------------------


def public(room: Path) -> list[str]:
    names: list[str] = getattr(
        importlib.import_module(f"invariance_probe.{room.name}"), "__all__", []
    )
    return names


def described(room: Path, name: str) -> bool:
    """Whether a function or class has a docstring, or an assignment a text below it."""
    value = getattr(importlib.import_module(f"invariance_probe.{room.name}"), name)
    if get_origin(value) is None and callable(value):  # a union of types can be called, too
        return bool(value.__doc__)
    for path in room.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, below in pairwise(body):
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            if any(getattr(target, "id", None) == name for target in targets):
                text = below.value if isinstance(below, ast.Expr) else None
                return isinstance(text, ast.Constant) and isinstance(text.value, str)
    return False


@each_room
def test_every_room_that_offers_names_has_a_page(room: Path) -> None:
    page = PAGES.get(f"api/{room.name}.md")
    if not public(room):
        assert page is None
        return
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert f"\n::: invariance_probe.{room.name}\n" in text
    # No function hides the file of its name.
    assert [n for n in public(room) if (room / f"{n}.py").exists() or (room / n).is_dir()] == []


@each_room
def test_every_public_name_is_described(room: Path) -> None:
    assert [name for name in public(room) if not described(room, name)] == []


def test_the_reference_lists_the_names_of_the_package() -> None:
    import invariance_probe

    text = PAGES["api/index.md"].read_text(encoding="utf-8")
    listed = {
        (room, name)
        for room, name in re.findall(r"\[`\w+`\]\[invariance_probe\.(\w+)\.(\w+)\]", text)
    }
    there = {(room, name) for name, room in invariance_probe._HOMES.items()}
    assert listed == there


def test_docstrings_become_markdown() -> None:
    pytest.importorskip("griffe")
    docstrings = script("docstrings")
    assert doctest.testmod(docstrings).failed == 0
    names = {"Frame": {"geometry": "p.geometry.Frame"}, "Row": {"a": "p.a.Row", "b": "p.b.Row"}}
    text = """What a `Frame` is, a `Row`.

    Convention: cells are
    counted from 0.

    Attributes
    ----------
    one, two : both of a
        `Frame`, for example.
    last : the end.

    >>> 1
    1

    Raises ProbeError for others."""
    page = docstrings.to_markdown(
        "\n".join(s.removeprefix("    ") for s in text.splitlines()), names
    )
    assert page.splitlines() == [
        "What a [`Frame`][p.geometry.Frame] is, a `Row`.",
        "",
        '!!! note "Convention"',
        "    cells are",
        "    counted from 0.",
        "",
        "- `one`, `two`: both of a [`Frame`][p.geometry.Frame], for example.",
        "- `last`: the end.",
        "",
        "```pycon",
        ">>> 1",
        "1",
        "```",
        "",
        "Raises [`ProbeError`][invariance_probe.errors.ProbeError] for others.",
    ]
    assert docstrings.to_markdown("A `Row`.", names, room="b") == "A [`Row`][p.b.Row]."
    assert docstrings.to_markdown("A `Frame`.", names, own="Frame") == "A `Frame`."


# --- tour --------------------------------------------------------------------------------------


def test_blocks_are_run_compared_and_written(tmp_path: Path) -> None:
    tour = script("build_tour")
    assert doctest.testmod(tour).failed == 0
    codes = ("x = 0.314\nprint(f'{x:.2f} of', 7)\n", "x += 1\n")
    page = "# T\n\n" + "\n\nText\n\n".join(f"```python\n{code}```\n" for code in codes)
    printed = tour.run(page, tmp_path)
    assert printed == ["0.31 of 7\n", ""]
    assert len(tour.differences(page, printed)) == 1
    full = tour.written(page, printed)
    assert "```\n\n```text\n0.31 of 7\n```\n\n\nText" in full
    assert tour.written(full, printed) == full
    assert tour.differences(full, printed) == []
    assert tour.differences(full.replace("0.31", "0.32"), printed) == []
    assert "0.33" in tour.differences(full.replace("0.31", "0.33"), printed)[0]
    assert tour.differences(full.replace("of 7", "of 8"), printed) != []


def test_the_tour_shows_what_it_printed() -> None:
    tour = script("build_tour")
    page = PAGES["tour.md"].read_text(encoding="utf-8")
    parts = tour.blocks(page)
    assert len(parts) >= 8
    assert all(bool(printed) == ("print(" in code) for code, printed in parts)
    assert [name for name in tour.pictures(page) if not (DOCS / "tour" / name).exists()] == []


def test_the_notebook_is_the_page() -> None:
    tour = script("build_tour")
    page = PAGES["tour.md"].read_text(encoding="utf-8")
    committed = (DOCS / "tour.ipynb").read_text(encoding="utf-8")
    assert committed == tour.notebook(page), "run docs/build_tour.py"
    cells = json.loads(committed)["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [code.strip() for code, _ in tour.blocks(page)]
    shown = ["".join(cell["outputs"][0]["text"]) for cell in cells if cell.get("outputs")]
    assert shown == [printed for _, printed in tour.blocks(page) if printed]
    assert len({cell["id"] for cell in cells}) == len(cells)
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert "# Tour" in text and "```" not in text.replace("```bash", "")


@pytest.mark.slow
def test_the_tour_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    tour = script("build_tour")
    page = PAGES["tour.md"].read_text(encoding="utf-8")
    assert tour.differences(page, tour.run(page, tmp_path)) == []
    assert all((tmp_path / name).exists() for name in tour.pictures(page))


def test_every_kind_of_figure_has_its_section_picture_and_sentences() -> None:
    built = script("build_figures")
    page = PAGES["figures.md"].read_text(encoding="utf-8")
    assert built.lacking(page) == []
    assert set(built.DRAWN) == set(built.MARKS) == set(built.sections(page))
    without = page.replace("figures/gain.png", "figures/rain.png")
    assert {line.partition(":")[0] for line in built.lacking(without)} == {"gain", "rain"}
    assert built.lacking(page.replace("\n3. The identity", "\nThe identity"))


def test_the_files_that_the_architecture_and_the_guide_name_are_there() -> None:
    table = (DOCS / "architecture.md").read_text().split("## Where is ...?")[1].split("\n## ")[0]
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", table)
    assert len(named) >= 25
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named += re.findall(r"`([a-z_/]+\.(?:py|md))`", guide)
    package = ROOT / "invariance_probe"
    places = (ROOT, package, *(package / room for room in ("probing", "reporting", "data")))
    assert not [name for name in named if not any((one / name).exists() for one in places)]
