"""Damaged checkpoints of every kind load or end in one line, whatever bytes changed."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import pytest
import torch
from checkpoint_files import KINDS, entries, trained, write, write_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invariance_probe.errors import ProbeError
from invariance_probe.networks import load_state

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

_PLACE = st.floats(0, 1, exclude_max=True)
_EDGES = st.sampled_from([0.0, 0.001, 0.01, 0.97, 0.99, 0.999])
_CHANGE = st.tuples(
    st.sampled_from(["set", "flip", "cut", "double", "drop", "number"]),
    st.one_of(_PLACE, _EDGES),
    st.integers(0, 255),
)
CHANGES = st.lists(_CHANGE, min_size=1, max_size=5)
_NUMBERS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


def changed(content: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    made = bytearray(content)
    for what, share, value in changes:
        place = int(share * len(made))
        if what == "set":
            made[place : place + 1] = bytes([value])
        elif what == "flip":
            made[place : place + 1] = bytes([made[place] ^ (1 << value % 8)] if made else [])
        elif what == "cut":
            del made[place:]
        elif what == "double":
            made[place:place] = made[place : place + value % 50]
        elif what == "drop":
            del made[place : place + value % 20]
        else:
            number = struct.pack("<Q", _NUMBERS[value % len(_NUMBERS)])
            width = 8 if value % 2 else 4
            made[place : place + width] = number[:width]
    return bytes(made)


def loads_or_refuses(path: Path) -> None:
    try:
        state = load_state(path)
    except ProbeError as error:
        assert str(error).isprintable()
        assert "does not fit into memory" not in str(error)
    else:
        assert state and all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = trained()
    return {kind: write(kind, made, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(changes=CHANGES)
@quick
def test_any_bytes(kind: str, files: dict[str, Path], changes: list) -> None:
    # Beside the shards, so that an index still finds them.
    path = files[kind].parent / "changed"
    path.write_bytes(changed(files[kind].read_bytes(), changes))
    loads_or_refuses(path)


@pytest.mark.parametrize("kind", ["zip", "script", "export"])
@given(changes=CHANGES, which=st.integers(0, 99))
@quick
def test_entries_with_right_checksums(
    kind: str, files: dict[str, Path], changes: list, which: int
) -> None:
    parts = entries(files[kind])
    told = [name for name in parts if name.endswith(("data.pkl", "config.json", "byteorder"))]
    name = (told * 3 + list(parts))[which % (3 * len(told) + len(parts))]
    with tempfile.TemporaryDirectory() as folder:
        made = write_zip(Path(folder, "c"), parts | {name: changed(parts[name], changes)})
        loads_or_refuses(made)


@given(changes=CHANGES, fits=st.booleans())
@quick
def test_headers_with_right_lengths(files: dict[str, Path], changes: list, fits: bool) -> None:
    whole = files["safetensors"].read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header = changed(whole[8 : 8 + length], changes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c")
        path.write_bytes(struct.pack("<Q", len(header)) + header + whole[8 + length :] * fits)
        loads_or_refuses(path)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 65) | st.text(max_size=5)
    | st.sampled_from(["F32", "weight_map", "dtype", "shape", "data_offsets", "a.safetensors"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["x", "weight_map", "dtype", "shape", "data_offsets", "__metadata__"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(value=_ANY, kind=st.sampled_from(["header", "index", "config"]))
@quick
def test_any_json_where_json_is_expected(value: object, kind: str) -> None:
    text = json.dumps(value).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c")
        if kind == "header":
            path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
        elif kind == "index":
            path.write_bytes(text)
        else:
            name = "a/data/weights/model_weights_config.json"
            write_zip(path, {"a/models/model.json": b"{}", name: text})
        loads_or_refuses(path)


_STEPS = st.sampled_from([
    b"(", b")", b"]", b"}", b"t", b"R", b"b", b"\x81", b"Q", b"u", b"s", b"e", b"a", b"\x85",
    b"\x86", b"\x87", b"N", b"\x88", b"q\x00", b"h\x00", b"K\x04", b"J\xff\xff\xff\xff",
    b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", b"X\x07\x00\x00\x00storage",
    b"X\x01\x00\x00\x000", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"ctorch\nTensor\n", b"c__torch__\nM\n",
    b"cbuiltins\neval\n", b"c_codecs\nencode\n", b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ", b"K\x00K\x04\x85K\x01\x85\x89N",
])  # fmt: skip


@given(steps=st.lists(_STEPS, max_size=25), script=st.booleans())
@settings(quick, max_examples=300)
def test_any_steps_of_a_pickle(steps: list[bytes], script: bool) -> None:
    parts = {"a/data.pkl": b"\x80\x02" + b"".join(steps) + b".", "a/data/0": bytes(16)}
    if script:
        parts["a/constants.pkl"] = b"."
    with tempfile.TemporaryDirectory() as folder:
        loads_or_refuses(write_zip(Path(folder, "c"), parts))
