"""Putting a whole folder in the place of another, in one step where the system has one."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import ProbeError

READY, OLD, GONE = "ready", "old", "gone"
"""In a hidden folder: what is whole and about to take its place, what stands there until it has,
and what is no longer needed."""

_SWAP, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}


def exchange(draft: Path, target: Path, holder: Path) -> None:
    """Put the finished folder `draft` in the place of `target`; what stood there is moved aside.

    It is afterwards in the hidden folder `holder`, to be removed with it. On Linux there is no
    moment without one of the two; elsewhere a run that is killed between two renames is put right
    by `recovered`.

    Raises OSError where that fails, with the older folder in its place; should even putting it
    back fail, a ProbeError says where it is.
    """
    ready, old, gone = holder / READY, holder / OLD, holder / GONE
    if not os.path.lexists(target):
        draft.rename(target)
        return
    if swapped(draft, target):
        try:
            draft.rename(gone)
        except BaseException:
            swapped(draft, target)
            raise
        return
    draft.rename(ready)
    try:
        target.rename(old)
        ready.rename(target)
    except BaseException:
        _put_back(old, target)
        raise
    old.rename(gone)


def swapped(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    with suppress(AttributeError, OSError):
        call = ctypes.CDLL(None, use_errno=True).renameat2
        if call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _SWAP) == 0:
            return True
        number = ctypes.get_errno()
        if number not in _UNKNOWN:
            return False  # the renames that follow fail likewise, with the name of the place
    return False


def recovered(holder: Path, target: Path) -> str:
    """Finish or undo the exchange of a killed run; says what was done, "" where nothing was.

    Raises OSError where that fails.
    """
    if os.path.lexists(target):
        return ""
    for name, what in ((READY, "the finished one"), (OLD, "the older one")):
        if (holder / name).is_dir():
            (holder / name).rename(target)
            return f"put {what} into {target}, where a run was killed while it replaced it"
    return ""


def _put_back(old: Path, target: Path) -> None:
    """Return the older folder to its place after a failed exchange."""
    if old.exists() and not target.exists():
        try:
            old.rename(target)
        except OSError as error:
            raise ProbeError(
                f"cannot write the result to {target}: {error.strerror or error}; the older "
                f"result is now in {old}, move it back by hand"
            ) from error
