"""Small checkpoints of every kind, and ways to write ones that nobody means well with."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

KINDS = ("safetensors", "sharded", "zip", "legacy", "script", "export")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())


def trained(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    made = network().eval()
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape))
    return made


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def write(kind: str, made: nn.Module, folder: Path) -> Path:
    """Write a checkpoint of a kind and return the path to give."""
    state = made.state_dict()
    path = folder / f"{kind}.weights"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "sharded":
        path = folder / "model.safetensors.index.json"
        write_shards(path, state)
    elif kind in ("zip", "legacy"):
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == "script":
                torch.jit.script(made).save(str(path))
            else:
                dtype = next(made.parameters()).dtype
                program = torch.export.export(made, (torch.zeros(1, 1, 8, 8, dtype=dtype),))
                with path.open("wb") as stream:
                    torch.export.save(program, stream)
    return path


def write_shards(index: Path, state: Mapping[str, torch.Tensor]) -> None:
    keys = sorted(state)
    where = {}
    for number, part in enumerate((keys[:3], keys[3:]), start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        save_file({key: state[key] for key in part}, index.parent / name)
        where |= dict.fromkeys(part, name)
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def write_zip(path: Path, content: Mapping[str, bytes], packed: bool = False) -> Path:
    """A zip archive whose checksums are right whatever its content is."""
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return path


def write_safetensors(path: Path, header: Any, content: bytes = b"", length: int = -1) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length < 0 else length) + text + content)
    return path


class Reference:
    """A storage as torch.save refers to it."""

    def __init__(
        self, key: str = "0", number: int = 4, kind: Any = torch.FloatStorage, *view: Any
    ) -> None:
        self.told = ("storage", kind, key, "cpu", number, *view)


class Call:
    """An object that unpickling makes by calling something."""

    def __init__(self, called: Any, *given: Any) -> None:
        self.told = (called, given)

    def __reduce__(self) -> Any:
        return self.told


def view(shape: Any = (4,), strides: Any = (1,), offset: int = 0, stored: Any = None) -> Call:
    stored = stored or Reference()
    return Call(torch._utils._rebuild_tensor_v2, stored, offset, shape, strides, False, {})


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.told if isinstance(obj, Reference) else None


def pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(value)
    return stream.getvalue()


def write_torch(path: Path, value: Any, content: Mapping[str, bytes] | None = None) -> Path:
    """A file as torch.save writes it, of a pickle that torch.save would not write."""
    pickle_of = value if isinstance(value, bytes) else pickled(value)
    data = {"0": bytes(16)} if content is None else content
    parts = {"a/data.pkl": pickle_of, "a/byteorder": b"little", "a/version": b"3\n"}
    return write_zip(path, parts | {f"a/data/{key}": value for key, value in data.items()})


def write_legacy(path: Path, value: Any, storages: list[tuple[str, bytes]]) -> Path:
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    parts = [pickle.dumps(part, 2) for part in head]
    parts += [pickled(value), pickle.dumps([key for key, _ in storages], 2)]
    parts += [struct.pack("<q", len(content) // 4) + content for _, content in storages]
    path.write_bytes(b"".join(parts))
    return path
