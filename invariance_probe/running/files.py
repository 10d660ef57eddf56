"""Files written whole or not at all, and what differs between two sets of plain values."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .._foreign import check_regular
from ..errors import ProbeError

_HIDDEN, _PART = ".", ".part"  # around the name of a file that is being written
_LARGEST = 1 << 31  # bytes


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises FileNotFoundError where there is none, and `Unreadable` where the system refuses it;
    also for what is no regular file, or larger than any of ours.
    """
    try:
        check_regular(path)
        if path.stat().st_size > _LARGEST:
            raise OSError(errno.EFBIG, "is far too large", str(path))
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, "missing", str(path)) from None
    except OSError as error:
        raise Unreadable(path, error) from error


class Unreadable(ProbeError):
    """A file that is there and cannot be read: what it holds may well be whole."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"cannot read '{path}' ({error.strerror or error}); put that right, or name another "
            "place"
        )


def write_atomically(
    path: Path, content: bytes | Callable[[BinaryIO], object], what: str = ""
) -> None:
    """Write a file beside its place and move it there, so that nobody sees half of it.

    `content` is what to write, or a function that writes it to an open file; `what` names it in
    the error ("the figure").

    Raises ProbeError when the place cannot be written (full disk, missing rights).
    """
    part = path.parent / f"{_HIDDEN}{path.name}{_PART}"
    above: list[Path] = []
    try:
        above = [place for place in path.parents if not place.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            _fill(stream, content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        raise ProbeError(
            f"cannot write {what}{' ' * bool(what)}'{path}' ({error.strerror or error}); "
            "give a place with room and rights"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # folders that were made for it, and hold nothing
            for place in above:
                place.rmdir()


def is_part(name: str, of: Iterable[str]) -> bool:
    """Whether a file is called like one that a killed run was writing, of those names.

    >>> is_part(".config.json.part", ["config.json"]), is_part("config.json", ["config.json"])
    (True, False)
    """
    return name in {f"{_HIDDEN}{one}{_PART}" for one in of}


def _fill(stream: BinaryIO, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write the content; an OSError of the disk, whatever a library makes of it."""
    if not callable(content):
        stream.write(content)
        return
    noting = _Noting(stream)
    try:
        content(noting)  # type: ignore[arg-type]
    except RuntimeError as error:  # so `torch.save` tells that it could not write
        raise (noting.failure or error) from error


class _Noting:
    """A file that is written, and what the system said when that failed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self._stream.write(content)
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return "field: old -> new, ..." where two sets of plain values differ; "" where they agree.

    Values inside values are named with dots.

    >>> differences({"a": 1, "r": {"lr": 0.1}}, {"a": 1, "r": {"lr": 0.2}, "b": None})
    'r.lr: 0.1 -> 0.2'
    """
    old, new = _flat(then), _flat(json.loads(json.dumps(now)))
    return ", ".join(
        f"{name}: {_short(old.get(name))} -> {_short(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _short(value: Any) -> str:
    """A value in short: hashes need not be read whole."""
    text = value if isinstance(value, str) else json.dumps(value)
    long = len(text) == 64 and " " not in text
    return f"{text[:8]}..." if long else text
