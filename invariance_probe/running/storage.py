"""Results on disk: tables as CSV, arrays as NPZ and provenance as JSON in one folder."""

from __future__ import annotations

import json
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ProbeError, one_line
from .files import read_bytes
from .folders import FIGURES as FIGURES
from .folders import PROVENANCE as _PROVENANCE
from .folders import check_free as check_free
from .folders import whole_folder as whole_folder
from .hashes import HASH_FILE, content_hash, hash_record, same_content, table_bytes
from .schema import check_provenance, check_table, remarks, text_columns

TABLES = (
    "residuals", "summary", "alignments", "landscape", "layers",
    "channels", "tuning", "composition", "bounds", "ledger",
)  # fmt: skip
OPTIONAL = ("ledger",)  # where it was not asked for, or not known yet
ORACLE_TABLES = ("accuracy", "inadmissible")
COMPARISON_TABLES = ("comparison", "pairs")
CLASSIFIER_TABLES = ("errors", "poses")  # of the analyses of trained classifiers
_ARRAYS = "per_image.npz"
_DAMAGE = (
    # LookupError: also a codec that Python cannot load, which names in a zip file need.
    OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
_LARGE, _RATIO = 1 << 28, 100  # bytes that arrays may declare, whatever the size of their file
_TRIES, _PAUSE = 10, 0.02  # of reading beside a run that replaces the folder, in seconds
_FILES = "files"  # how such warnings begin
_ROWS = "rows_"  # arrays that hold how long a table is: a CSV file cut short must be noticed
# Numbers must come back as they were; pandas 3.1 does so by itself and deprecates the option.
_NEW = tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
_EXACT: dict[str, Any] = {} if _NEW else {"float_precision": "round_trip"}


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
    folder: Path, names: Iterable[str], required: Iterable[str], optional: Sequence[str] = ()
) -> tuple[dict[str, pd.DataFrame], dict[str, NDArray[Any]], dict[str, Any]]:
    """Tables, arrays and provenance of a result folder, all of one and the same result.

    Where files are not those whose hashes lie beside them, a warning of the provenance says so.
    `optional` tables may be missing: results of before they were measured have none.

    Raises ProbeError when there is no result, or when a part is missing, damaged, cut short or
    not of the kind it must be.
    """
    if not (folder / _PROVENANCE).is_file():
        raise ProbeError(
            f"{folder} holds no result (no {_PROVENANCE}); run a probe with --out first"
        )
    with damage_named(folder):
        lacking = [name for name in optional if not (folder / f"{name}.csv").is_file()]
        tables_wanted = {name: f"{name}.csv" for name in names if name not in lacking}
        contents, altered = _contents(folder, [_PROVENANCE, _ARRAYS, *tables_wanted.values()])
        provenance = json.loads(contents[_PROVENANCE].decode())
        check_provenance(provenance)
        arrays = _arrays(contents[_ARRAYS])
        tables = {
            name: _table(name, _text(contents[file]), arrays.get(f"{_ROWS}{name}"))
            for name, file in tables_wanted.items()
        }
        for name in lacking:
            if f"{_ROWS}{name}" in arrays:
                raise FileNotFoundError(2, "missing", f"{name}.csv")
        arrays = {name: a for name, a in arrays.items() if not name.startswith(_ROWS)}
        if missing := [name for name in required if name not in arrays]:
            raise ValueError(f"{_ARRAYS} lacks {', '.join(missing)}")
    if altered:
        provenance["warnings"] = [*provenance.get("warnings", ()), altered]
    return tables, arrays, provenance


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """What is wrong with the files of a result, in one line that names its folder."""
    try:
        yield
    except FileNotFoundError as error:
        name = Path(error.filename or "").name
        raise ProbeError(f"the result in {folder} lacks {name}; run the probe again") from None
    except _DAMAGE as error:
        if isinstance(error, ProbeError):
            raise
        reason = one_line(error)
        if reason.startswith("unknown encoding"):  # no fault of the files
            raise ProbeError(
                f"the result in {folder} cannot be read ({reason}); use a whole Python"
            ) from None
        raise ProbeError(
            f"the result in {folder} is damaged ({reason}); run the probe again"
        ) from None


def _contents(folder: Path, files: Sequence[str]) -> tuple[dict[str, bytes], str]:
    """The bytes of files, and "" or a warning that they are not as they were saved.

    Beside a run that replaces the folder they are read again, until all are of the same result.
    """
    for attempt in range(_TRIES):
        before = _record(folder)
        try:
            contents = {name: read_bytes(folder / name) for name in files}
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
        else:
            altered = _altered(contents, before)
            if not altered or (attempt and before == _record(folder)):
                return contents, altered
        time.sleep(_PAUSE)
    raise ValueError("it is being replaced all the time")


def _record(folder: Path) -> bytes:
    """The stored hashes; nothing where there are none."""
    try:
        return read_bytes(folder / HASH_FILE)
    except FileNotFoundError:
        return b""


def altered(provenance: Mapping[str, Any]) -> list[str]:
    """What the warnings of a result say of its files; nothing where they are as they were saved."""
    return [one.said for one in remarks(provenance, _FILES)]


def _altered(contents: Mapping[str, bytes], record: bytes) -> str:
    try:
        stated = json.loads(record)["files"] if record else {}
        wrong = sorted(name for name, content in contents.items()
                       if not same_content(content, stated.get(name)))  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        stated, wrong = {}, []
    if not stated:
        lack = f"{HASH_FILE} is {'damaged' if record else 'missing'}"
        return f"{_FILES}: {lack}, so nothing shows whether they were altered since it was measured"
    if not wrong:
        return ""
    return f"{_FILES}: altered since it was measured ({', '.join(wrong)})"


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an NPZ file; ValueError, before memory is taken, for too large ones."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        declared = sum(entry.file_size for entry in archive.infolist())
    if declared > max(_LARGE, _RATIO * len(content)):
        raise ValueError(
            f"{_ARRAYS} declares {declared / 2**20:,.0f} MB in {len(content) / 2**20:,.1f} MB"
        )
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _text(content: bytes) -> str:
    """The text of a table, whatever system's line ends it has been given."""
    return content.decode().replace("\r\n", "\n")


def _table(name: str, content: str, rows: NDArray[Any] | None) -> pd.DataFrame:
    """A table as it was written; ValueError unless it is whole."""
    text = text_columns(name)
    columns = content.partition("\n")[0].split(",")
    table: pd.DataFrame = pd.read_csv(
        StringIO(content),
        **_EXACT,
        keep_default_na=False,
        dtype=dict.fromkeys(text, str),
        na_values={column: [""] for column in columns if column not in text},
    )
    if not content.endswith("\n") or (rows is not None and len(table) != int(rows)):
        raise ValueError(f"{name}.csv is cut short")
    check_table(name, table)
    return table if len(table) else table.astype(object)  # as DataFrame(columns=...) makes it
