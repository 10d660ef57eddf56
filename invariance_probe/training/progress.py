"""Files of a training run: written whole or not at all, safetensors only."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import ProbeError

_NETWORK = "network."
_OPTIMIZER = "optimizer."
_KIND = "invariance_probe training progress"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that nobody sees half of it.

    Raises ProbeError when the place cannot be written (full disk, missing rights).
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        raise ProbeError(
            f"cannot write '{path}' ({error.strerror or error}); give a place with room and rights"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and text metadata as one safetensors file, whole or not at all."""
    held = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_atomically(path, save(held, metadata=dict(metadata)))


def save_progress(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Write the state after an epoch: weights, optimizer moments, and what run they belong to."""
    tensors = {_NETWORK + name: value for name, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{number}.{name}"] = torch.as_tensor(value)
    metadata = {
        "kind": _KIND,
        "identity": json.dumps(identity, sort_keys=True),
        "history": json.dumps(list(history)),
    }
    save_tensors(path, tensors, metadata)


def load_progress(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Restore network and optimizer in place and return the history; [] where no file is.

    Raises ProbeError for another kind of file and for the progress of another run.
    """
    if not path.exists():
        return []
    again = "; remove it to start afresh, or give another file"
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ProbeError(f"'{path}' is no progress of a training run ({error}){again}") from error
    if metadata.get("kind") != _KIND:
        raise ProbeError(f"'{path}' is no progress of a training run{again}")
    then, now = json.loads(metadata["identity"]), json.loads(json.dumps(identity))
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if changed:
        raise ProbeError(f"'{path}' belongs to another run (different {', '.join(changed)}){again}")
    weights = {k.removeprefix(_NETWORK): v for k, v in tensors.items() if k.startswith(_NETWORK)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ProbeError(f"'{path}' belongs to another network{again}") from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(_OPTIMIZER):
            number, name = key.removeprefix(_OPTIMIZER).split(".", 1)
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    history: list[dict[str, Any]] = json.loads(metadata["history"])
    return history
