"""Little time and memory for what reads damaged files, and bytes damaged by chance from a seed."""

from __future__ import annotations

import random
import resource
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS, MEMORY = 20, 2 << 30


@contextmanager
def little_memory() -> Iterator[None]:
    """Beyond two gigabytes more than now, memory is refused."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def little_time() -> Iterator[None]:
    """What takes more than 20 seconds of a processor is stopped by KeyboardInterrupt."""

    def ring(*_: object) -> None:
        raise KeyboardInterrupt(f"more than {SECONDS} s")

    handler = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Bytes set, dropped, doubled, cut, anywhere; in the head as often as in all the rest."""
    made = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.choice([draw.randrange(len(made) + 1), draw.randrange(min(200, len(made)))])
        what = draw.randrange(5)
        number = struct.pack("<Q", draw.choice([0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]))
        if what == 0:
            made[place : place + 1] = bytes([draw.randrange(256)])
        elif what == 1:
            width = draw.choice([4, 8])
            made[place : place + width] = number[:width]
        elif what == 2:
            del made[place : place + draw.randrange(20)]
        elif what == 3:
            made[place:place] = made[place : place + draw.randrange(300)]
        else:
            del made[place + draw.randrange(64) :]
        made = made or bytearray(b"x")
    return bytes(made)
