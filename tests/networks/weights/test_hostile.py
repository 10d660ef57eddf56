"""Files that mean harm: refused in one line; nothing is run, written or allocated."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    KINDS,
    Call,
    Reference,
    entries,
    pickled,
    trained,
    view,
    write,
    write_legacy,
    write_safetensors,
    write_torch,
    write_zip,
)

from invariance_probe.errors import ProbeError
from invariance_probe.networks import load_state


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Whatever a file declares, 1 GB more than there is must do."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def refused(path: Path, message: str = ".") -> str:
    with pytest.raises(ProbeError, match=message) as caught:
        load_state(path)
    said = str(caught.value)
    assert said.isprintable() and "does not fit into memory" not in said
    return said


def bombs(folder: Path) -> list[Path]:
    """Pickles that would call os.system, in every place where a pickle can be."""
    run = Call(os.system, f"touch {folder / 'ran'}")
    good = {"x": view()}
    exported = entries(write("export", trained(), folder))
    root = next(iter(exported)).partition("/")[0]
    exported.pop(f"{root}/data/weights/model_weights_config.json")
    inner = write_torch(folder / "inner", {"x": run}).read_bytes()
    script = entries(write("script", trained(), folder))
    data = next(name for name in script if name.endswith("/data.pkl"))
    return [
        write_torch(folder / "a.pt", run),
        write_torch(folder / "b.pt", {"state_dict": good, "hyper_parameters": run}),
        write_torch(folder / "c.pt", {"state_dict": good, "hyper_parameters": [{"x": (run,)}]}),
        write_torch(folder / "d.pt", pickle.dumps({"x": run}, 4)),
        write_torch(folder / "e.pt", pickle.dumps({"x": run}, 0)),
        write_legacy(folder / "f.pt", {"x": run}, []),
        write_zip(folder / "g.pt", script | {data: pickled(run)}),
        write_zip(folder / "h.pt2", exported | {f"{root}/data/weights/model.pt": inner}),
        write_torch(folder / "i.pt", {"x": Call(eval, "1+1")}),
        write_torch(folder / "j.pt", {"x": view(shape=Call(os.system, "touch ran"))}),
    ]


def test_pickle_bombs_in_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", os.system)
    for path in bombs(tmp_path):
        refused(path)
    assert not (tmp_path / "ran").exists()
    said = refused(tmp_path / "b.pt", r"pickled posix.system \(in hyper_parameters\).*is refused")
    assert "torch.load" in said


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_anywhere(kind: str, tmp_path: Path) -> None:
    path = write(kind, trained(), tmp_path)
    whole = path.read_bytes()
    for length in sorted({0, 1, 2, 8, 9, *range(0, len(whole), len(whole) // 40), len(whole) - 1}):
        path.write_bytes(whole[:length])
        refused(path, "is empty|damaged or cut off|is no checkpoint")


F32 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "header",
    [
        {"x": F32 | {"shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"x": F32 | {"shape": [2**62, 2**62]}},
        {"x": F32 | {"shape": [2**63 - 1, 0, 2**63 - 1], "data_offsets": [0, 0]}},
        {"x": F32 | {"shape": [-4]}},
        {"x": F32 | {"data_offsets": [16, 32]}},
        {"x": F32 | {"data_offsets": [16, 0]}},
        {"x": F32, "y": F32},
        {"x": F32, "y": F32 | {"data_offsets": [8, 24]}},
        {"x": F32 | {"dtype": "F99"}},
        {"x": F32 | {"dtype": "F64"}},
        {"x": [1, 2]},
        {"__metadata__": {"a": 3}, "x": F32},
        b'{"x":' * 10_000,
        b"{" + b" " * 100,
    ],
)
def test_safetensors_that_lie(tmp_path: Path, header: object) -> None:
    refused(write_safetensors(tmp_path / "x", header, bytes(16)), "damaged or cut off|holds no")


@pytest.mark.parametrize(
    "length", [3, 1 << 20, (1 << 31) + 1, (1 << 32) - 1, 1 << 40, (1 << 64) - 1]
)
def test_headers_of_absurd_length(tmp_path: Path, length: int) -> None:
    refused(write_safetensors(tmp_path / "x", {"x": F32}, bytes(16), length))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (view(shape=(10**12,)), "declared over 4 stored values"),
        (view(shape=(10**6, 10**6), strides=(0, 0)), "declared over 4 stored values"),
        (view(shape=(2,), strides=(4,)), "declared over 4 stored values"),
        (view(offset=1), "declared over 4 stored values"),
        (view(offset=-1), "impossible shape"),
        (view(shape=(-4,)), "impossible shape"),
        (view(shape=(4,), strides=(-1,)), "impossible shape"),
        (view(shape=(4.0,)), "impossible shape"),
        (view(shape=(2, 2)), "impossible shape"),
        (view(stored=Reference(number=10**13)), "4e13|are there"),
        (view(stored=Reference(number=-4)), "impossible number"),
        (view(stored=Reference(key="absent")), "damaged or cut off"),
        (view(stored=Reference(key="../../0")), "damaged or cut off"),
        (view(stored=Reference(kind=torch.DoubleStorage)), "are declared, 16 are there"),
        (view(stored=Reference(kind=torch.QInt8Storage)), "pickled torch.QInt8Storage"),
        (Call(bytearray, 10**12), "bytearray.*is refused"),
        (Call(torch.Tensor, 10**6, 10**6), "torch.*Tensor.*is refused"),
        (Call(torch.FloatStorage, 10**12), "is refused"),
        (Call(torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (1,), (1,), False),
         "is refused"),
        ([view()], "holds a list"),
        ({"x": {}}, "holds no state dict"),
        ({}, "it has nothing"),
    ],
)  # fmt: skip
def test_pickles_that_lie(tmp_path: Path, value: object, message: str) -> None:
    content = value if isinstance(value, (list, dict)) else {"x": value}
    refused(write_torch(tmp_path / "x.pt", content), message)


def test_pickles_that_build_too_much(tmp_path: Path) -> None:
    start, end = b"\x80\x02", b"."
    refused(
        write_torch(tmp_path / "a.pt", start + b"]" * 4_000_000 + end), "longer than that of any"
    )
    deep = start + b"}" + b")" + b"\x85" * 1_000_000 + b"K\x01s" + end
    refused(write_torch(tmp_path / "b.pt", deep), "nests tuples too deeply")
    lists = start + b"]" * 100_000 + b"a" * 99_999 + end
    refused(write_torch(tmp_path / "c.pt", lists), "holds a list")
    refused(write_torch(tmp_path / "d.pt", start + b"r\xff\xff\xff\xff" + end))
    refused(write_torch(tmp_path / "e.pt", start + b"X\xff\xff\xff\xffabc" + end))


def test_old_files_that_lie(tmp_path: Path) -> None:
    refused(write_legacy(tmp_path / "a", {"x": view(stored=Reference(number=10**12))}, []),
            "declare .* bytes in a file of")  # fmt: skip
    state = {"x": view(stored=Reference("0", 4, torch.FloatStorage, None))}
    good = write_legacy(tmp_path / "b", state, [("0", bytes(16))])
    assert load_state(good)["x"].shape == (4,)
    refused(write_legacy(tmp_path / "c", state, [("0", bytes(8))]))
    refused(write_legacy(tmp_path / "d", state, [("other", bytes(16))]))
    part = {"x": view((2,), stored=Reference("0", 4, torch.FloatStorage, ("v", 2, 2)))}
    assert load_state(write_legacy(tmp_path / "e", part, [("0", bytes(16))]))["x"].shape == (2,)
    beyond = {"x": view((4,), stored=Reference("0", 4, torch.FloatStorage, ("v", 2, 4)))}
    refused(write_legacy(tmp_path / "f", beyond, [("0", bytes(16))]), "declared over 4 stored")


def test_zip_bombs(tmp_path: Path) -> None:
    value = {"x": view(stored=Reference(number=16_000_000), shape=(16_000_000,))}
    parts = {"a/data.pkl": pickled(value), "a/data/0": bytes(64_000_000), "a/version": b"3"}
    packed = write_zip(tmp_path / "a.pt", parts, packed=True)
    assert packed.stat().st_size < 100_000
    refused(packed, "is compressed")
    stored = write_torch(tmp_path / "b.pt", {"x": view()}).read_bytes()
    size = (16).to_bytes(4, "little") * 2
    assert stored.count(size) == 2
    for declared in (1 << 31, (1 << 32) - 1, 1 << 20):
        lie = declared.to_bytes(4, "little") * 2
        (tmp_path / "c.pt").write_bytes(stored.replace(size, lie))
        refused(tmp_path / "c.pt", "declare|damaged or cut off")
    (tmp_path / "d.pt").write_bytes(b"PK junk in front" + stored)
    refused(tmp_path / "d.pt", "does not begin with its first entry|damaged")


def test_an_entry_named_twice(tmp_path: Path) -> None:
    parts = {"a/data.pkl": pickled({"x": view()}), "a/data/0": bytes(16), "A/data/0": bytes(16)}
    refused(write_zip(tmp_path / "a.pt", parts), "two of its entries have the same name")


def test_torchscript_that_lies(tmp_path: Path) -> None:
    parts = entries(write("script", trained(), tmp_path))
    data = next(name for name in parts if name.endswith("/0"))
    refused(write_zip(tmp_path / "a", parts | {data: bytes(2)}), "are declared")
    pickle_of = next(name for name in parts if name.endswith("data.pkl"))
    head = b"\x80\x02c__torch__.M\nM\n)\x81q\x00"
    loop = head + b"}X\x01\x00\x00\x00ah\x00sb."  # a module that is its own child
    refused(write_zip(tmp_path / "b", parts | {pickle_of: loop}), "hold one another without end")


def test_exported_programs_that_lie(tmp_path: Path) -> None:
    parts = entries(write("export", trained(), tmp_path))
    name = next(name for name in parts if name.endswith("model_weights_config.json"))
    told = json.loads(parts[name])

    def changed(**about: object) -> Path:
        config = json.loads(json.dumps(told))
        config["config"]["0.weight"]["tensor_meta"].update(about)
        return write_zip(tmp_path / "x", parts | {name: json.dumps(config).encode()})

    assert len(load_state(changed())) == 7
    refused(changed(sizes=[{"as_int": 10**12}], strides=[{"as_int": 1}]), "declared over 18 stored")
    refused(changed(sizes=[{"as_expr": "__import__('os').system('touch ran')"}]), "damaged")
    refused(changed(layout=1), "is sparse")
    refused(changed(dtype=99), "damaged")
    told["config"]["0.weight"]["path_name"] = "../../../../../etc/passwd"
    refused(changed(), "damaged")
    told["config"]["0.weight"]["use_pickle"] = True
    refused(changed(), "objects of Python")


def test_files_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is a device or a pipe")
    refused(Path("/dev/zero"), "is a device or a pipe")
    with tarfile.open(tmp_path / "old.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refused(tmp_path / "old.tar", "is of torch 0.1")
    refused(tmp_path / "n\x00ul")


def test_tensors_that_are_no_arrays(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"x": torch.eye(3).to_sparse()}, stream)
    (tmp_path / "sparse.pt").write_bytes(stream.getvalue())
    refused(tmp_path / "sparse.pt", "_rebuild_sparse_tensor")
