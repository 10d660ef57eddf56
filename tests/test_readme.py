"""The README keeps its promises: its Python runs, its links and commands point at what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 10
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert list(tmp_path.rglob("*.png")), "the example saves a figure"


def test_two_commands_install_and_run() -> None:
    commands = [line for line in "".join(blocks("bash")).splitlines() if line.startswith("python3")]
    assert len(commands) == 2
    assert all("pip install -c constraints.txt" in line for line in commands)
    assert "invariance-probe demo" in commands[0]
    assert "pytest" in commands[1]


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_the_table_of_classifiers_is_the_committed_one() -> None:
    page = ROOT / "figures" / "stn_classifiers" / "mnist-r" / "overview" / "table_classifiers.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) >= 6
    assert [row for row in rows if row not in RESULTS] == []


@pytest.mark.parametrize("data", ["mnist-s", "mnist-t"])
def test_the_short_table_of_classifiers_is_the_committed_one(data: str) -> None:
    page = ROOT / "figures" / "stn_classifiers" / data / "overview" / "table_classifiers.md"
    (shown,) = re.findall(rf"\| {data} \| (\d.*) \|\n", RESULTS)
    wanted = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"| {data} |"):
            *_, error, _, slope, deviation = (cell.strip() for cell in line.split("|")[1:-1])
            value, unit = re.sub(r" \[.*\]", "", slope), re.sub(r"\[.*\] ", "", deviation)
            wanted.append(error if value == "–" else f"{error}, {value}, {unit}")
    assert shown.split(" | ") == wanted and len(wanted) == 5
