"""Asking long work to stop at a good point: Ctrl-C, SIGTERM as clusters send it, or SIGHUP."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import talk
from .signals import STOPS


@contextmanager
def stopping(*, alone: bool = False, saving: bool = False) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, or SIGTERM or SIGHUP came; Ctrl-C again stops at once.

    `alone`: for work whose processes under torchrun cannot agree on a step to stop after: they
    stop at once, and SIGTERM ends the process as ever. `saving` says what stopping does.
    """
    asked = threading.Event()
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    here = threading.current_thread() is threading.main_thread()
    if not here or (alone and several):
        yield asked.is_set
        return

    def on_signal(number: int, frame: object) -> None:
        if asked.is_set():
            if number == signal.SIGINT and not several:
                raise KeyboardInterrupt
            return  # torchrun passes on what its processes have got already
        asked.set()
        what = " and saving" if saving else ""
        talk.hint(f"stopping after this step{what}; Ctrl-C again stops at once")

    heard = [n for n in STOPS if signal.getsignal(n) is not signal.SIG_IGN]  # as by nohup
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, *heard)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
