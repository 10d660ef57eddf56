"""Files of a training run: written whole or not at all, safetensors only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .._foreign import check_regular
from ..errors import ProbeError
from .files import differences as differences
from .files import write_atomically as write_atomically

_NETWORK = "network."
_OPTIMIZER = "optimizer."
_KIND = "invariance_probe training progress"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and text metadata as one safetensors file, whole or not at all.

    The tensors are written in the usual order of memory, whatever it is while training. The same
    content gives the same bytes.
    """
    held = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    write_atomically(path, _in_order(save(held, metadata=dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with its metadata in order of name, which it leaves to chance."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@dataclass(frozen=True)
class Snapshot:
    """What a progress file holds: tensors by name, and the plain values saved with them."""

    path: str
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save_progress(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
    state: Mapping[str, Any],
) -> None:
    """Write where a run is: weights, optimizer moments, counters, and what run they belong to."""
    tensors = {_NETWORK + name: value for name, value in network.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{number}.{name}"] = torch.as_tensor(value)
    metadata = {
        "kind": _KIND,
        "identity": json.dumps(identity, sort_keys=True),
        "state": json.dumps(state),
        "sha256": _sha256(tensors),
    }
    save_tensors(path, tensors, metadata)


def read_progress(path: Path, identity: Mapping[str, Any]) -> Snapshot | None:
    """Return what a progress file holds; None where no file is.

    Raises ProbeError for another kind of file and for the progress of another run, with what
    differs.
    """
    if not path.exists():
        return None
    again = "; remove it to start afresh, or give another file"
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ProbeError(f"'{path}' is no progress of a training run ({error}){again}") from error
    if metadata.get("kind") != _KIND:
        raise ProbeError(f"'{path}' is no progress of a training run{again}")
    if metadata.get("sha256", "") not in ("", _sha256(tensors)):
        raise ProbeError(f"'{path}' is damaged: its numbers are not those that were saved{again}")
    changed = differences(json.loads(metadata["identity"]), identity)
    if changed:
        raise ProbeError(f"'{path}' belongs to another run ({changed}){again}")
    return Snapshot(str(path), tensors, json.loads(metadata["state"]))


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Over names and values: the format has no checksum, and training would go on from any."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def restore(snapshot: Snapshot, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the tensors of a snapshot into a network and its optimizer, in place.

    Raises ProbeError for the snapshot of another network.
    """
    tensors = snapshot.tensors
    weights = {k.removeprefix(_NETWORK): v for k, v in tensors.items() if k.startswith(_NETWORK)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ProbeError(
            f"'{snapshot.path}' belongs to another network; remove it to start afresh, or give "
            "another file"
        ) from error
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(_OPTIMIZER):
            number, name = key.removeprefix(_OPTIMIZER).split(".", 1)
            like = parameters[int(number)]
            if value.shape == like.shape:
                # In the order of memory of its parameter: another one may round differently.
                value = torch.empty_like(like, dtype=value.dtype).copy_(value)
            moments.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(
        {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
    )
