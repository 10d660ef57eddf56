"""Weights out of what PyTorch writes: torch.save, TorchScript and torch.export; no code is run."""

from __future__ import annotations

import io
import json
import mmap
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..._foreign import is_picture
from ...errors import ProbeError
from .._words import few, first_line, shown
from ._pickles import Layout, Made, Outline, Stored, check_layout, foreign_entries, outline, view_of

# Kinds of numbers in the description that torch.export writes.
_EXPORTED = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 10: torch.complex64,
    11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip

_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
# What torch itself writes for tensors of other kinds: names of no danger, and of no use here.
_NOT_PLAIN = ("torch._utils._rebuild_", "torch.serialization._get_layout", "torch.Q", "torch.per_")
_STRIDED = 7
_CONTENTS = 1 << 25  # bytes, of a few hundred thousand entries
_PARTS = 1_000_000  # of a module that refers to itself without end
_SAVED_BY_PICKLE = (
    "objects of Python: save its weights with torch.save(network.state_dict(), 'weights.pt')"
)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Any error in reading a file becomes the one line that says that it is damaged."""
    try:
        yield
    except ProbeError:
        raise
    except MemoryError as error:
        raise ProbeError(f"{shown(path)} does not fit into memory") from error
    except Exception as error:  # which ones torch and zipfile raise on a damaged file has no end
        raise ProbeError(
            f"{shown(path)} is no checkpoint, damaged or cut off: {first_line(error)}"
        ) from error


def read_zip(path: Path) -> tuple[str, Any]:
    """Return what wrote an archive, and its content.

    The content is what torch.load returns, or {name: tensor}. Sizes that the archive declares are
    compared with the file before anything of that size is allocated.
    """
    with damage_named(path), path.open("rb") as stream:
        return _archive(stream, path)


def read_pickled(path: Path) -> Any:
    """Return the content of a file that torch.save wrote before version 1.6."""
    with damage_named(path), path.open("rb") as stream:
        size = path.stat().st_size
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            for _ in range(3):  # a magic number, the version, the machine
                _refuse_foreign(outline(view), path)  # type: ignore[arg-type]
            found = outline(view)  # type: ignore[arg-type]
            _refuse_foreign(found, path)
        _check_sum(found.storages.values(), size)
        return _loaded(stream, path)


def _archive(stream: BinaryIO, path: Path) -> tuple[str, Any]:
    size = stream.seek(0, io.SEEK_END)
    _check_directory(stream, size)
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        if len({name.lower() for name in names}) != len(entries):
            raise ValueError("two of its entries have the same name")
        if not entries or min(entry.header_offset for entry in entries) != 0:
            raise ValueError("it does not begin with its first entry")
        root = entries[0].filename.partition("/")[0]

        def read(name: str) -> bytes:
            return _entry(archive, name, size)

        if f"{root}/data.pkl" in names:
            if f"{root}/constants.pkl" in names:
                return "TorchScript", _scripted(read, root, size)
            _check_saved(archive, read, root, size, path)
            return "torch.save", _loaded(stream, path)
        weights = f"{root}/data/weights/model_weights_config.json"
        if weights in names:
            return "torch.export", _exported(read, root, json.loads(read(weights)))
        for name in (f"{root}/data/weights/model.pt", f"{root}/serialized_state_dict.pt",
                     "serialized_state_dict.pt"):  # fmt: skip
            if name in names:
                return "torch.export", _archive(io.BytesIO(read(name)), path)[1]
    raise ProbeError(f"{shown(path)} is no checkpoint: it is {_contents(names)}")


def _contents(names: Collection[str]) -> str:
    """What a zip archive holds instead of weights, and what to do."""
    inner = sorted(name for name in names if name.lower().endswith(_WEIGHTS))
    if any(name.endswith("model.weights.h5") for name in names):
        return "a model of Keras; convert its weights to a state dict of the PyTorch network"
    if inner:
        return f"a zip archive that holds {few(map(shown, inner))}; unpack it and give that file"
    if any(name.endswith(".npy") for name in names):
        return "arrays of NumPy; save them as a state dict with torch.save"
    if any(is_picture(name) for name in names):
        return "a zip archive of images; give the file of the network's weights"
    return f"a zip archive without weights; it holds {few(map(shown, sorted(names)))}"


def _check_directory(stream: BinaryIO, size: int) -> None:
    """The table of contents comes last; Python would read all of one of absurd size."""
    stream.seek(max(0, size - 98))
    large, end = (tail := stream.read(98))[:-22], tail[-22:]
    if not end.startswith(b"PK\x05\x06"):
        raise ValueError("its table of contents is missing")
    sizes = [int.from_bytes(end[12:16], "little")]
    if large[56:].startswith(b"PK\x06\x07"):
        sizes.append(int.from_bytes(large[40:48], "little"))
    if max(sizes) > min(size, _CONTENTS):
        raise ValueError("its table of contents has an absurd size")


def _entry(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise ValueError(f"{shown(name)} is compressed, which torch never does to weights")
    if entry.file_size > size:
        raise ValueError(f"{shown(name)} declares {entry.file_size} bytes in a file of {size}")
    return archive.read(name)


def _check_saved(
    archive: zipfile.ZipFile, read: Callable[[str], bytes], root: str, size: int, path: Path
) -> None:
    """Compare all that a file of torch.save declares with what is there."""
    declared = 0
    for entry in archive.infolist():
        declared += entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"{shown(entry.filename)} is compressed; save it with torch.save")
    if declared > size:
        raise ValueError(f"its entries declare {declared} bytes in a file of {size}")
    found = outline(io.BytesIO(read(f"{root}/data.pkl")))
    _refuse_foreign(found, path)
    for stored in found.storages.values():
        held = archive.getinfo(f"{root}/data/{stored.key}").file_size
        if held != stored.size:
            raise ValueError(f"{stored.size} bytes of a tensor are declared, {held} are there")


def _check_sum(stored: Any, size: int) -> None:
    declared = sum(each.size for each in stored)
    if declared > size:
        raise ValueError(f"its tensors declare {declared} bytes in a file of {size}")


def _loaded(stream: BinaryIO, path: Path) -> Any:
    """What torch.load makes of a file whose pickle has been followed and found plain."""
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(stream, weights_only=True, map_location="cpu")


def _refuse_foreign(found: Outline, path: Path) -> None:
    # Who has told torch that a class is safe need not tell us again.
    trusted = {
        kind[1] if isinstance(kind, tuple) else f"{kind.__module__}.{kind.__qualname__}"
        for kind in getattr(torch.serialization, "get_safe_globals", list)()  # since PyTorch 2.5
    }
    names = [shown(name) for name in found.foreign if name not in trusted]
    if not names:
        return
    if all(name.startswith(_NOT_PLAIN) for name in names):
        raise ProbeError(
            f"{shown(path)} holds pickled {few(names)}: tensors that are not plain numbers "
            "(quantised, sparse, or without values), and is refused; save plain ones, as "
            "tensor.dequantize() or tensor.to_dense() makes them"
        )
    held = found.value if isinstance(found.value, dict) else {}
    where = [shown(name) for name in foreign_entries(held)]
    place = f" (in {few(where)})" if where else ""
    inner = next((key for key in ("state_dict", "model_state_dict", "model")
                  if isinstance(held.get(key), dict) and key not in where), None)  # fmt: skip
    if inner:
        remedy = (
            "where you trust it, keep its weights alone with torch.save(torch.load(FILE, "
            f"weights_only=False)[{inner!r}], 'weights.pt') and give that file"
        )
    else:
        remedy = (
            "where you trust it, load it once, save its weights with safetensors.torch.save_file("
            "network.state_dict(), 'model.safetensors') and give that file"
        )
    raise ProbeError(
        f"{shown(path)} holds pickled {few(names)}{place}, which could run code when loaded, and "
        f"is refused; {remedy}"
    )


def _scripted(read: Callable[[str], bytes], root: str, size: int) -> dict[str, Tensor]:
    """The tensors that the modules of a TorchScript archive hold, by the names of its modules."""
    found = outline(io.BytesIO(read(f"{root}/data.pkl")), script=True)
    if found.foreign:
        raise ValueError(f"a TorchScript archive names {few(map(shown, found.foreign))}")
    _check_sum(found.storages.values(), size)
    contents: dict[str, bytearray] = {}

    def content(stored: Stored) -> bytearray:
        if stored.key not in contents:
            held = bytearray(read(f"{root}/data/{stored.key}"))
            if len(held) != found.storages[stored.key].size:
                raise ValueError(f"{stored.size} bytes of a tensor are declared, not {len(held)}")
            contents[stored.key] = held
        return contents[stored.key]

    tensors: dict[str, Tensor] = {}
    todo, parts = [("", found.value)], 0
    while todo:
        prefix, part = todo.pop()
        parts += 1
        if parts > _PARTS or len(prefix) > 10_000:
            raise ValueError("its modules hold one another without end")
        if not isinstance(part, Made) or not isinstance(part.state, dict):
            continue
        for name, value in part.state.items():
            if isinstance(value, Layout):
                tensors[f"{prefix}{name}"] = value.of(content(value.stored))
        todo += [(f"{prefix}{name}.", value) for name, value in reversed(part.state.items())]
    if not tensors:
        raise ValueError(
            "the TorchScript archive names no weights: frozen ones are constants in its code; give "
            "a state dict"
        )
    return tensors


def _exported(read: Callable[[str], bytes], root: str, described: Any) -> dict[str, Tensor]:
    """The state dict of a torch.export archive, from its description of plain bytes."""
    contents: dict[str, bytearray] = {}
    tensors = {}
    for key, entry in described["config"].items():
        if entry["use_pickle"]:
            raise ValueError(f"{shown(key)} is stored as {_SAVED_BY_PICKLE}")
        name = f"{root}/data/weights/{entry['path_name']}"
        held = contents.setdefault(name, bytearray()) or bytearray(read(name))
        contents[name] = held
        about = entry["tensor_meta"]
        if about["layout"] != _STRIDED:
            raise ValueError(f"{shown(key)} is sparse")
        dtype = _EXPORTED[about["dtype"]]
        shape, strides = (tuple(n["as_int"] for n in about[part]) for part in ("sizes", "strides"))
        offset = about["storage_offset"]["as_int"]
        check_layout(offset, shape, strides, len(held) // dtype.itemsize)
        tensors[key] = view_of(held, dtype, offset, shape, strides)
    if not tensors:
        raise ValueError("the exported program has no weights")
    return tensors
