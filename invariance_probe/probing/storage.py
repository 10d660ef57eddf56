"""Results on disk: a folder of CSV, NPZ and JSON that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ProbeError
from .hashes import HASH_FILE, content_hash, hash_record, table_bytes

TABLES = (
    "residuals", "summary", "alignments", "landscape", "layers",
    "channels", "tuning", "composition", "bounds",
)  # fmt: skip
ORACLE_TABLES = ("accuracy", "inadmissible")
COMPARISON_TABLES = ("comparison", "pairs")
CLASSIFIER_TABLES = ("errors", "poses")  # of the analyses of trained classifiers
FIGURES = "figures"
_ARRAYS, _PROVENANCE = "per_image.npz", "provenance.json"
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_ROWS = "rows_"  # arrays that hold how long a table is: a CSV file cut short must be noticed
_FIGURE_FILES = (".svg", ".png", ".pdf")
# Columns of text: a layer called "0" must not come back as a number, nor "" as a missing one.
_TEXT = {
    "layer", "transform", "kind", "rung", "best", "runner_up", "status", "start", "family", "by",
    "first", "second", "product", "treatment", "reason", "network", "network_layer", "quantity",
}  # fmt: skip

# Numbers must come back as they were; pandas 3.1 does so by itself and deprecates the option.
_NEW = tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
_EXACT: dict[str, Any] = {} if _NEW else {"float_precision": "round_trip"}


def check_free(
    folder: Path,
    *,
    overwrite: bool,
    parts: tuple[str, ...] = (),
    ours: Callable[[Path], bool] | None = None,
) -> None:
    """Refuse an output folder that cannot become a result's, before any work is done.

    A folder with something in it may only be replaced if that is a result and nothing else, or
    results in the sub-folders `parts`; `ours` says whether a folder holds one, of another kind
    than a probe's or an oracle's.
    """
    known = ours or _is_result
    above = next(place for place in folder.absolute().parents if place.exists())
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"{folder} is a file; name a folder for the result")
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ProbeError(f"cannot write to {above}; name another folder for the result")
    if not folder.exists():
        return
    if folder.is_mount():
        raise ProbeError(f"{folder} is a mount point and cannot be replaced; name a folder in it")
    if held := sorted(entry.name for entry in folder.iterdir()):
        whole = set(held) <= set(parts) and all(known(folder / name) for name in held)
        if not whole and not known(folder):
            raise ProbeError(
                f"{folder} holds files that are no result ({held[0]}, ...) and is left alone; "
                "name another folder"
            )
        if not overwrite:
            raise ProbeError(
                f"{folder} already holds a result, which is kept; name another folder, or replace "
                "it with --overwrite"
            )


def _is_result(folder: Path) -> bool:
    """Whether a folder holds a result, perhaps with figures and printed tables, and no more."""
    if not (folder / _PROVENANCE).is_file():
        return False
    figures = folder / FIGURES
    tables = (*TABLES, *ORACLE_TABLES, *COMPARISON_TABLES, *CLASSIFIER_TABLES)
    known = {_PROVENANCE, _ARRAYS, HASH_FILE, FIGURES} | {f"{name}.csv" for name in tables}
    held = {entry.name for entry in folder.iterdir()}
    printed = {
        name for name in held if name.startswith("table_") and name.endswith((".md", ".tex"))
    }
    return held <= known | printed and (
        not figures.exists()
        or (figures.is_dir() and all(e.suffix in _FIGURE_FILES for e in figures.iterdir()))
    )


class _NotWritten(ProbeError):
    """A folder could not be written; errors of reading in the block stay what they are."""

    def __init__(self, message: str, cause: OSError) -> None:
        super().__init__(message)
        self.cause = cause


@contextmanager
def whole_folder(
    folder: Path,
    *,
    overwrite: bool,
    parts: tuple[str, ...] = (),
    ours: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """A new folder to fill that takes the place of `folder` when the block ends well.

    Whatever stops the block, Ctrl-C included, nothing is left behind and an older result stays;
    should even putting it back fail, the error says where it is.
    Raises ProbeError as `check_free`, and when the disk is full or may not be written.
    """
    check_free(folder, overwrite=overwrite, parts=parts, ours=ours)
    target = folder.resolve()
    above = [place for place in target.parents if not place.exists()]
    done = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            partial, replaced = holder / "new", holder / "old"
            partial.mkdir()  # unlike its holder, as open as the user's other folders
            yield partial
            try:
                if target.exists():
                    target.rename(replaced)
                partial.rename(target)
            except BaseException:
                _put_back(replaced, target)
                raise
            done = True
        finally:
            kept = replaced.exists() and not target.exists()
            shutil.rmtree(partial if kept else holder, ignore_errors=True)
    except (OSError, _NotWritten) as error:
        # What fails to be written inside is named by the folder that the user knows.
        cause = error.cause if isinstance(error, _NotWritten) else error
        raise _NotWritten(
            f"cannot write the result to {folder}: {cause.strerror or cause}; "
            "free some space or name another folder",
            cause,
        ) from cause
    finally:
        for place in () if done else above:
            with suppress(OSError):
                place.rmdir()


def _put_back(replaced: Path, target: Path) -> None:
    """Return the older result to its place after a failed exchange."""
    if replaced.exists() and not target.exists():
        try:
            replaced.rename(target)
        except OSError as error:
            raise ProbeError(
                f"cannot write the result to {target}: {error.strerror or error}; the older "
                f"result is now in {replaced}, move it back by hand"
            ) from error


def write_folder(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    arrays: Mapping[str, NDArray[Any]],
    provenance: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Path:
    """Write everything to `folder`, which appears whole or not at all."""
    with whole_folder(folder, overwrite=overwrite) as partial:
        for name, table in tables.items():
            (partial / f"{name}.csv").write_bytes(table_bytes(table))
        rows = {f"{_ROWS}{name}": np.array(len(table)) for name, table in tables.items()}
        np.savez_compressed(partial / _ARRAYS, **arrays, **rows)  # type: ignore[arg-type]
        text = json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False)
        (partial / _PROVENANCE).write_text(text + "\n", encoding="utf-8")
        record = hash_record(partial, content_hash(tables, arrays, provenance))
        (partial / HASH_FILE).write_text(record, encoding="utf-8")
    return folder


def read_folder(
    folder: Path, names: Iterable[str], required: Iterable[str]
) -> tuple[dict[str, pd.DataFrame], dict[str, NDArray[Any]], dict[str, Any]]:
    """Tables, arrays and provenance of a result folder.

    Raises ProbeError when there is no result, or when a part is missing, damaged or cut short.
    """
    if not (folder / _PROVENANCE).is_file():
        raise ProbeError(
            f"{folder} holds no result (no {_PROVENANCE}); run a probe with --out first"
        )
    try:
        provenance = json.loads((folder / _PROVENANCE).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        tables = {name: _table(folder, name, arrays.get(f"{_ROWS}{name}")) for name in names}
        arrays = {name: a for name, a in arrays.items() if not name.startswith(_ROWS)}
        if not isinstance(provenance, dict):
            raise ValueError(f"{_PROVENANCE} holds no object")
    except FileNotFoundError as error:
        name = Path(error.filename or "").name
        raise ProbeError(f"the result in {folder} lacks {name}; run the probe again") from None
    except _DAMAGE as error:
        reason = str(error).strip().partition("\n")[0]
        raise ProbeError(
            f"the result in {folder} is damaged ({reason}); run the probe again"
        ) from None
    if missing := [name for name in required if name not in arrays]:
        raise ProbeError(f"{folder / _ARRAYS} lacks {', '.join(missing)}; run the probe again")
    return tables, arrays, provenance


def _table(folder: Path, name: str, rows: NDArray[Any] | None) -> pd.DataFrame:
    """A table as it was written; ValueError unless it is whole."""
    path, text = folder / f"{name}.csv", _text(name)
    content = path.read_text(encoding="utf-8")
    columns = content.partition("\n")[0].split(",")
    table: pd.DataFrame = pd.read_csv(
        StringIO(content),
        **_EXACT,
        keep_default_na=False,
        dtype=dict.fromkeys(text, str),
        na_values={column: [""] for column in columns if column not in text},
    )
    if not content.endswith("\n") or (rows is not None and len(table) != int(rows)):
        raise ValueError(f"{path.name} is cut short")
    return table if len(table) else table.astype(object)  # as DataFrame(columns=...) makes it


def _text(table: str) -> set[str]:
    """The columns of text of a table; `best` names a transform but in the summary, a rung."""
    return _TEXT - {"best"} if table == "summary" else _TEXT
