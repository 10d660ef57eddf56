"""Results on disk: a folder of CSV, NPZ and JSON that appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ProbeError

_ARRAYS, _PROVENANCE = "per_image.npz", "provenance.json"


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse an output folder that already holds something, before any work is done."""
    if folder.is_file():
        raise ProbeError(f"{folder} is a file; name a folder for the result")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise ProbeError(f"{folder} already holds files; name another folder or --overwrite")
        if not (folder / _PROVENANCE).exists():
            raise ProbeError(f"{folder} holds files that are no result; it is not overwritten")


def write_folder(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    arrays: Mapping[str, NDArray[Any]],
    provenance: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Path:
    """Write everything to a temporary sibling, then rename it to `folder`."""
    check_free(folder, overwrite=overwrite)
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=parent))
    except OSError as error:
        raise ProbeError(f"cannot write to {parent}: {error.strerror}") from None
    try:
        for name, table in tables.items():
            table.to_csv(partial / f"{name}.csv", index=False, lineterminator="\n")
        np.savez_compressed(partial / _ARRAYS, **dict(arrays))  # type: ignore[arg-type]
        text = json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False)
        (partial / _PROVENANCE).write_text(text + "\n", encoding="utf-8")
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise ProbeError(
            f"cannot write the result to {folder}: {error.strerror or error}; "
            "free some space or name another folder"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def read_folder(
    folder: Path, names: Iterable[str], required: Iterable[str]
) -> tuple[dict[str, pd.DataFrame], dict[str, NDArray[Any]], dict[str, Any]]:
    """Tables, arrays and provenance of a result folder."""
    if not (folder / _PROVENANCE).is_file():
        raise ProbeError(f"{folder} holds no result (no {_PROVENANCE}); run a probe with --out first")
    try:
        provenance = json.loads((folder / _PROVENANCE).read_text(encoding="utf-8"))
        tables = {
            name: pd.read_csv(
                folder / f"{name}.csv",
                float_precision="round_trip",
                keep_default_na=False,
                na_values={column: [""] for column in _columns(folder / f"{name}.csv")},
            )
            for name in names
        }
        with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ProbeError(f"the result in {folder} is damaged ({error}); run it again") from None
    if missing := [name for name in required if name not in arrays]:
        raise ProbeError(f"{folder / _ARRAYS} lacks {', '.join(missing)}; run the probe again")
    return tables, arrays, provenance


def _columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().split(",")
