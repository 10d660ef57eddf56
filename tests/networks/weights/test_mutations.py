"""Mutated checkpoints all the way into a network: one line or a load, soon, in little memory.

The long run: `pytest -m slow tests/networks/weights/test_mutations.py`.
"""

from __future__ import annotations

import json
import random
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import KINDS, entries, trained, write, write_safetensors, write_zip
from limits import damaged, little_memory, little_time
from safetensors.torch import save_file

from invariance_probe.errors import ProbeError
from invariance_probe.networks import (
    Architecture,
    build_classifier,
    build_network,
    parse_architecture,
)

DEEP = 100_000
NAMES = (
    "a" * 250, "a" * 60_000, "b/" * 3000, "n\0ul", "two\nlines", "", ".", "..", "\ud800", "é" * 200,
    "../../../etc/passwd", "[red]", "a." * 3000 + "b", "0.weight", "weight" + "." * 500, "{}", "%s",
)  # fmt: skip
ENTRIES = [name for name in NAMES if name and name.isprintable() and "\ud800" not in name]
TEXTS = (
    "[" * DEEP, '{"a":' * DEEP, "9" * 5000, "1e400", "-1e400", str(2**64), "NaN", "[NaN]", "[]",
    "null", '"text"', "[1, 2, 3, 4, 5]", "0", "-1", "[0]", "{}", "[[1]]", "true", "a" * 60_000, "",
    "[" + "1," * 20_000 + "1]",
)  # fmt: skip
NUMBERS = (0, 1, -1, 3, 255, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, 1.5, None, "1", [], {})
DTYPES = ("F32", "F16", "BF16", "F64", "I8", "I64", "U8", "BOOL", "F8_E4M3", "F99", 3, None)


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    with little_memory():
        yield


def survives(spec: str, path: Path | None, **options: Any) -> bool:
    """Whether the checkpoint was loaded; else it ended in one line."""
    try:
        with little_time():
            network = build_network(spec, path, **options)
    except ProbeError as error:
        said = str(error).replace(str(path or spec), "FILE")
        assert said.isprintable() and len(said) < 2500, said[:3000]
        assert "does not fit into memory" not in said
        return False
    assert all(text.isprintable() for text in (network.description, *network.warnings))
    return True


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def bytes_of(any_kind: Path, draw: random.Random, folder: Path) -> Path:
    """Bytes set, dropped, doubled, cut, anywhere."""
    path = any_kind.with_name("mutant" + any_kind.suffix)
    path.write_bytes(damaged(any_kind.read_bytes(), draw))
    return path


def header_of(plain: Path, draw: random.Random, folder: Path) -> Path:
    """Names, types, shapes, places and metadata of safetensors."""
    told, content = header(plain)
    for _ in range(draw.randint(1, 3)):
        key = draw.choice(list(told))
        what = draw.randrange(6)
        if what == 0:
            told[draw.choice(NAMES)] = told.pop(key)
        elif what == 1 and key != "__metadata__" and isinstance(told[key], dict):
            told[key]["dtype"] = draw.choice(DTYPES)
        elif what == 2 and key != "__metadata__" and isinstance(told[key], dict):
            told[key]["shape"] = [draw.choice(NUMBERS) for _ in range(draw.randrange(5))]
        elif what == 3 and key != "__metadata__" and isinstance(told[key], dict):
            told[key]["data_offsets"] = [draw.choice(NUMBERS) for _ in range(2)]
        elif what == 4:
            names = ("mean", "std", "test_accuracy", "kind", "architecture", draw.choice(NAMES))
            told["__metadata__"] = {draw.choice(names): draw.choice(TEXTS) for _ in range(3)}
        else:
            told[key] = draw.choice(NUMBERS)
    text = json.dumps(told).encode()
    if draw.random() < 0.1:
        text = text[:-1] + b',"deep":' + b"[" * DEEP
    return write_safetensors(folder / "mutant.safetensors", text, content)


def index_of(sharded: Path, draw: random.Random, folder: Path) -> Path:
    """The table of shards."""
    told: dict[str, Any] = json.loads(sharded.read_text())
    for _ in range(draw.randint(1, 3)):
        key = draw.choice(list(told["weight_map"]) or [""])
        what = draw.randrange(5)
        if what == 0:
            told["weight_map"][key] = draw.choice([*NAMES, *NUMBERS])
        elif what == 1:
            told["weight_map"][draw.choice(NAMES)] = draw.choice(
                [*told["weight_map"].values(), sharded.name, "mutant.json"]
            )
        elif what == 2:
            told["weight_map"].pop(key, None)
        elif what == 3:
            told["metadata"] = draw.choice(NUMBERS)
        else:
            told["weight_map"].update((f"{key}{n}", draw.choice(NAMES)) for n in range(300))
    text = json.dumps(told)
    path = sharded.with_name("mutant.json")
    path.write_text(text if draw.random() > 0.1 else text[:-1] + ',"a":' + "[" * DEEP)
    return path


def content_of(plain: Path, draw: random.Random, folder: Path) -> Path:
    """What torch.save is given: names, kinds of numbers, nesting, prefixes, values."""
    state: Any = OrderedDict(trained().state_dict())
    for _ in range(draw.randint(1, 4)):
        key = draw.choice(list(state) or [""])
        what = draw.randrange(7)
        if what == 0:
            state[draw.choice(NAMES).replace("\ud800", "?")] = state.pop(key, torch.ones(1))
        elif what == 1:
            dtype = draw.choice([torch.int8, torch.complex64, torch.bool, torch.float8_e5m2,
                                 torch.bfloat16, torch.float64, torch.uint16])  # fmt: skip
            state[key] = torch.ones(2).to(dtype)
        elif what == 2:
            state[key] = draw.choice([
                torch.ones(()), torch.ones(0), torch.ones(1, 1, 1, 1, 1),
                torch.full((2,), torch.nan), torch.ones(1).expand(10**7),
                torch.eye(3).to_sparse(), 3, None, "text", [], {},
            ])  # fmt: skip
        elif what == 3:
            prefix = draw.choice(["module.", "a.", "a.b.c.d.e.f.g.h.i.", "", "_orig_mod.", "0."])
            state = OrderedDict((prefix + name, value) for name, value in state.items())
        elif what == 4:
            state.pop(key, None)
        elif what == 5:
            state._metadata = draw.choice([
                3, {}, {"": 3}, {"": {"version": 2**70}}, {"": {"version": "x"}}, {3: {}},
                {"": {"assign_to_params_buffers": True}}, {"1": {"version": None}},
            ])  # fmt: skip
        else:
            state.update((f"{prefix}.{name}", value) for prefix in ("x", "y")
                         for name, value in trained().state_dict().items())  # fmt: skip
    for _ in range(draw.choice([0, 0, 1, 2, 30])):
        state = {draw.choice(["state_dict", "model", "ema", "x", 3]): state, "epoch": 3}
    path = folder / "mutant.pt"
    torch.save(state, path, _use_new_zipfile_serialization=draw.random() < 0.7)
    return path


def entries_of(zipped: Path, draw: random.Random, folder: Path) -> Path:
    """The parts of an archive, with right checksums."""
    parts = entries(zipped)
    for _ in range(draw.randint(1, 2)):
        name = draw.choice(list(parts))
        what = draw.randrange(4)
        if what == 0 and parts[name]:
            made = bytearray(parts[name])
            made[draw.randrange(len(made))] = draw.randrange(256)
            parts[name] = bytes(made)
        elif what == 1:
            parts[name] = parts[name][: draw.randrange(len(parts[name]) + 1)]
        elif what == 2:
            parts[draw.choice(ENTRIES)] = parts.pop(name)
        else:
            parts[name] = draw.choice([b"", b"{}", b"[" * DEEP, b'{"config":' * DEEP, b"9" * 9999])
        if not parts:
            break
    return write_zip(folder / "mutant.pt", parts, packed=draw.random() < 0.1)


MUTATIONS: tuple[tuple[Callable[[Path, random.Random, Path], Path], tuple[str, ...]], ...] = (
    (bytes_of, KINDS),
    (header_of, ("safetensors",)),
    (index_of, ("sharded",)),
    (content_of, ("zip",)),
    (entries_of, ("zip", "script", "export")),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = trained()
    return {kind: write(kind, made, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def mutants(files: dict[str, Path], folder: Path, number: int, seed: int) -> int:
    """Try so many of them; returns how many were loaded in spite of all."""
    draw = random.Random(seed)
    taken = 0
    for _ in range(number):
        mutate, kinds = draw.choice(MUTATIONS)
        path = mutate(files[draw.choice(kinds)], draw, folder)
        options: dict[str, Any] = draw.choice([
            {}, {}, {"allow_partial": True}, {"by_order": True}, {"checkpoint_entry": "ema"},
            {"checkpoint_prefix": draw.choice(["x", "module.", "a" * 9999, ""])},
        ])  # fmt: skip
        taken += survives("checkpoint_files:network", path, **options)
    return taken


def test_mutants_end_in_one_line(files: dict[str, Path], tmp_path: Path) -> None:
    assert 5 < mutants(files, tmp_path, 250, seed=0) < 245


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutants_end_in_one_line(files: dict[str, Path], tmp_path: Path, seed: int) -> None:
    mutants(files, tmp_path, 500, seed)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_described_networks_that_cannot_be(text: str, tmp_path: Path) -> None:
    """The networks of training runs bring a description along, in JSON."""
    made = build_classifier(parse_architecture("CNN", width=0.25))
    about = {"kind": "invariance_probe classifier", "architecture": text, "mean": text, "std": text}
    path = tmp_path / "model.safetensors"
    save_file(made.state_dict(), path, about)
    assert not survives(str(path), None)
    about["architecture"] = json.dumps(made.architecture.as_dict())
    save_file(made.state_dict(), path, about)
    assert survives(str(path), None)  # senseless normalisation is not taken


def test_a_described_network_is_no_larger_than_its_file(tmp_path: Path) -> None:
    small = build_classifier(parse_architecture("CNN", width=0.25))
    told = Architecture.from_dict(small.architecture.as_dict()).as_dict()
    about = {
        "kind": "invariance_probe classifier",
        "architecture": json.dumps(told | {"width": 60}),
    }
    save_file(small.state_dict(), tmp_path / "model.safetensors", about)
    with pytest.raises(ProbeError, match=r"describes a network of .* or more in a file of"):
        build_network(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:8]))
def test_names_of_files(name: str, tmp_path: Path) -> None:
    if name not in ("", ".", ".."):
        assert not survives("checkpoint_files:network", Path(name))
        assert not survives("checkpoint_files:network", tmp_path / name)
