"""Results on disk: tables as CSV, arrays as NPZ and provenance as JSON in one folder."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ProbeError
from .folders import FIGURES as FIGURES
from .folders import PROVENANCE as _PROVENANCE
from .folders import check_free as check_free
from .folders import whole_folder as whole_folder
from .hashes import HASH_FILE, content_hash, hash_record, table_bytes

TABLES = (
    "residuals", "summary", "alignments", "landscape", "layers",
    "channels", "tuning", "composition", "bounds",
)  # fmt: skip
ORACLE_TABLES = ("accuracy", "inadmissible")
COMPARISON_TABLES = ("comparison", "pairs")
CLASSIFIER_TABLES = ("errors", "poses")  # of the analyses of trained classifiers
_ARRAYS = "per_image.npz"
_DAMAGE = (
    # LookupError: also a codec that Python cannot load, which names in a zip file need.
    OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_ROWS = "rows_"  # arrays that hold how long a table is: a CSV file cut short must be noticed
# Columns of text: a layer called "0" must not come back as a number, nor "" as a missing one.
_TEXT = {
    "layer", "transform", "kind", "rung", "best", "runner_up", "status", "start", "family", "by",
    "first", "second", "product", "treatment", "reason", "network", "network_layer", "quantity",
}  # fmt: skip

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
