"""The script beside a test module, and what every analysis script must obey."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module")
def path(request: pytest.FixtureRequest) -> Path:
    """The script that a test module is named after."""
    return SCRIPTS / (request.module.__name__.rpartition(".")[2].removeprefix("test_") + ".py")


@pytest.fixture(scope="module")
def script(path: Path) -> ModuleType:
    """The script as a module; `script.main(words)` runs it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def refuses(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[Sequence[str], str], None]:
    """Bad input is one line that holds a message, and nothing is written."""

    def check(words: Sequence[str], message: str) -> None:
        out = tmp_path / "out"
        assert script.main([*words, "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and message in said and said.count("\n") == 1
        assert not out.exists()

    return check


@pytest.fixture
def shows_help(path: Path) -> Callable[[str], None]:
    """Help shows an example and loads nothing heavy."""

    def check(example: str) -> None:
        code = (
            f"import runpy, sys\nsys.argv = [{path.name!r}, '--help']\n"
            f"try:\n    runpy.run_path({str(path)!r}, run_name='__main__')\n"
            "except SystemExit as stop:\n    code = stop.code\n"
            "heavy = ('torch', 'pandas', 'matplotlib')\n"
            "print('status', code, [m for m in heavy if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert f"python analyses/{path.name} {example}" in done.stdout
        assert done.stdout.splitlines()[-1] == "status 0 []"

    return check
