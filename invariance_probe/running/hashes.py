"""Content hashes: what a result says, whatever the file, the folder and the hour it was made in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HASH_FILE = "hash.json"

# What of the provenance shapes the numbers. Left out is what names places (paths in `config` and
# descriptions), what is said about the machine, and whatever measures time.
_SETTINGS: dict[str, tuple[str, ...]] = {
    "software": ("name", "version"),
    "network": ("name", "parameters", "state_sha256"),
    "images": (
        "number", "fit", "evaluation", "canvas", "source", "beyond_source", "fill", "mean", "std",
        "sha256",
    ),
    "numerics": ("dtype", "sums", "tf32"),
}  # fmt: skip
_WHOLE = ("transforms", "options", "conventions")


def content_hash(
    tables: Mapping[str, pd.DataFrame],
    arrays: Mapping[str, NDArray[Any]],
    provenance: Mapping[str, Any],
) -> str:
    """SHA-256 over tables, arrays and the settings that shaped them.

    The same run with the same seed on the same machine has the same hash, wherever its files lie.
    """
    return _joined(part_hashes(tables, arrays, provenance))


def part_hashes(
    tables: Mapping[str, pd.DataFrame],
    arrays: Mapping[str, NDArray[Any]],
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    """SHA-256 of every part that goes into the content hash, by name."""
    parts = {f"table {name}": _sha(table_bytes(table)) for name, table in tables.items()}
    parts |= {f"array {name}": _array(values) for name, values in arrays.items()}
    parts["settings"] = _sha(_json(_settings(provenance)))
    return dict(sorted(parts.items()))


def table_bytes(table: pd.DataFrame) -> bytes:
    """A table as it is stored: CSV with numbers that read back exactly."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def combined(hashes: Mapping[str, str]) -> str:
    """One hash of several, by name: that of a report on several results."""
    return _joined(dict(sorted(hashes.items())))


def hash_record(folder: Path, content: str) -> str:
    """The text of `hash.json`: the content hash, and the hash of every file beside it."""
    files = {
        path.name: file_hash(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != HASH_FILE
    }
    record = {"algorithm": "sha256", "content_hash": content, "files": files}
    return json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def same_content(content: bytes, stated: object) -> bool:
    """Whether bytes have a stated hash, as they are or with the line ends of other systems."""
    return stated in (_sha(content), _sha(content.replace(b"\r\n", b"\n")))


def _settings(provenance: Mapping[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = {name: provenance.get(name) for name in _WHOLE}
    if isinstance(chosen["options"], Mapping):
        # Refusing to measure shapes no number; the layers' own grids need no saying.
        silent = {("impure", chosen["options"].get("impure")), ("dense", 1)}
        chosen["options"] = {k: v for k, v in chosen["options"].items() if (k, v) not in silent}
    for name, keys in _SETTINGS.items():
        held = provenance.get(name)
        chosen[name] = {key: held.get(key) for key in keys} if isinstance(held, Mapping) else None
    return chosen


def _array(values: NDArray[Any]) -> str:
    plain = np.ascontiguousarray(values)
    digest = hashlib.sha256(f"{plain.dtype.str} {plain.shape}".encode())
    digest.update(plain.tobytes())
    return digest.hexdigest()


def _joined(parts: Mapping[str, str]) -> str:
    return _sha(_json(dict(parts)))


def _json(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, ensure_ascii=False).encode()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
