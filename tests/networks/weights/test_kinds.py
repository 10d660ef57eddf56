"""Checkpoints of every kind give the same weights; what is in them beside weights stays unread."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    KINDS,
    entries,
    network,
    same,
    trained,
    view,
    write,
    write_shards,
    write_torch,
    write_zip,
)
from safetensors.torch import save_file
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network, load_checkpoint, load_state, read_state
from invariance_probe.networks.weights.load import checkpoint_sha256, file_sha256, metadata

SAID = {"zip": "torch.save", "legacy": "torch.save", "sharded": "safetensors",
        "script": "TorchScript", "export": "torch.export"}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_weights(kind: str, tmp_path: Path) -> None:
    made, fresh = trained(), network()
    path = write(kind, made, tmp_path)
    fit = load_checkpoint(fresh, path)
    assert same(fresh, made)
    assert (fit.loaded, fit.complete, fit.kind) == (7, True, SAID.get(kind, kind))
    assert fit.notes == (f"7 weights of {fit.kind}",)
    assert list(load_state(path)) and metadata(path) == {}


def test_weights_of_nested_modules_and_half_precision_from_archives(tmp_path: Path) -> None:
    made = nn.Sequential(network(), nn.Sequential(nn.Conv2d(2, 3, 1)))
    for kind in ("script", "export"):
        made = made.half() if kind == "script" else made.bfloat16()
        state = load_state(write(kind, made, tmp_path))
        assert set(state) == set(made.state_dict())
        assert all(torch.equal(state[key], value) for key, value in made.state_dict().items())


class Buffered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("table", torch.arange(2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale[0] + self.table[1]


@pytest.mark.parametrize("kind", ["script", "export"])
def test_buffers_that_a_state_dict_leaves_out(kind: str, tmp_path: Path) -> None:
    fit = load_checkpoint(Buffered(), write(kind, Buffered(), tmp_path))
    assert fit.complete and fit.unexpected == ()


def test_frozen_torchscript_names_no_weights(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.script(trained())).save(str(tmp_path / "f.pt"))
    with pytest.raises(ProbeError, match="frozen ones are constants in its code"):
        load_state(tmp_path / "f.pt")


def test_the_earlier_layout_of_exported_programs(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save(trained().state_dict(), stream)
    parts = {"serialized_exported_program.json": b"{}", "version": b"5.1",
             "serialized_state_dict.pt": stream.getvalue()}  # fmt: skip
    state = read_state(write_zip(tmp_path / "old.pt2", parts))
    assert state.kind == "torch.export" and len(state.tensors) == 7


@pytest.mark.parametrize("suffix", ["pt2", "pth", "ckpt"])
def test_an_archive_is_no_network(suffix: str) -> None:
    with pytest.raises(ProbeError, match=r"give the network they are of.*as its checkpoint"):
        build_network(f"somewhere/model.{suffix}")


def test_shards_of_torch_save(tmp_path: Path) -> None:
    made = trained()
    torch.save(made.state_dict(), tmp_path / "pytorch_model-00001-of-00001.bin")
    where = dict.fromkeys(made.state_dict(), "pytorch_model-00001-of-00001.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": where}, indent=2))
    fresh = network()
    load_checkpoint(fresh, index)
    assert same(fresh, made)


def test_the_hash_of_shards_is_of_all_of_them(tmp_path: Path) -> None:
    index = write("sharded", trained(), tmp_path)
    before = checkpoint_sha256(index)
    write_shards(index, trained(seed=4).state_dict())
    assert checkpoint_sha256(index) != before
    single = write("safetensors", trained(), tmp_path)
    assert checkpoint_sha256(single) == file_sha256(single)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "../other.safetensors"}}, "not a file beside it"),
        ({"weight_map": {"a": "/etc/passwd"}}, "not a file beside it"),
        ({"weight_map": {"a": ".."}}, "missing|not a file beside it"),
        ({"weight_map": {"a": "b\x00c"}}, "not a file beside it"),
        ({"weight_map": {"a": 3}}, "not a file beside it"),
        ({"weight_map": {"a": "absent.safetensors"}}, r"1 shards .* missing \(absent"),
        ({"weight_map": {"a": "index.json"}}, "names an index as its shard"),
        ({"weight_map": {"a": "model-00001-of-00002.safetensors"}}, r"lacks 1 weights \(a\)"),
        ({"weight_map": {}}, "without the 'weight_map'"),
        ({"epoch": 3}, "without the 'weight_map'"),
        ("{" * 100_000, "damaged or cut off"),
    ],
)
def test_tables_of_shards_that_cannot_be_followed(
    tmp_path: Path, index: object, message: str
) -> None:
    write("sharded", trained(), tmp_path)
    path = tmp_path / "index.json"
    path.write_text(index if isinstance(index, str) else json.dumps(index))
    for reads in (load_state, checkpoint_sha256):
        if reads is load_state or ("lacks" not in message and "names an index" not in message):
            with pytest.raises(ProbeError, match=message) as caught:
                reads(path)
            assert "\n" not in str(caught.value)


def test_scripts_of_an_archive_are_not_run(tmp_path: Path) -> None:
    parts = entries(write("script", trained(), tmp_path))
    parts = {name: b"raise SystemExit\n" if name.endswith(".py") else value
             for name, value in parts.items()}  # fmt: skip
    assert len(load_state(write_zip(tmp_path / "broken.pt", parts))) == 7


def test_tied_weights_and_views(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    torch.save({"a": base, "b": base.view(2, 3).t(), "c": base[2:4], "d": base[:0]}, tmp_path / "v")
    state = load_state(tmp_path / "v")
    assert torch.equal(state["b"], base.view(2, 3).t())
    assert torch.equal(state["c"], base[2:4]) and state["d"].shape == (0,)
    assert torch.equal(load_state(write_torch(tmp_path / "w", {"x": view()}))["x"], torch.zeros(4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.uint16, torch.bool])
def test_unusual_kinds_of_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    value = torch.tensor([0.0, 1.0]).to(dtype)
    torch.save({"x": value, "p": nn.Parameter(torch.ones(2))}, tmp_path / "x.pt")
    save_file({"x": value}, tmp_path / "x.safetensors")
    for name in ("x.pt", "x.safetensors"):
        assert load_state(tmp_path / name)["x"].dtype == dtype


def test_optimizers_and_attributes_of_tensors_do_not_matter(tmp_path: Path) -> None:
    made = trained()
    optimizer = torch.optim.Adam(made.parameters())
    made(torch.ones(1, 1, 8, 8)).sum().backward()
    optimizer.step()
    made[0].weight.tag = "mine"
    torch.save(
        {"net": made.state_dict(keep_vars=True), "optimizer": optimizer.state_dict(),
         "when": [1, 2.5, None, True, "x", {"y": (1,)}, 10**30], "size": torch.Size([2, 3]),
         "device": torch.device("cpu"), "dtype": torch.float16, "code": b"abc"},
        tmp_path / "all.pt",
    )  # fmt: skip
    state = read_state(tmp_path / "all.pt")
    assert (state.entry, state.others, len(state.tensors)) == ("net", (), 7)
