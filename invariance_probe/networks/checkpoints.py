"""Checkpoints read without running their code, and loaded whole or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ProbeError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.")
_SAFE = (
    "resave the weights in the program that made them: "
    "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')"
)


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; nothing in the file is executed.

    Reads .safetensors, and other files with `torch.load(weights_only=True)`. Takes the inner
    dictionary of {"state_dict": …} and the like, and drops a prefix ("module.") common to all.

    Raises ProbeError for a missing file, one that is no checkpoint, and a pickled one whose
    objects would have to be executed.
    """
    file = Path(path)
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "not there"
        raise ProbeError(f"checkpoint {file} is {kind}; give a .safetensors or .pt file")
    if file.suffix == ".safetensors":
        return _strip(_read_safetensors(file))
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickler, zip reader and storage reader each raise their own
        raise _unreadable(file, error) from None
    return _strip(_tensors(content, file))


def load_checkpoint(network: nn.Module, path: str | Path, *, allow_partial: bool = False) -> None:
    """Load a checkpoint into a network; every tensor must find its place, unless partly allowed.

    Raises ProbeError naming missing, unexpected and misshapen tensors.
    """
    state = load_state(path)
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [("misshapen", misshapen)]
    if not allow_partial:
        problems += [("missing", missing), ("unexpected", unexpected)]
    parts = [f"{len(names)} {what} ({_few(names)})" for what, names in problems if names]
    matched = len(own) - len(missing)
    if parts or not matched:
        raise ProbeError(
            f"checkpoint {path} does not fit {type(network).__name__}: "
            f"{'; '.join(parts) or 'no tensor matches'}; give the network it was trained with"
        )
    network.load_state_dict(state, strict=not allow_partial)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text entries in the header of a safetensors file."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata() or {})


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ProbeError(f"{file} is no safetensors file ({error}); save it again") from None


def _unreadable(file: Path, error: Exception) -> ProbeError:
    text = str(error)
    refused = re.search(r"GLOBAL\s+([\w.]+)", text)
    if refused or "weights_only" in text.lower() or "Unsupported operand" in text:
        named = f" (it asks for {refused[1]})" if refused else ""
        if _is_pickle(file):
            return ProbeError(
                f"checkpoint {file} holds pickled objects{named}, which could run any code and are "
                f"never unpickled; {_SAFE}"
            )
    return ProbeError(f"{file} is no checkpoint; give a .safetensors file or saved state_dict")


def _is_pickle(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(4)
    return head[:2] == b"PK" or head[:1] == b"\x80"


def _tensors(content: Any, file: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if isinstance(content, Mapping):
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if tensors and len(tensors) == len(content):
            return tensors
    raise ProbeError(
        f"{file} holds {type(content).__name__}, not a state_dict (names with tensors); {_SAFE}"
    )


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
