"""A signal that comes where Python drops exceptions is not lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import os, signal, sys, time, weakref
from invariance_probe.console.signals import Stopped, listen

listen()

class Thing:
    def __del__(self):
        if sys.argv[2] == "del":
            os.kill(os.getpid(), int(sys.argv[1]))
            time.sleep(0.05)  # here the handler runs

def gone(_):
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(0.05)

thing = Thing()
if sys.argv[2] == "weakref":
    watch = weakref.ref(thing, gone)
try:
    del thing
    time.sleep(20)
except Stopped as stopped:
    sys.exit(stopped.code)
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(99)
"""


@pytest.mark.parametrize("where", ["del", "weakref"])
@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_signal_while_an_object_is_cleaned_up_is_heard(
    where: str, number: int, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(number), where], capture_output=True, text=True,
        timeout=60, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
