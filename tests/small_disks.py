"""Small disks of their own, and the promise of a command that cannot write there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 2_000_000
LONGEST = 500  # characters of the line that says what is wrong

NO_DISK = (
    "needs root on Linux"
    if sys.platform != "linux" or os.geteuid() or shutil.which("mount") is None
    else ""
)


@contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """A disk of two megabytes while the block runs; skips the test where none may be mounted."""
    import pytest

    place.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(place))
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, how: str) -> None:
    """Change a mounted disk: "ro", or "size=64m"."""
    assert _mount("-o", f"remount,{how}", str(place)).returncode == 0


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


def fill(place: Path, room: int) -> Path:
    """Write a file that leaves so many bytes free; its path."""
    filler = place / "filler"
    about = os.statvfs(place)
    filler.write_bytes(bytes(about.f_bavail * about.f_frsize - room))
    return filler


def held(place: Path) -> dict[str, bytes]:
    """All that a folder holds but the filler, with folders as empty entries."""
    return {
        path.relative_to(place).as_posix(): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.name != "filler"
    }


def not_one_line(said: str) -> str:
    """What is wrong with the words of a refused command: its last line is the only error, short."""
    lines = said.strip().splitlines()
    errors = [line for line in lines if line.startswith(("error: ", "Error: "))]
    if len(errors) != 1 or lines[-1] != errors[0]:
        return f"not one line of error: {said[-2000:]}"
    if any(word in said for word in ("Traceback", "Exception ignored", "Warning")):
        return f"more than one line: {said[-2000:]}"
    return f"a line of {len(lines[-1])} characters" if len(lines[-1]) > LONGEST else ""
