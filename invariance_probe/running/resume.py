"""The state of a run that is not finished: saved beside its result, and gone on with later."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import pickle
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from .._foreign import check_regular
from ..errors import ProbeError
from .claims import claimed
from .files import Unreadable, differences, read_bytes, write_atomically
from .frozen import freeze, thaw
from .processes import Group

_KIND, _ABOUT = "invariance_probe unfinished probe", "state.json"
_CLOSE = 1e-3  # relative; what the same layer gives on the same image, on any machine
_SHARE = 20  # work is at least so many times as long as the saving of it


class Unfinished:
    """A folder with the latest state of every process of a run, all taken at the same step.

    state.json names the run and the number of the saving; N-RANK.pt holds the sums of a process.
    A saving counts once all its files are there and state.json, written last, names it; every
    file says itself to which run and saving it belongs. `every` are the seconds between savings;
    0 saves at every step. With `keep` the state outlives the run, until its result is saved: the
    caller removes it then. `note` are plain values that the caller finds again (`read_about`).
    """

    def __init__(
        self,
        folder: Path,
        group: Group,
        every: float = 60.0,
        *,
        keep: bool = False,
        note: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.group, self.every = folder, group, every
        self.keep, self.note = keep, dict(note or {})
        self.identity: dict[str, Any] = {}
        self.seen: dict[str, list[float]] = {}
        self.number = 0
        self._last, self._cost = time.monotonic(), 0.0

    def stored(self) -> dict[str, Any] | None:
        """What state.json says, the same in all processes; None where there is none."""
        return self.group.from_main(lambda: read_about(self.folder))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against other runs, which are told at once."""
        with contextlib.ExitStack() as stack:
            self.group.from_main(lambda: stack.enter_context(claimed(self.folder)).target)
            yield

    def begin(
        self,
        identity: Mapping[str, Any],
        seen: Mapping[str, list[float]] | None = None,
        *,
        resume: bool,
        overwrite: bool,
    ) -> Any:
        """Return the state to go on from, None to begin afresh.

        `identity` is what two runs must share; `seen` are numbers that the layers give on the
        run's first image, which must be close: code is no part of an identity.

        Raises ProbeError for a state that is there unasked, and for one of another run.
        """
        self.identity, self.seen = dict(identity), dict(seen or {})
        about = self.stored()
        if about is None or not resume:
            check_none(self.folder, about, overwrite)
            self.group.from_main(lambda: remove(self.folder))
            return None
        changed = differences(about["identity"], self.identity)
        if not changed:
            changed = _other_layers(about["seen"], self.seen)
        if changed:
            raise ProbeError(
                f"the unfinished probe in {self.folder} is another one ({changed}); go on as it "
                "began, or replace it with --overwrite"
            )
        self.number, self.note = int(about["number"]), about["note"]
        with self.group.together():
            return self._read()

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
            plain = freeze({**self._mark(number), "state": state})
            write_atomically(self._file(number), lambda stream: torch.save(plain, stream))
        about = {
            "kind": _KIND, "number": number, "identity": self.identity, "seen": self.seen,
            "note": self.note,
        }  # fmt: skip
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        self.group.from_main(lambda: write_atomically(self.folder / _ABOUT, text.encode()))
        self._file(before).unlink(missing_ok=True)
        self.number = number
        self._last = time.monotonic()
        self._cost = self._last - start

    def remove(self) -> None:
        """Remove the folder: the result is whole."""
        self.group.from_main(lambda: remove(self.folder))
        self._file(self.number).unlink(missing_ok=True)  # where each has a disk of its own

    def _mark(self, number: int) -> dict[str, Any]:
        """What a file of a process says about itself."""
        text = json.dumps(self.identity, sort_keys=True)
        run = hashlib.sha256(text.encode()).hexdigest()
        return {"run": run, "number": number, "rank": self.group.rank}

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}-{self.group.rank}.pt"

    def _read(self) -> Any:
        path = self._file(self.number)
        try:
            check_regular(path)
            _check_intact(path)
            held = thaw(torch.load(path, weights_only=True))
            if not isinstance(held, dict) or "state" not in held:
                raise ValueError("it holds no state")
        except FileNotFoundError:
            raise ProbeError(
                f"{path} is missing, the state of process {self.group.rank}; begin again with "
                "--overwrite"
            ) from None
        except OSError as error:
            raise Unreadable(path, error) from error
        except (
            RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile,
        ) as error:  # fmt: skip
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ProbeError(
                f"{path} is damaged ({reason[:80]}); begin again with --overwrite"
            ) from error
        state = held.pop("state")
        if held != self._mark(self.number):
            raise ProbeError(f"{path} belongs to another run; begin again with --overwrite")
        return state


def _check_intact(path: Path) -> None:
    """PyTorch reads its archives without their checksums: a flipped bit would be another sum."""
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise ValueError(f"{broken} does not have the checksum it was written with")


def unfinished_folder(out: Path) -> Path:
    """Where the state of a run lies whose result goes to `out`.

    >>> unfinished_folder(Path("results/a")).name
    'a.unfinished'
    """
    return out.with_name(f"{out.name}.unfinished")


def remove(folder: Path) -> None:
    """Remove an unfinished state; cut off at any moment, what is left is none or all of it."""
    with contextlib.suppress(FileNotFoundError):
        (folder / _ABOUT).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def read_about(folder: Path) -> dict[str, Any] | None:
    """What is known of the unfinished run in a folder; None where there is none.

    Raises ProbeError for a folder that holds something else.
    """
    try:
        about = json.loads(read_bytes(folder / _ABOUT))
        if about["kind"] != _KIND:
            raise ValueError("another kind of file")
        found = {name: about[name] for name in ("number", "identity", "seen", "note")}
        plain = [found["identity"].get("options", {}), *(found[n] for n in ("seen", "note"))]
        if not isinstance(found["number"], int) or not all(isinstance(p, dict) for p in plain):
            raise ValueError("its parts are of another kind")
        return found
    except FileNotFoundError:
        if folder.exists() and (not folder.is_dir() or _foreign(folder)):
            raise ProbeError(
                f"{folder} is in the way of an unfinished probe's state; move it, or name another "
                "--out"
            ) from None
        return None
    except Unreadable:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProbeError(
            f"{folder / _ABOUT} describes no unfinished probe ({error}); remove it"
        ) from None


def check_none(
    folder: Path, about: Mapping[str, Any] | None, overwrite: bool, what: str = "a probe"
) -> None:
    """Refuse to begin afresh where a state waits, unless it is to be replaced."""
    if about is not None and not overwrite:
        raise ProbeError(
            f"{folder} holds {what} that was not finished; go on with it (--resume), or begin "
            "again (--overwrite)"
        )


def _other_layers(then: Mapping[str, Any], now: Mapping[str, list[float]]) -> str:
    """How layers differ in what they give on the same image; "" where they are close."""
    for name, values in now.items():
        try:
            before = [float(value) for value in then.get(name, ())]
        except (TypeError, ValueError):
            before = []
        size = max(map(abs, values), default=0.0)
        same = len(before) == len(values) and all(
            math.isclose(old, new, rel_tol=_CLOSE, abs_tol=_CLOSE * size)
            for old, new in zip(before, values, strict=True)
        )
        if not same:
            return f"layer {name} gave other maps of the first image"
    return ""


def _foreign(folder: Path) -> bool:
    """Whether a folder holds more than states whose saving was cut off."""
    return any(not entry.name.endswith((".pt", ".part")) for entry in folder.iterdir())
