"""Main memory: how much of it is free, and amounts in words."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 4 << 30  # bytes, where the system does not tell


def free_bytes() -> int:
    """Bytes of main memory that are free, also under a container's limit."""
    known = [number for number in (_available(), _left_in_group()) if number is not None]
    return min(known, default=_UNKNOWN)


def bytes_text(number: float) -> str:
    """Bytes in short.

    >>> bytes_text(3_200_000_000), bytes_text(250_000)
    ('3.2 GB', '250 kB')
    """
    for unit, size_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size_of:
            return f"{number / size_of:.3g} {unit}"
    return f"{number:.0f} bytes"


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _left_in_group() -> int | None:
    """What a container's limit leaves."""
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        return None if most == "max" else max(0, int(most) - used)
    except (OSError, ValueError):
        return None
