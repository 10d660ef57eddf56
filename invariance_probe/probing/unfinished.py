"""The state of a run that is not finished: saved beside its result, and gone on with later."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ProbeError
from .distributed import Group
from .files import differences, write_atomically
from .frozen import freeze, thaw

_KIND, _ABOUT = "invariance_probe unfinished probe", "state.json"
_SHARE = 20  # work is at least so many times as long as the saving of it


class Unfinished:
    """A folder with the latest state of every process of a run, all taken at the same step.

    state.json names the run and the number of the saving; N-RANK.pt holds the sums of a process.
    A saving counts once all its files are there and state.json, written last, names it. `every`
    are the seconds between savings; 0 saves at every step.
    """

    def __init__(self, folder: Path, group: Group, every: float = 60.0) -> None:
        self.folder, self.group, self.every = folder, group, every
        self.identity: dict[str, Any] = {}
        self.number = 0
        self._last, self._cost = time.monotonic(), 0.0

    def stored(self) -> dict[str, Any] | None:
        """What state.json says, the same in all processes; None where there is none."""
        return self.group.from_main(lambda: read_about(self.folder))

    def begin(self, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Any:
        """Return the state to go on from, None to begin afresh.

        Raises ProbeError for a state that is there unasked, and for one of another run.
        """
        self.identity = dict(identity)
        about = self.stored()
        if about is None:
            return None
        if not resume:
            check_none(self.folder, about, overwrite)
            self.group.from_main(lambda: shutil.rmtree(self.folder, ignore_errors=True))
            return None
        changed = differences(about["identity"], self.identity)
        if changed:
            raise ProbeError(
                f"the unfinished probe in {self.folder} is another one ({changed}); go on as it "
                "began, or replace it with --overwrite"
            )
        self.number = int(about["number"])
        with self.group.together():
            return thaw(self._read())

    def due(self) -> bool:
        """Whether it is time to save: not so often that it costs a twentieth of the work."""
        if not self.group.main:
            return False
        pause = max(self.every, _SHARE * self._cost) if self.every > 0 else 0.0
        return time.monotonic() - self._last >= pause

    def save(self, state: Any) -> None:
        """Write the state of this process; called by all of them at the same step."""
        start = time.monotonic()
        before, number = self.number, self.number + 1
        with self.group.together():
            plain = freeze(state)
            write_atomically(self._file(number), lambda stream: torch.save(plain, stream))
        about = {"kind": _KIND, "number": number, "identity": self.identity}
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        self.group.from_main(lambda: write_atomically(self.folder / _ABOUT, text.encode()))
        self._file(before).unlink(missing_ok=True)
        self.number = number
        self._last = time.monotonic()
        self._cost = self._last - start

    def remove(self) -> None:
        """Remove the folder: the result is whole."""
        self._file(self.number).unlink(missing_ok=True)
        self.group.from_main(lambda: shutil.rmtree(self.folder, ignore_errors=True))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}-{self.group.rank}.pt"

    def _read(self) -> Any:
        path = self._file(self.number)
        try:
            return torch.load(path, weights_only=True)
        except FileNotFoundError:
            raise ProbeError(
                f"{path} is missing, the state of process {self.group.rank}; begin again with "
                "--overwrite"
            ) from None
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ProbeError(
                f"{path} is damaged ({reason[:80]}); begin again with --overwrite"
            ) from error


def unfinished_folder(out: Path) -> Path:
    """Where the state of a run lies whose result goes to `out`.

    >>> unfinished_folder(Path("results/a")).name
    'a.unfinished'
    """
    return out.with_name(f"{out.name}.unfinished")


def read_about(folder: Path) -> dict[str, Any] | None:
    """What is known of the unfinished run in a folder; None where there is none.

    Raises ProbeError for a folder that holds something else.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if about["kind"] != _KIND:
            raise ValueError("another kind of file")
        return {name: about[name] for name in ("number", "identity")}
    except FileNotFoundError:
        if folder.exists() and (not folder.is_dir() or _foreign(folder)):
            raise ProbeError(
                f"{folder} is in the way of an unfinished probe's state; move it, or name another "
                "--out"
            ) from None
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProbeError(
            f"{folder / _ABOUT} describes no unfinished probe ({error}); remove it"
        ) from None


def check_none(folder: Path, about: Mapping[str, Any] | None, overwrite: bool) -> None:
    """Refuse to begin afresh where a state waits, unless it is to be replaced."""
    if about is not None and not overwrite:
        raise ProbeError(
            f"{folder} holds a probe that was not finished; go on with it (--resume), or begin "
            "again (--overwrite)"
        )


def _foreign(folder: Path) -> bool:
    """Whether a folder holds more than states whose saving was cut off."""
    return any(not entry.name.endswith((".pt", ".part")) for entry in folder.iterdir())
