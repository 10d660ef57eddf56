"""State dicts out of checkpoint files of every kind that can be read without running code."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ..._foreign import HEAD, address, foreign, pictured, written
from ...errors import ProbeError
from .._words import few, shown
from ._archives import damage_named, read_pickled, read_zip
from .renaming import without_prefixes

_WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
EXTRA = "_extra_state"  # the key under which PyTorch saves what a module's get_extra_state gives
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
_LEVELS = 3
_NAME = 255  # bytes of a file's name
_INDEX = 1 << 26  # bytes of the largest table of shards that is read


@dataclass(frozen=True)
class State:
    """The tensors of a checkpoint and where in the file they were.

    `kind` is "safetensors", "torch.save", "TorchScript" or "torch.export"; `entry` names the
    entry that was taken ("state_dict", or "ema.model" for one within another; "" for all of the
    file), `others` the entries of tensors that were not. `versions` are those that its modules had
    in the file, {module: version}, by which PyTorch's layers know how they were saved; `extras` is
    what modules saved beside their tensors (`get_extra_state`), {module: plain values}.
    """

    tensors: dict[str, Tensor]
    kind: str
    entry: str = ""
    others: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


def extra_key(module: str) -> str:
    """The key of a module's extra state."""
    return f"{module}.{EXTRA}" if module else EXTRA


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def checkpoint_sha256(path: str | Path) -> str:
    """SHA-256 of a checkpoint: of its file, or of the hashes of the index and all its shards."""
    path = Path(path)
    if not _is_index(_head(path)):
        return file_sha256(path)
    files = [path, *(path.parent / name for name in sorted(set(_weight_map(path).values())))]
    _check_shards(path, files[1:])
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def load_state(path: str | Path, entry: str | None = None) -> dict[str, Tensor]:
    """The tensors {key: value} of a checkpoint, on the CPU; no code in the file is ever run.

    `read_state` says what is read. A "module." or "_orig_mod." that all keys share is removed.
    """
    return without_prefixes(read_state(path, entry).tensors)


def read_state(path: str | Path, entry: str | None = None) -> State:
    """Read the state dict of a checkpoint, on the CPU; no code in the file is ever run.

    Reads safetensors, the index of sharded ones (model.safetensors.index.json, its shards in the
    same folder), what `torch.save` wrote as long as it holds plain tensors, and the weights alone
    of TorchScript and torch.export archives. The file's content decides its kind, not its name.
    A state dict is taken out of {"state_dict": ...}, {"model": ...} and the like, never out of an
    entry of averaged weights ("model_ema") unless `entry` names it.

    Declared sizes are compared with the file before anything is allocated: reading takes at most
    three times the file's size and 1 GB, whatever the file says.

    Raises ProbeError, in one line, for a file that is missing, empty, cut off or no checkpoint,
    that holds pickled objects (naming them and the safe way), or that holds no state dict.
    """
    path = Path(path)
    head = _head(path)
    if _is_safetensors(head):
        return _chosen(_read_safetensors(path), path, "safetensors", entry)
    if _is_index(head):
        return _chosen(_read_shards(path), path, "safetensors", entry)
    if head.startswith(b"PK"):
        kind, content = read_zip(path)
        return _chosen(content, path, kind, entry)
    if head.startswith(b"\x80"):
        return _chosen(read_pickled(path), path, "torch.save", entry)
    if _is_old_tar(path):
        raise ProbeError(
            f"{shown(path)} is of torch 0.1; load it with an older PyTorch and save it again"
        )
    with path.open("rb") as stream:
        start = stream.read(HEAD)
    if what := foreign(start, path.name) or pictured(start) or written(start):
        raise ProbeError(f"{shown(path)} is no checkpoint: it is {what}")
    raise ProbeError(
        f"{shown(path)} is no checkpoint: it is neither safetensors nor a file of torch.save, "
        "TorchScript or torch.export"
    )


def metadata(path: str | Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file; empty for other checkpoints."""
    path = Path(path)
    if not _is_safetensors(_head(path)):
        return {}
    with damage_named(path), safe_open(path, framework="pt") as stream:
        return dict(stream.metadata() or {})


def _head(path: Path) -> bytes:
    if said := address(str(path)):
        raise ProbeError(f"checkpoint {said}")
    try:
        if path.is_dir():
            raise ProbeError(f"checkpoint {shown(path)} is a folder; give the file inside it")
        if path.exists() and not path.is_file():
            raise ProbeError(f"checkpoint {shown(path)} is a device or a pipe; give a file")
        with path.open("rb") as stream:
            head = stream.read(9)
    except FileNotFoundError:
        raise ProbeError(f"checkpoint {shown(path)} does not exist") from None
    except ProbeError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ProbeError(f"checkpoint {shown(path)} cannot be read: {why}") from error
    if not head:
        raise ProbeError(f"checkpoint {shown(path)} is empty")
    return head


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of header length, then the header's JSON."""
    return len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 32


def _is_index(head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and not _is_safetensors(head)


def _is_old_tar(path: Path) -> bool:
    """The format of torch.save before 0.1.10: reading it would unpack files."""
    with path.open("rb") as stream:
        head = stream.read(262)
    first = head[:100].rstrip(b"\0")
    return head[257:] == b"ustar" and first in (b"sys_info", b"pickle", b"storages", b"tensors")


def _read_safetensors(path: Path, keys: Iterable[str] | None = None) -> dict[str, Tensor]:
    with damage_named(path), safe_open(path, framework="pt") as stream:
        wanted = stream.keys() if keys is None else keys
        return {key: stream.get_tensor(key) for key in wanted}


def _weight_map(path: Path) -> dict[str, str]:
    """{key: name of its shard}, all in the folder of the index."""
    with damage_named(path):
        if path.stat().st_size > _INDEX:
            raise ValueError("a table of shards is not that long")
        content = json.loads(path.read_bytes())
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise ProbeError(
            f"{shown(path)} is no checkpoint: JSON without the 'weight_map' of sharded weights"
        )
    for name in found.values():
        if not _is_file_name(name):
            raise ProbeError(
                f"{shown(path)} names the shard {shown(name)}, which is not a file beside it; "
                "put all shards into its folder"
            )
    return found


def _is_file_name(name: object) -> bool:
    """Whether an entry can be a file in the folder of the index, on any system."""
    if not isinstance(name, str) or name != Path(name).name or set(name) & set("/\\"):
        return False
    return name.isprintable() and len(name.encode()) <= _NAME


def _check_shards(path: Path, shards: Iterable[Path]) -> None:
    absent = sorted({shard.name for shard in shards if not shard.is_file()})
    if absent:
        raise ProbeError(
            f"{len(absent)} shards of {shown(path)} are missing ({few(map(shown, absent))}); put "
            "them beside it"
        )


def _read_shards(path: Path) -> dict[str, Tensor]:
    where = _weight_map(path)
    names = sorted(set(where.values()))
    _check_shards(path, (path.parent / name for name in names))
    tensors: dict[str, Tensor] = {}
    for name in names:
        shard = path.parent / name
        head = _head(shard)
        if _is_index(head):
            raise ProbeError(f"{shown(path)} names an index as its shard: {shown(name)}")
        wanted = [key for key, place in where.items() if place == name]
        held = _read_safetensors(shard) if _is_safetensors(head) else read_state(shard).tensors
        absent = [shown(key) for key in wanted if key not in held]
        if absent:
            raise ProbeError(f"shard {shown(shard)} lacks {len(absent)} weights ({few(absent)})")
        tensors.update((key, held[key]) for key in wanted)
    return tensors


def _chosen(content: Any, path: Path, kind: str, entry: str | None) -> State:
    """The state dict inside what a file holds."""
    taken: list[str] = []
    others: list[str] = []
    inner = content
    if entry is not None:
        inner = _asked(content, path, entry)
        taken.append(entry)
    for _ in range(_LEVELS):
        if not isinstance(inner, Mapping):
            break
        held = [key for key in _WRAPPERS if isinstance(inner.get(key), Mapping)]
        if not taken:
            others += [key for key in _entries(inner) if key not in held[:1]]
        if not held:
            break
        taken.append(held[0])
        inner = inner[held[0]]
    if not isinstance(inner, Mapping):
        raise ProbeError(
            f"{shown(path)} holds a {type(inner).__name__}, not a state dict {{key: tensor}}"
        )
    tensors, extras = {}, {}
    for key, value in inner.items():
        module, _, last = str(key).rpartition(".")
        if last == EXTRA and not isinstance(value, Tensor):
            extras[module] = value
        else:
            tensors[str(key)] = value
    odd = [shown(key) for key, value in tensors.items() if not _is_dense(value)]
    if odd or not tensors:
        holds = f"{few(odd)} beside or instead of plain tensors" if odd else "nothing"
        if others and entry is None:
            holds += f"; ask for one of its entries by name ({few(map(shown, others))})"
        raise ProbeError(f"{shown(path)} holds no state dict {{key: tensor}}: it has {holds}")
    return State(tensors, kind, ".".join(taken), tuple(others), _versions(inner), extras)


def _versions(content: object) -> dict[str, int]:
    """The versions of modules beside a state dict of torch.save; nothing else that stands there."""
    beside = getattr(content, "_metadata", None)
    return {
        name: about["version"]
        for name, about in (beside.items() if isinstance(beside, Mapping) else ())
        if isinstance(name, str) and isinstance(about, Mapping)
        and type(about.get("version")) is int
    }  # fmt: skip


def _asked(content: Any, path: Path, entry: str) -> Any:
    if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
        return content[entry]
    known = [shown(key) for key in _entries(content)] if isinstance(content, Mapping) else []
    there = f"it has {', '.join(known)}" if known else "it has one state dict and no entries"
    raise ProbeError(f"{shown(path)} has no weights under {shown(entry)}; {there}")


def _entries(content: Mapping[Any, Any]) -> list[str]:
    """Names of entries that hold weights: averaged ones first, those of an optimizer not at all."""
    found = [
        str(key)
        for key, value in content.items()
        if isinstance(value, Mapping)
        and any(_is_dense(v) or key in (*_AVERAGED, *_WRAPPERS) for v in value.values())
    ]
    return sorted(found, key=lambda key: key not in _AVERAGED)


def _is_dense(value: object) -> bool:
    """An ordinary tensor in memory: neither sparse nor quantised nor without values."""
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"
        and not value.is_sparse
        and not value.is_quantized
        and not value.is_nested
    )
