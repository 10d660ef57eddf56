"""One writer per place: a hidden folder beside it, locked for as long as its process lives."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ProbeError
from .exchange import GONE, OLD, READY, recovered

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_NEW = "new"
_KNOWN = {_NEW, READY, OLD, GONE}
_BEFORE, _AFTER = ".", ".part"  # around the name of a place, in that of its hidden folder
_LONGEST = 200  # bytes of a name that goes into that of the hidden folder
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@dataclass
class Claim:
    """The right to write a place, and the hidden folder beside it in which to prepare that.

    `found` says what a killed run had left there and what became of it, a line each.
    """

    target: Path
    holder: Path
    found: tuple[str, ...]
    above: tuple[Path, ...]  # folders that were made for it
    lock: int | None
    thread: int
    depth: int = 1

    def draft(self) -> Path:
        """Return a new empty folder in the hidden one, as open as the user's other folders."""
        place = self.holder / _NEW
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place


_held: dict[Path, Claim] = {}


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Hold a place against other processes and threads; within the same thread more than once.

    The lock goes with its process, however that ends. What a killed run left in the hidden folder
    is put back where it belongs, or removed. When the block ends the hidden folder goes, and so do
    folders that were made above it if nothing came into them.

    Raises ProbeError where another run writes there, and where the place cannot be written.
    """
    target = Path(os.path.realpath(folder))
    claim, here = _held.get(target), threading.get_ident()
    if claim is not None and claim.thread == here:
        claim.depth += 1
    else:
        with writing(folder):
            claim = _held[target] = _take(folder, target, here)
    try:
        yield claim
    finally:
        claim.depth -= 1
        if claim.depth == 0:
            _held.pop(target, None)
            _release(claim)


def is_holder(name: str) -> bool:
    """Whether a folder is called like the hidden one of some place.

    >>> is_holder(".out.part"), is_holder("out")
    (True, False)
    """
    return name.startswith(_BEFORE) and name.endswith(_AFTER)


class NotWritten(ProbeError):
    """A folder could not be written; errors of reading in the block stay what they are."""

    def __init__(self, message: str, cause: OSError) -> None:
        super().__init__(message)
        self.cause = cause


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the system says while a folder is written, in one line that names that folder."""
    try:
        yield
    except (OSError, NotWritten) as error:
        # What fails to be written inside is named by the folder that the user knows.
        cause = error.cause if isinstance(error, NotWritten) else error
        raise NotWritten(
            f"cannot write the result to {folder}: {cause.strerror or cause}; "
            "free some space or name another folder",
            cause,
        ) from cause


def _take(folder: Path, target: Path, thread: int) -> Claim:
    above = tuple(place for place in target.parents if not place.exists())
    lock = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        holder, lock = _locked(folder, target)
        found: tuple[str, ...] = ()
        if lock is not None:
            if others := _foreign(holder):
                raise ProbeError(
                    f"{holder} is in the way (it holds {others[0]}); move it elsewhere"
                )
            found = tuple(_cleaned(target, holder))
        return Claim(target, holder, found, above, lock, thread)
    except BaseException:  # Ctrl-C too leaves nothing
        if lock is not None:
            with suppress(OSError):
                holder.rmdir()
            os.close(lock)
        _prune(above)
        raise


def _locked(folder: Path, target: Path) -> tuple[Path, int | None]:
    """The hidden folder and the open lock on it; one of its own where there are no locks."""
    holder = target.parent / _hidden(target.name)
    while fcntl is not None:
        with suppress(FileExistsError):
            holder.mkdir(mode=0o700)
        try:
            lock = os.open(holder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its owner has just finished
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(lock, holder):
                return holder, lock
            os.close(lock)
        except BlockingIOError:
            os.close(lock)
            raise ProbeError(
                f"{folder} is being written by another run; wait until it ends, or name another "
                "folder"
            ) from None
        except OSError as error:
            os.close(lock)
            if error.errno not in _NO_LOCKS:
                raise
            with suppress(OSError):
                holder.rmdir()
            break
    return Path(tempfile.mkdtemp(prefix=f".{target.name[:_LONGEST]}-", dir=target.parent)), None


def _hidden(name: str) -> str:
    """The name of the hidden folder of a place: short, whatever that of the place."""
    raw = os.fsencode(name)
    short = name if len(raw) <= _LONGEST else hashlib.sha256(raw).hexdigest()[:32]
    return f"{_BEFORE}{short}{_AFTER}"


def _same(lock: int, holder: Path) -> bool:
    """Whether the folder that is locked still stands in its place."""
    try:
        now = os.stat(holder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(lock), now)


def _cleaned(target: Path, holder: Path) -> Iterator[str]:
    """Put back or remove what killed runs left beside a place; says what was done."""
    for place in (holder, *_older(target)):
        left = {entry.name for entry in place.iterdir()}
        if said := recovered(place, target):
            yield said
        elif left:
            yield f"removed what a run that was killed had begun to write ({place})"
        for entry in place.iterdir():
            shutil.rmtree(entry, ignore_errors=True)
        if place != holder:
            place.rmdir()


def _older(target: Path) -> list[Path]:
    """Hidden folders of version 0.1.0 beside a place."""
    name = re.compile(rf"\.{re.escape(target.name)}-[a-z0-9_]{{8}}")
    with suppress(OSError):
        found = [place for place in target.parent.iterdir() if name.fullmatch(place.name)]
        return sorted(place for place in found if place.is_dir() and not _foreign(place))
    return []


def _foreign(holder: Path) -> list[str]:
    """What a hidden folder holds that no run puts there."""
    return sorted({entry.name for entry in holder.iterdir()} - _KNOWN)


def _release(claim: Claim) -> None:
    # An older result that could not be put back stays, and is put back by the next run.
    if os.path.lexists(claim.target) or not (claim.holder / OLD).exists():
        shutil.rmtree(claim.holder, ignore_errors=True)
    if claim.lock is not None:
        os.close(claim.lock)
    _prune(claim.above)


def _prune(folders: tuple[Path, ...]) -> None:
    """Remove folders into which nothing came, the innermost first."""
    for place in folders:
        with suppress(OSError):
            place.rmdir()


def _forget() -> None:
    """In a copy of this process: the locks are the first one's, and end with it."""
    for claim in _held.values():
        if claim.lock is not None:
            os.close(claim.lock)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
