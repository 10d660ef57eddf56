"""Weights from files that cannot run code: safetensors, or PyTorch files of plain tensors."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import ProbeError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
_PREFIXES = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put in front
_SHOWN = 3


@dataclass(frozen=True)
class Fit:
    """How a checkpoint's keys meet a network's: `loaded` counts keys, the others name them."""

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors {key: value} of a checkpoint, on the CPU; no code in the file is ever run.

    Reads safetensors and what `torch.save` wrote as long as it holds plain tensors; takes the
    state dict out of {"state_dict": ...}, {"model": ...} and the like, and removes a "module."
    that all keys share. The file's content decides its kind, not its name.

    Raises ProbeError for a file that is missing, empty, cut off or no checkpoint, that holds
    pickled objects (naming them and the safe way), or that holds no state dict.
    """
    path = Path(path)
    head = _head(path)
    if _is_safetensors(head):
        return _plain(_read_safetensors(path), path)
    zipped, pickled = head.startswith(b"PK"), head.startswith(b"\x80")
    if not zipped and not pickled and not _is_tar(path):
        raise ProbeError(
            f"{path} is no checkpoint: it is neither safetensors nor a file of torch.save"
        )
    return _plain(_read_torch(path), path)


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file; empty for other checkpoints."""
    path = Path(path)
    if not _is_safetensors(_head(path)):
        return {}
    try:
        with safe_open(path, framework="pt") as stream:
            return dict(stream.metadata() or {})
    except SafetensorError as error:
        raise ProbeError(f"{path} is damaged or cut off: {_line(error)}") from error


def load_checkpoint(network: nn.Module, path: str | Path, allow_partial: bool = False) -> Fit:
    """Load a checkpoint's weights into the network, all of them or nothing.

    With `allow_partial` the keys that fit are loaded and the others reported in the result.
    Raises ProbeError as load_state does, and when keys are missing or unexpected or shapes
    differ: their numbers, the first of each and a likely reason. The network is then unchanged.
    """
    state = load_state(path)
    own = network.state_dict()
    # Older files lack this counter, which only matters to further training.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    misshaped = [k for k in state if k in own and state[k].shape != own[k].shape]
    good = {k: v for k, v in state.items() if k in own and k not in misshaped}
    found = Fit(len(good), tuple(missing), tuple(unexpected), tuple(misshaped))
    if not good or (not allow_partial and (missing or unexpected or misshaped)):
        raise ProbeError(_mismatch(Path(path), found, state, own))
    network.load_state_dict(good, strict=False)
    return found


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise ProbeError(f"checkpoint {path} is a folder; give the file inside it")
    try:
        with path.open("rb") as stream:
            head = stream.read(9)
    except FileNotFoundError:
        raise ProbeError(f"checkpoint {path} does not exist") from None
    except OSError as error:
        raise ProbeError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if not head:
        raise ProbeError(f"checkpoint {path} is empty")
    return head


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of header length, then the header's JSON."""
    return len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 32


def _is_tar(path: Path) -> bool:
    """The format of torch.save before 0.1.10, still to be found."""
    with path.open("rb") as stream:
        stream.seek(257)
        return stream.read(5) == b"ustar"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ProbeError(f"{path} is damaged or cut off: {_line(error)}") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        if "TorchScript" in str(error):
            raise ProbeError(
                f"{path} is a TorchScript archive, which holds code; save its weights with "
                "safetensors.torch.save_file(network.state_dict(), 'model.safetensors')"
            ) from error
        raise ProbeError(f"{path} is no checkpoint, damaged or cut off: {_line(error)}") from error


def _refused(path: Path, message: str) -> ProbeError:
    """The error for a pickle that wants more than tensors, naming what it wants."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (AttributeError, RuntimeError, ValueError, pickle.UnpicklingError):
        names = re.findall(r"GLOBAL ([\w.]+)", message)
    if not names:
        if "persistent" in message or "global" in message.lower() or "opcode" in message.lower():
            names = ["Python objects"]
        else:
            return ProbeError(f"{path} is no checkpoint, damaged or cut off: {_line(message)}")
    return ProbeError(
        f"{path} holds pickled {_few(names)}, which could run code when loaded, and is refused; "
        "where you trust it, load it once, save its weights with safetensors.torch.save_file("
        "network.state_dict(), 'model.safetensors') and give that file"
    )


def _plain(state: Any, path: Path) -> dict[str, Tensor]:
    """The state dict inside what a file holds, with common prefixes removed."""
    for _ in range(2):
        if isinstance(state, Mapping):
            inner = [state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping)]
            state = inner[0] if inner else state
    if not isinstance(state, Mapping):
        raise ProbeError(f"{path} holds a {type(state).__name__}, not a state dict {{key: tensor}}")
    others = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        holds = f"{_few(others)} beside or instead of tensors" if others else "nothing"
        raise ProbeError(f"{path} holds no state dict {{key: tensor}}: it has {holds}")
    state = {str(key): value for key, value in state.items()}
    for prefix in _PREFIXES * 2:
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _mismatch(
    path: Path, found: Fit, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    parts = []
    if found.missing:
        parts.append(f"{len(found.missing)} missing ({_few(found.missing)})")
    if found.unexpected:
        parts.append(f"{len(found.unexpected)} unexpected ({_few(found.unexpected)})")
    if found.misshaped:
        shapes = [
            f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
            for key in found.misshaped
        ]
        parts.append(f"{len(found.misshaped)} of another shape ({_few(shapes, '; ')})")
    reason = "; ".join(parts) or "the network has no weights"
    return f"checkpoint {path} does not fit the network: {reason}; {_hint(found, state)}"


def _hint(found: Fit, state: Mapping[str, Tensor]) -> str:
    """The likely reason of a mismatch and what to do."""
    missing, unexpected = set(found.missing), set(found.unexpected)
    if missing and unexpected:
        first = found.missing[0]
        for key in found.unexpected:
            prefix = key[: -len(first)]
            if key.endswith("." + first) and all(prefix + k in unexpected for k in missing):
                return f"its keys start with {prefix!r}: build the network that holds it, or rename"
    if found.misshaped and not missing and not unexpected:
        last = found.misshaped[-1]
        layers = {key.rpartition(".")[0] for key in found.misshaped}
        if len(layers) == 1:
            return (
                f"only {last.rpartition('.')[0]!r} differs: build the network with "
                f"{state[last].shape[0]} outputs there"
            )
    return "build the architecture that the checkpoint was saved from"


def _few(items: Iterable[str], mark: str = ", ") -> str:
    items = list(items)
    return mark.join(items[:_SHOWN]) + (f"{mark}..." if len(items) > _SHOWN else "")


def _line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
