"""What Ctrl-C, SIGTERM and SIGHUP do: the command ends as one that was stopped, in one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_AGAIN = 0.05  # seconds until a signal that nothing could hear is sent again
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What a cluster, a service or a closed terminal sends; Windows has not all of them."""


class Stopped(KeyboardInterrupt):
    """A command was asked to end by another signal than Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def listen() -> None:
    """End this process in an orderly way on signals that would cut it off; once, in its main."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    for number in STOPS:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _stop)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unheard


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise where the command is; an import is first finished, for libraries hide what stops it."""
    if _importing(frame):
        _again(number)
    elif number == signal.SIGINT:
        raise KeyboardInterrupt
    else:
        raise Stopped(number)


def _unheard(said: Any) -> None:
    """Send again what came while Python cleaned up an object, where it drops what is raised."""
    error = said.exc_value
    if isinstance(error, KeyboardInterrupt):
        _again(error.code - 128 if isinstance(error, Stopped) else signal.SIGINT)
    else:
        sys.__unraisablehook__(said)


def _again(number: int) -> None:
    later = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
    later.daemon = True
    later.start()


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
