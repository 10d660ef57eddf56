"""What a report is about: probe and oracle results, given as values or as folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import ProbeError
from ...probing import OracleResult, Result, load_oracle, load_result
from ...running.hashes import combined
from ...running.storage import altered

Results = Result | OracleResult | str | Path

_PROBE, _ORACLE, _SUMS = "residuals.csv", "accuracy.csv", "per_image.npz"


@dataclass(frozen=True)
class Run:
    """One result with the name by which the report calls it, fit for ids and file names."""

    name: str
    result: Result | OracleResult

    @cached_property  # all tables are written out for it
    def content_hash(self) -> str:
        """The hash of the result's content."""
        return self.result.content_hash


@dataclass(frozen=True)
class Runs:
    """All results of a report; probes and oracles in the order given."""

    all: tuple[Run, ...]

    @property
    def probes(self) -> tuple[tuple[str, Result], ...]:
        """(name, result) of every probe."""
        return tuple((r.name, r.result) for r in self.all if isinstance(r.result, Result))

    @property
    def oracles(self) -> tuple[tuple[str, OracleResult], ...]:
        """(name, result) of every oracle run."""
        return tuple((r.name, r.result) for r in self.all if isinstance(r.result, OracleResult))

    @property
    def content_hash(self) -> str:
        """One hash over the results' hashes, whatever their names and order; alone, its own."""
        hashes = sorted(run.content_hash for run in self.all)
        if len(hashes) == 1:
            return hashes[0]
        return combined({str(number): value for number, value in enumerate(hashes)})

    @property
    def hash_note(self) -> str:
        """What the hash is not, where files may have been altered; else ""."""
        unlike = any(altered(run.result.provenance) for run in self.all)
        return "of files that are not known to be as they were measured" if unlike else ""


def as_runs(results: Results | Iterable[Results]) -> Runs:
    """Results given as values, folders, or folders of results, loaded and named.

    Raises ProbeError for folders without results, and for the same result twice.
    """
    single = isinstance(results, (Result, OracleResult, str, Path))
    given: Sequence[Results] = [results] if single else list(results)  # type: ignore[list-item, arg-type]
    named: list[tuple[str, Result | OracleResult]] = []
    for one in given:
        if isinstance(one, Result):
            named.append(("probe", one))
        elif isinstance(one, OracleResult):
            named.append(("oracle", one))
        else:
            named += [(place.name, _load(place)) for place in result_folders(Path(one))]
    if not named:
        raise ProbeError("no result to report on; give folders that probe or demo has written")
    # Probes come first, whatever the folders are called: the oracle is read beside them.
    named.sort(key=lambda entry: isinstance(entry[1], OracleResult))
    taken: set[str] = set()
    runs = []
    for name, result in named:
        runs.append(Run(_fresh(name, taken), result))
    hashes = [run.content_hash for run in runs]
    for number, value in enumerate(hashes):
        if value in hashes[:number]:
            first = runs[hashes.index(value)].name
            raise ProbeError(
                f"{first!r} and {runs[number].name!r} are the same result; give each once"
            )
    return Runs(tuple(runs))


def result_folders(folder: Path) -> list[Path]:
    """The folder itself where it holds a result, else those of its sub-folders that do.

    Raises ProbeError where there is none.
    """
    if not folder.is_dir():
        raise ProbeError(f"{folder} is no folder; name one that probe or demo has written")
    if _kind(folder):
        return [folder]
    # Folders of tables without sums per image are overviews that analyses made.
    found = [
        place
        for place in sorted(folder.iterdir())
        if place.is_dir() and _kind(place) and (place / _SUMS).is_file()
    ]
    if not found:
        raise ProbeError(
            f"{folder} holds no result of a probe or an oracle, nor do its folders; "
            "run a probe with --out first"
        )
    return found


def _kind(folder: Path) -> str:
    if not (folder / "provenance.json").is_file():
        return ""
    if (folder / _PROBE).is_file():
        return "probe"
    return "oracle" if (folder / _ORACLE).is_file() else ""


def _load(folder: Path) -> Result | OracleResult:
    return load_result(folder) if _kind(folder) == "probe" else load_oracle(folder)


def _fresh(name: str, taken: set[str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "run"
    fresh, number = plain, 2
    while fresh in taken:
        fresh, number = f"{plain}_{number}", number + 1
    taken.add(fresh)
    return fresh
