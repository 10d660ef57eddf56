"""Folders of results, reports and figures: whole or not at all, never at the cost of others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._foreign import FILES, listed
from ..errors import ProbeError
from .claims import claimed, writing
from .exchange import exchange
from .files import read_bytes
from .hashes import HASH_FILE

PROVENANCE = "provenance.json"
"""The file by which a folder is known as a result."""

FIGURES = "figures"


def check_free(
    folder: Path,
    *,
    overwrite: bool,
    parts: tuple[str, ...] = (),
    marker: str = PROVENANCE,
) -> None:
    """Refuse an output folder that cannot become a result's, before any work is done.

    A folder with something in it may only be replaced if it holds `marker`, or results in the
    sub-folders `parts`, and nothing but files that these list as their own.
    """
    with _reached(folder):
        check_place(folder)
        held = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
        if not held:
            return
        whole = set(held) <= {FILES, *parts} and all(
            (folder / name / PROVENANCE).is_file() for name in held if name != FILES
        )
        others = strangers(folder, parts) if whole or (folder / marker).is_file() else held
    if others:
        raise ProbeError(
            f"{folder} holds files that are no result ({others[0]}, ...) and is left alone; "
            "name another folder"
        )
    if not overwrite:
        raise ProbeError(
            f"{folder} already holds a result, which is kept; name another folder, or replace "
            "it with --overwrite"
        )


def check_place(folder: Path) -> None:
    """Refuse what cannot be written as a folder, whatever it may hold."""
    with _reached(folder):
        if folder.exists() and not folder.is_dir():
            raise ProbeError(f"{folder} is a file; name a folder for the result")
        target = folder.resolve()  # pathlib takes "." itself for a mount point
        if target.exists() and (target.is_mount() or target == Path(target.anchor)):
            raise ProbeError(
                f"{folder} is a mount point and cannot be replaced; name a folder in it"
            )
        above = next(place for place in folder.absolute().parents if place.exists())
        if Path.cwd().is_relative_to(target):
            raise ProbeError(
                f"{folder} is the folder you work in or one above it; name a folder in it"
            )
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise ProbeError(f"cannot write to {above}; name another folder for the result")
        if not os.access(target.parent, os.W_OK | os.X_OK) and target.parent.exists():
            raise ProbeError(f"cannot write to {target.parent}; name another folder for the result")


def check_flat(folder: Path) -> None:
    """Refuse a folder that cannot take files beside those that it holds (`added_files`)."""
    with _reached(folder):
        if folder.is_dir():
            _flat(folder)
    check_place(folder)


def check_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or is there and kept, before any work is done."""
    with _reached(path):
        if path.is_dir():
            raise ProbeError(f"{path} is a folder; name a file")
        if os.path.lexists(path) and not overwrite:
            raise ProbeError(f"{path} is there already; name another file, or use --overwrite")
        above = next(place for place in path.absolute().parents if place.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise ProbeError(f"cannot write to {above}; name a file elsewhere")


@contextmanager
def _reached(folder: Path) -> Iterator[None]:
    """What stands in the way of looking at a folder, in one line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ProbeError):
            raise
        # A loop of links is a RuntimeError of pathlib, a zero in a name a ValueError.
        reason = getattr(error, "strerror", None) or str(error)
        shown = f"{folder}" if len(str(folder)) <= 200 else f"{str(folder)[:200]}..."
        raise ProbeError(f"cannot reach {shown} ({reason}); name another folder") from error


def holds_result(folder: Path, marker: str = PROVENANCE) -> bool:
    """Whether a folder holds a result, or what else `marker` stands for."""
    with _reached(folder):
        return (folder / marker).is_file()


def strangers(folder: Path, parts: tuple[str, ...] = ()) -> list[str]:
    """Return the files in a folder that none of its lists names, so that they are the user's."""
    return sorted(_all_files(folder) - _listed(folder, parts))


def _listed(folder: Path, parts: tuple[str, ...]) -> set[str]:
    """What the lists of a folder, of its figures and its parts name, relative to the folder."""
    names = {FILES, HASH_FILE, *listed(folder / FILES), *listed(folder / HASH_FILE)}
    for inner in (FIGURES, *parts):
        if (folder / inner).is_dir() and not (folder / inner).is_symlink():
            names |= {f"{inner}/{name}" for name in _listed(folder / inner, ())}
    return names


def _all_files(folder: Path) -> set[str]:
    """All that a folder holds but folders, relative to it; links count as files."""
    found = set()
    for place, below, names in os.walk(folder, onerror=_refuse):
        links = [name for name in below if (Path(place) / name).is_symlink()]
        found |= {(Path(place) / n).relative_to(folder).as_posix() for n in (*names, *links)}
    return found


def _refuse(error: OSError) -> Any:
    raise error


def write_list(folder: Path, parts: tuple[str, ...] = ()) -> None:
    """Write the list of all files in a folder that this run has made, where none names them."""
    for name in parts:
        if (folder / name).is_dir():
            write_list(folder / name)
    if unnamed := strangers(folder, parts):
        text = json.dumps({"files": unnamed}, indent=2, ensure_ascii=False) + "\n"
        (folder / FILES).write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(
    folder: Path,
    *,
    overwrite: bool,
    parts: tuple[str, ...] = (),
    marker: str = PROVENANCE,
) -> Iterator[Path]:
    """A new folder to fill that takes the place of `folder` when the block ends well.

    Whatever stops the block, Ctrl-C included, nothing is left behind and an older result stays;
    what a killed process leaves in the hidden folder beside it the next one puts right.
    Raises ProbeError as `check_free`, where another run writes there, and when the disk is full or
    may not be written.
    """
    check_free(folder, overwrite=overwrite, parts=parts, marker=marker)
    with claimed(folder) as claim, writing(folder):
        draft = claim.draft()
        yield draft
        write_list(draft, parts)
        check_free(folder, overwrite=overwrite, parts=parts, marker=marker)  # it may have changed
        exchange(draft, claim.target, claim.holder)


def publish(
    prepared: Path,
    folder: Path,
    *,
    overwrite: bool,
    parts: tuple[str, ...] = (),
    marker: str = PROVENANCE,
) -> None:
    """Let a folder that was filled over some time, beside `folder`, take the place of that.

    Raises ProbeError as `whole_folder`.
    """
    with claimed(folder) as claim, writing(folder):
        write_list(prepared, parts)
        check_free(folder, overwrite=overwrite, parts=parts, marker=marker)
        exchange(prepared, claim.target, claim.holder)


def stated_hash(folder: Path) -> str:
    """The content hash that a result states of itself; "" where there is none."""
    try:
        stated = json.loads(read_bytes(folder / HASH_FILE))["content_hash"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return stated if isinstance(stated, str) else ""


@contextmanager
def added_files(folder: Path, owner: Path | None = None) -> Iterator[Path]:
    """A new folder whose files join those of `folder` when the block ends well, all at once.

    Files of the same names are replaced, others stay what they are. `owner` is the result that
    the folder is a part of: it is prepared beside that.

    Raises ProbeError for a folder that holds folders, and where it cannot be written.
    """
    check_flat(folder)
    with claimed(owner or folder) as claim, writing(folder):
        target = Path(os.path.realpath(folder))
        draft = claim.draft()
        yield draft
        with _reached(folder):
            made, known = _all_files(draft), listed(folder / FILES) | {FILES}
            kept = _flat(folder) - made if folder.exists() else set()
        for name in sorted(kept - {FILES}):
            _taken_over(target / name, draft / name)
        names = sorted(made | (kept & known) - {FILES})
        text = json.dumps({"files": names}, indent=2, ensure_ascii=False) + "\n"
        (draft / FILES).write_text(text, encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        exchange(draft, target, claim.holder)


def _flat(folder: Path) -> set[str]:
    """The files of a folder without folders in it."""
    for entry in folder.iterdir():
        if entry.is_dir():
            raise ProbeError(
                f"{folder} holds a folder ({entry.name}); name one for the figures alone"
            )
    return _all_files(folder)


def _taken_over(old: Path, new: Path) -> None:
    """The same file in another folder too; a copy where the system has no hard links."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)
