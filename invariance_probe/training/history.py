"""The history of a run: its rows, how far it is, and its curves for TensorBoard (optional)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row:
    """A row of the history: means over the batches since the row before, as they were trained on.

    `step` and `epoch` count from 1; `learning_rate` is that of the last step; `test_error` (of one
    pass over the test set) is None where nobody looked; `seconds` are those of training alone.
    """

    step: int
    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    test_error: float | None
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a run is: `step` of `steps`, means since the last row, speed, and the time left."""

    step: int
    steps: int
    epoch: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float


def check_history(table: pd.DataFrame) -> None:
    """Raise ValueError unless a table has the columns of `Row`, all of numbers."""
    for name in (field.name for field in fields(Row)):
        if name not in table:
            raise ValueError(f"it lacks the column {name}")
        if table[name].dtype.kind not in "if":
            raise ValueError(f"not all of {name} are numbers")


def check_installed() -> None:
    """Refuse to write for TensorBoard where that is not installed, before any work is done."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise ProbeError(
            "TensorBoard is not installed; pip install 'invariance-probe[tensorboard]', or "
            "train without it: history.csv holds the same numbers"
        ) from None


class Board:
    """Writes rows of the history to a folder; does nothing without one.

    Raises ProbeError when TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        check_installed()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, row: Row) -> None:
        """Write one row."""
        if self._writer is None:
            return
        for name in ("loss", "accuracy", "learning_rate", "test_error"):
            value = getattr(row, name)
            if value is not None:
                self._writer.add_scalar(name, value, row.step)
