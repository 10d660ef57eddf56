"""Where a run is written: its folder, or beside an older run until a state of it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...running.claims import Claim, claimed, writing
from ...running.exchange import exchange


class Place:
    """The folder of a run that is being trained; held against other runs while the block runs.

    `now` is where its files are. A run that replaces an older one begins in a hidden folder
    beside it, and takes its place with the first state (`saved`).
    """

    def __init__(self, folder: Path, claim: Claim | None = None) -> None:
        self.folder, self._claim = folder, claim
        self._draft: Path | None = None
        self._check: Callable[[], object] = lambda: None

    @classmethod
    @contextmanager
    def held(cls, folder: Path) -> Iterator[Place]:
        """The place, held by this process alone."""
        with claimed(folder) as claim:
            yield cls(folder, claim)

    @property
    def now(self) -> Path:
        return self._draft or self.folder

    def begin_beside(self, check: Callable[[], object]) -> None:
        """Leave what is there until a state is whole; `check` refuses what must not go then."""
        if self._claim is not None:
            self._draft, self._check = self._claim.draft(), check

    def saved(self, file: Path) -> Path:
        """A file of the run is whole: the run takes its place; returns where the file is then."""
        if self._draft is None or self._claim is None:
            return file
        self._check()
        inside = file.relative_to(self._draft)
        with writing(self.folder):
            exchange(self._draft, self._claim.target, self._claim.holder)
        self._draft = None
        return self.folder / inside
