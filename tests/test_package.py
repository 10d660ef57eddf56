"""The package as a whole: public surface, cheap imports, order of the rooms, house rules."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import invariance_probe

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "invariance_probe"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = ("geometry", "networks", "data", "alignment", "running", "probing", "training")
ROOMS += ("reporting", "testing", "console", "cli")
LEAVES = ("_allocator", "_foreign", "_limits", "_memory", "_version", "errors")
ALLOWED = {room: set(ROOMS[: index + 1]) for index, room in enumerate(ROOMS)}
ALLOWED["alignment"] = {"geometry", "alignment"}
ALLOWED["running"] = {"alignment", "running"}
ALLOWED["training"] -= {"probing"}
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)

PUBLIC = {
    "Frame",
    "Options",
    "ProbeError",
    "Result",
    "Transform",
    "__version__",
    "affine",
    "array_images",
    "build_network",
    "cite",
    "compare",
    "embedded_digits",
    "identity",
    "image_folder",
    "list_layers",
    "load_result",
    "oracle",
    "parse_transforms",
    "probe",
    "reflection",
    "rotation",
    "rotations",
    "scaling",
    "scalings",
    "shear",
    "torchvision_images",
    "translation",
}

each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- public surface ----------------------------------------------------------------------------


def test_the_public_surface_is_frozen() -> None:
    assert set(invariance_probe.__all__) == PUBLIC
    assert len(invariance_probe.__all__) == len(PUBLIC)
    assert set(dir(invariance_probe)) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(invariance_probe, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rotate'"):
        invariance_probe.rotate  # noqa: B018


def test_type_checkers_see_the_names_that_are_loaded_on_use() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in ast.walk(guard)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == invariance_probe._HOMES


@each_module
def test_every_module_imports(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    importlib.import_module(".".join(parts).removesuffix(".__init__"))


# --- cheap imports -----------------------------------------------------------------------------

HEAVY = "[m for m in ('torch', 'torchvision', 'pandas', 'matplotlib', 'scipy') if m in sys.modules]"


def test_importing_the_package_leaves_the_heavy_libraries_alone() -> None:
    assert run_python(f"import sys, invariance_probe; print({HEAVY})") == "[]\n"


def test_help_leaves_the_heavy_libraries_alone() -> None:
    code = f"""
import sys
sys.argv = ["invariance-probe", "--help"]
from invariance_probe.cli import main
try:
    status = main()
except SystemExit as stop:
    status = stop.code
print("status", status or 0, {HEAVY})
"""
    out = run_python(code)
    assert "demo" in out
    assert out.splitlines()[-1] == "status 0 []"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "invariance_probe", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("demo", "probe", "layers", "plot"))


# --- one version -------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    version = invariance_probe.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (.+)$", citation) == [version]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in changelog
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project
    assert 'path = "invariance_probe/_version.py"' in project


# --- order of the rooms ------------------------------------------------------------------------


@functools.cache
def imported(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name below invariance_probe) of every import of the package's own."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            full = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in full:
            first, _, rest = name.partition(".")
            if first == "invariance_probe" and rest:
                found.append((node.lineno, rest))
    return found


def test_every_file_belongs_to_a_room() -> None:
    tops = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert tops <= {*ROOMS, *LEAVES, "__init__", "__main__"}


@each_module
def test_imports_go_one_way(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    allowed = {*ALLOWED.get(here, set()), *LEAVES, "__version__"}
    wrong = [
        f"line {line}: {name}"
        for line, name in imported(path)
        if name.partition(".")[0] not in allowed
    ]
    assert not wrong, f"{here} must not import {wrong}"


each_folder = pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: str(folder.relative_to(PACKAGE))
)


@each_folder
def test_a_folder_holds_few_things(folder: Path) -> None:
    held = {path.stem for path in folder.iterdir() if (path / "__init__.py").exists()}
    held |= {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert len(held) <= 14


@each_folder
def test_what_a_folder_holds_is_imported_without_a_circle(folder: Path) -> None:
    start = ".".join(folder.relative_to(PACKAGE).parts) + "."
    needs: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        here = path.relative_to(folder).parts[0].removesuffix(".py")
        names = [name.removeprefix(start) for _, name in imported(path) if name.startswith(start)]
        needs.setdefault(here, set()).update(name.partition(".")[0] for name in names)
    needs.pop("__init__", None)
    order = TopologicalSorter({here: names - {here} for here, names in needs.items()})
    order.prepare()  # raises CycleError, which names the circle


@each_module
def test_what_is_private_to_a_folder_is_imported_only_inside(path: Path) -> None:
    inside = ".".join(path.relative_to(PACKAGE).parts[:-1])
    for line, name in imported(path):
        parts = name.split(".")
        for index, part in enumerate(parts):
            owner = ".".join(parts[:index])
            module = PACKAGE.joinpath(*parts[: index + 1]).with_suffix(".py")
            if part.startswith("_") and module.exists():
                assert f"{inside}.".startswith(f"{owner}." if owner else ""), f"line {line}: {name}"


# --- house rules -------------------------------------------------------------------------------


@each_module
def test_every_module_starts_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(parsed(path))


@each_module
def test_every_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@each_module
def test_the_library_is_silent(path: Path) -> None:
    talks = path.relative_to(PACKAGE).parts[0].removesuffix(".py") == "cli"
    wrong = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Assert):
            wrong.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.endswith("plt.show") or (called == "print" and not talks):
                wrong.append(f"line {node.lineno}: {called}")
    assert not wrong


@pytest.mark.parametrize(
    "room", ["", *(r for r in ROOMS if r not in ("running", "console", "cli"))]
)
def test_completion_offers_the_public_names_alone(room: str) -> None:
    module = importlib.import_module("invariance_probe" + f".{room}" * bool(room))
    assert set(dir(module)) == set(module.__all__)


def test_committed_results_are_light() -> None:
    """What people look at and what says where it comes from; its command makes the rest again."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "figures"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("no git repository")
    sizes = [(ROOT / name).stat().st_size for name in listed.stdout.split("\0") if name]
    assert max(sizes) < 1e6 and sum(sizes) < 15e6
