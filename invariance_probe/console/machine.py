"""What `--json` prints: one JSON object on stdout in place of the tables and lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from . import talk

if TYPE_CHECKING:
    from ..probing import OracleResult, Result

JSON = typer.Option(
    "--json", callback=talk.only_json, help="Print one JSON object and no tables.",
    show_default=False,
)  # fmt: skip


def dump(values: Mapping[str, Any]) -> None:
    """Print the object where `--json` asked for it, else nothing.

    Tables are lists of rows, numbers that are missing (nan) or infinite are null.
    """
    if talk.main() and talk.machine:
        typer.echo(json.dumps(_plain(values), indent=1, ensure_ascii=True, allow_nan=False))


def result_values(result: Result) -> dict[str, Any]:
    """What a result's tables say, and its warnings."""
    return {
        "network": result.provenance.get("network", {}),
        "images": result.provenance.get("images", {}),
        "level": result.level,
        "warnings": [str(warning) for warning in result.warnings],
        "layers": result.layers,
        "summary": result.summary,
        "ledger": result.ledger,
    }


def oracle_values(result: OracleResult) -> dict[str, Any]:
    """What an oracle's table says."""
    return {
        "untransformed_accuracy": result.untransformed_accuracy,
        "accuracy": result.accuracy,
    }


def _plain(value: Any) -> Any:
    """A value as JSON has them."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a table
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, Mapping):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(held) for held in value]
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
