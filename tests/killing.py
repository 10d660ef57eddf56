"""Commands that are killed at some moment of their life, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}

Command = Sequence[str]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "invariance_probe", *words]


def finished(words: Command, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        words, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


def killed(words: Command, place: Path, after: float, how: int) -> tuple[int, str]:
    """Run a command, send it a signal after some seconds; its exit code and what it said."""
    # A shell lets what runs in its background ignore Ctrl-C, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            words, cwd=place, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        _, said = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        _, said = process.communicate(timeout=120)
    return process.returncode, said


def alone(session: int) -> bool:
    """Whether nothing runs any more in the session of a process."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            return False
    return True


def duration(words: Command, place: Path) -> float:
    """Seconds that a command takes from start to end; it must end well."""
    start = time.monotonic()
    done = finished(words, place)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - start


def contents(folder: Path) -> dict[str, object]:
    """What the files of a folder hold: bytes, and arrays for archives, which hold the time."""
    held: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            held[name] = _arrays(path) if path.suffix == ".npz" else path.read_bytes()
    for name in [name for name in held if name.endswith("hash.json")]:
        held[name] = b""  # it holds the hash of the archive, time included
    for name in [name for name in held if name.endswith("provenance.json")]:
        held[name] = b""  # it says how long the run took
    return held


def _arrays(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path), np.load(path) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}
