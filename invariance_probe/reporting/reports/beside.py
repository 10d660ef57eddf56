"""Work done by a second process meanwhile, where the system lets a process be copied safely."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TypeVar

T = TypeVar("T")

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


def two_can_work() -> bool:
    """Whether a copy of this process can work on a core of its own."""
    # macOS has `fork`, but its frameworks do not survive it; Windows has none.
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1


@contextmanager
def beside(tasks: Sequence[Callable[[], T]]) -> Iterator[Callable[[], list[T]]]:
    """Begin tasks in a copy of this process; what is yielded waits for it and returns its results.

    Results come in the order of the tasks and are fewer where the copy failed or was stopped: do
    the rest here, where errors belong. The copy must not use PyTorch, whose threads it lacks. It
    ends with the block, whatever ends that, and says nothing.
    """
    if not tasks or not two_can_work():
        yield list
        return
    with tempfile.TemporaryFile() as store:  # no pipe: neither process ever waits to write or read
        with warnings.catch_warnings():
            # Other threads, such as that of a progress bar, hold no lock that the tasks take.
            warnings.simplefilter("ignore", DeprecationWarning)
            first = os.getpid()
            copy = os.fork()
        if copy == 0:
            _work(tasks, store, first)
        ended = False

        def results() -> list[T]:
            nonlocal ended
            if not ended:
                os.waitpid(copy, 0)
                ended = True
            return list(_read(store))

        try:
            yield results
        finally:
            if not ended:
                os.kill(copy, signal.SIGKILL)
                os.waitpid(copy, 0)


def _work(tasks: Sequence[Callable[[], object]], store: IO[bytes], first: int) -> None:
    """Do the tasks and end the process, without what is done at the end of the first one."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _die_with(first)
        # A progress bar may hold the lock of these two.
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        for task in tasks:
            pickle.dump(task(), store)
        store.flush()
    except BaseException:
        store.flush()  # what is done is of use
    finally:
        os._exit(0)


def _die_with(first: int) -> None:
    """Let the system end this process with the one that it is a copy of, however that ends."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != first:  # it has ended already
        os._exit(0)


def _read(store: IO[bytes]) -> Iterator[T]:
    store.seek(0)
    while True:
        try:
            yield pickle.load(store)
        except (EOFError, pickle.UnpicklingError):
            return
