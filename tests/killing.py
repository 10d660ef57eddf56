"""Commands that run in a place of their own, are killed at some moment of their life, or may not
do what root may; and what they leave.

A process that has imported all that commands use is copied for each of them, which saves the
seconds of importing; `imported=False` begins a new Python instead.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
SECONDS = 600  # until a command counts as one that hangs, on a busy machine

_HERE = "from invariance_probe.__main__ import main\nmain()"
# The same parts as any demo, of two transformations instead of thirty-four.
_SHORT_DEMO = (
    """
from importlib import import_module
demo = import_module("invariance_probe.console.commands.demo")
demo.LAYERS = ("conv1",)
demo.PROBES = {"rotations": "rotation:90", "scalings": "scaling:2"}
"""
    + _HERE
)
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_VERSION, _MAY_READ_AND_WRITE_ALL = 0x20080522, 0b110  # of Linux' capabilities


@dataclass(frozen=True)
class Command:
    """A program of Python and the words after its name."""

    program: str
    words: tuple[str, ...] = ()

    def having(self, *more: str) -> Command:
        return Command(self.program, self.words + more)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # negative: the signal that ended it
    said: str  # on stderr
    seconds: float = 0.0  # of a processor


def command(line: str) -> Command:
    """A command line of the package, demos of less, or of an analysis ("oracle_stn.py ...")."""
    first, *rest = line.split()
    if not first.endswith(".py"):
        return Command(_SHORT_DEMO if first == "demo" else _HERE, (first, *rest))
    place, name = str(ROOT / "analyses"), first.removesuffix(".py")
    program = f"import sys\nsys.path.insert(0, {place!r})\nimport {name}\nsys.exit({name}.main())"
    return Command(program, tuple(rest))


@dataclass(frozen=True)
class Moment:
    """When to kill: after seconds of a processor, or when a file of a pattern has appeared."""

    seconds: float | None = None
    pattern: str = ""


def run(
    asked: Command, place: Path, *, imported: bool = True, printed: Path | None = None,
    bound: bool = False,
) -> Ended:  # fmt: skip
    """Run a command to its end; `printed` takes its stdout, `bound` takes root's rights away."""
    with tempfile.TemporaryFile() as said, (printed or Path(os.devnull)).open("wb") as out:
        child = _begun(asked, place, said, out, imported=imported, bound=bound)
        return _end(child, said, time.monotonic() + SECONDS)


def killed(
    asked: Command, place: Path, when: Moment, how: int, *, imported: bool = True
) -> Ended:  # fmt: skip
    """Run a command and send it a signal at a moment, unless it has ended before."""
    with tempfile.TemporaryFile() as said, Path(os.devnull).open("wb") as out:
        before = set(place.glob(when.pattern)) if when.pattern else set()
        child = _begun(asked, place, said, out, imported=imported)
        limit = time.monotonic() + SECONDS
        while not _over(child) and time.monotonic() < limit:
            if when.seconds is not None and spent(child) >= when.seconds:
                break
            if when.pattern and set(place.glob(when.pattern)) - before:
                break
            time.sleep(0.002)
        os.kill(child, how)
        return _end(child, said, limit)


def finished(asked: Command, place: Path) -> Ended:
    """Run a command that must end well."""
    done = run(asked, place)
    assert done.code == 0, (asked.words, done.said)
    return done


def spent(child: int) -> float:
    """Seconds of a processor that a process has taken."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _over(child: int) -> bool:
    """Whether a child has ended; it is not yet waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: int, said: IO[bytes], limit: float) -> Ended:
    while not _over(child):
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said.seek(0)
            raise TimeoutError(f"a command hangs: {said.read().decode(errors='replace')}")
        time.sleep(0.002)
    seconds = spent(child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.seek(0)
    return Ended(code, said.read().decode(errors="replace"), seconds)


def _begun(
    asked: Command, place: Path, said: IO[bytes], out: IO[bytes], *, imported: bool,
    bound: bool = False,
) -> int:  # fmt: skip
    if imported:
        _import_all()
    child = os.fork()
    if child:
        return child
    try:  # in the copy, which must never come back from here
        os.setsid()
        os.chdir(place)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(said.fileno(), 2)
        # A shell lets what runs in its background ignore Ctrl-C, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if bound:
            _give_up_rights()
        if not imported:
            words = [sys.executable, "-c", asked.program, *asked.words]
            os.execve(sys.executable, words, ENVIRONMENT)
        os._exit(_played(asked))
    finally:
        os._exit(99)


def _played(asked: Command) -> int:
    """Do in this process what a new one would; its exit code."""
    os.environ.update(ENVIRONMENT)
    sys.argv = ["-c", *asked.words]
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    code: object = 0
    try:
        exec(asked.program, {"__name__": "__main__"})
        sys.stdout.flush()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
    except OSError as error:  # as Python itself does at its end
        sys.stderr.write(f"Exception ignored while flushing stdout: {error}\n")
        code = 120
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


@cache
def _import_all() -> None:
    """Import what any command would, so that copies of this process need not."""
    import invariance_probe

    for module in pkgutil.walk_packages(invariance_probe.__path__, "invariance_probe."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
                 "matplotlib.backends.backend_pdf", "scipy.optimize", "scipy.ndimage",
                 "PIL.GifImagePlugin", "pandas", "torch", "torchvision"):  # fmt: skip
        importlib.import_module(name)


def _give_up_rights() -> None:
    """Let permissions of files hold for root as for everybody."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    rights = (ctypes.c_uint32 * 6)()
    if libc.capget(header, rights):
        raise OSError(ctypes.get_errno(), "capget")
    for index in (0, 1):  # effective, permitted
        rights[index] &= ~_MAY_READ_AND_WRITE_ALL & 0xFFFFFFFF
    if libc.capset(header, rights):
        raise OSError(ctypes.get_errno(), "capset")


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
    for name in [name for name in held if name.endswith("history.csv")]:
        lines = (folder / name).read_text().splitlines()
        assert lines[0].endswith(",seconds")
        held[name] = [line.rpartition(",")[0] for line in lines]
    return held


def _arrays(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path), np.load(path) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}
