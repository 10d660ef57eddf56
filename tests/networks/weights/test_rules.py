"""Checkpoints that a network takes by its own rules, and ones that it refuses and survives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from checkpoint_files import network, same, trained
from safetensors.torch import save_file, save_model
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from invariance_probe.errors import ProbeError
from invariance_probe.networks import Fit, load_checkpoint
from invariance_probe.probing.provenance import state_sha256


class Tied(nn.Module):
    """A decoder that shares its weights with the encoder, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(2, 2, 3)
        self.outer, self.last = self.inner, nn.Conv2d(2, 1, 1)


class Grown(nn.Module):
    """A layer that once was one value, saved with its version, and makes itself like its file."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.told: list[str] = []

    def _load_from_state_dict(self, state: Any, prefix: str, about: Any, *rest: Any) -> None:
        self.told.append("asked")
        if about.get("version") not in (1, 2):
            self.scale = nn.Parameter(torch.zeros(1))
            raise ValueError(f"version {about.get('version')}")
        if about["version"] == 1:
            self.scale = nn.Parameter(torch.zeros(1))
        super()._load_from_state_dict(state, prefix, about, *rest)


def old_norm() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Conv2d(1, 4, 3)))


def new_norm() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 4, 3)))


def frozen() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), torchvision.ops.FrozenBatchNorm2d(2))


def spectral() -> nn.Module:
    return nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(1, 4, 3)))


def halved(made: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.half() for key, value in made.state_dict().items()}


def loaded(content: Any, fresh: nn.Module, folder: Path, **options: Any) -> Fit:
    torch.save(content, folder / "c.pth")
    return load_checkpoint(fresh, folder / "c.pth", **options)


@pytest.mark.parametrize(
    ("source", "make"),
    [
        (torchvision.models.mnasnet0_5, torchvision.models.mnasnet0_5),
        (old_norm, new_norm),
        (new_norm, new_norm),
        (spectral, spectral),
        (lambda: network()[:2], frozen),
        (Tied, Tied),
        (Grown, Grown),
    ],
    ids=["versions", "old names", "parametrised", "power iteration", "frozen", "tied", "own rules"],
)
@pytest.mark.parametrize("prefix", ["", "module.", "student.body."])
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_what_strict_loading_takes_is_taken(
    source: Callable[[], nn.Module], make: Callable[[], nn.Module], prefix: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    made = source()
    state = made.state_dict()
    torch.manual_seed(2)
    by_torch, fresh = make(), make()
    by_torch.load_state_dict(state)
    content = type(state)((prefix + key, value) for key, value in state.items())
    content._metadata = {f"{prefix}{name}".removesuffix("."): about
                         for name, about in state._metadata.items()}  # fmt: skip
    fit = loaded(content, fresh, tmp_path)
    assert same(fresh, by_torch) and fit.complete and fit.warnings == ()
    assert (f"prefix '{prefix}' dropped" in fit.renamed) == bool(prefix)


def test_versions_that_a_file_states_or_lacks(tmp_path: Path) -> None:
    early = Grown()
    early.scale = nn.Parameter(torch.full((1,), 7.0))
    state = early.state_dict()
    state._metadata[""]["version"] = 1
    fresh = Grown()
    fit = loaded(state, fresh, tmp_path)
    assert fresh.scale.tolist() == [7.0] and fit.complete
    assert fit.rules == "the network's own loading rules settled scale"
    # safetensors have no versions: that of the network is the one that is left
    save_file({"scale": torch.full((3,), 5.0)}, tmp_path / "c.safetensors")
    fresh = Grown()
    assert load_checkpoint(fresh, tmp_path / "c.safetensors").complete
    assert fresh.scale.tolist() == [5.0] * 3


def test_a_network_that_refuses_is_left_as_it_was(tmp_path: Path) -> None:
    fresh = nn.Sequential(nn.Conv2d(1, 2, 3), Grown())
    before, parts = copy.deepcopy(fresh.state_dict()), dict(fresh[1]._parameters)
    state = {"0.weight": torch.ones(2, 1, 3, 3), "0.bias": torch.ones(2), "1.scale": torch.ones(5)}
    with pytest.raises(ProbeError, match=r"1.scale is \(5,\), not \(3,\)"):
        loaded(state, fresh, tmp_path)
    assert all(torch.equal(before[key], value) for key, value in fresh.state_dict().items())
    assert fresh[1]._parameters["scale"] is parts["scale"] and fresh[1].told == []


def test_a_lazy_network_that_refuses_stays_lazy(tmp_path: Path) -> None:
    lazy = nn.Sequential(nn.LazyConv2d(2, 3), nn.Linear(3, 3))
    state = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(4, 3)).state_dict()
    with pytest.raises(ProbeError, match=r"1\.weight is"):
        loaded(state, lazy, tmp_path)
    assert lazy[0].has_uninitialized_params()
    good = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(3, 3))
    assert loaded(good.state_dict(), lazy, tmp_path).complete
    assert torch.equal(lazy[0].weight, good[0].weight)


def test_tied_weights_have_one_name_in_safetensors(tmp_path: Path) -> None:
    made, fresh = Tied(), Tied()
    save_model(made, str(tmp_path / "c.safetensors"))
    fit = load_checkpoint(fresh, tmp_path / "c.safetensors")
    assert same(fresh, made) and fit.complete and fit.warnings == ()
    torn = made.state_dict() | {"outer.weight": torch.ones(2, 2, 3, 3)}
    fit = loaded(torn, fresh, tmp_path)
    assert fit.warnings == (
        "inner.weight and outer.weight are one weight of the network and differ in the "
        "checkpoint; the last of them is taken",
    )
    state = {key: value for key, value in made.state_dict().items() if "weight" not in key}
    with pytest.raises(ProbeError, match=r"missing \(inner.weight, outer.weight, last.weight"):
        loaded(state, fresh, tmp_path)


def test_whole_numbers_that_were_cast_with_the_rest(tmp_path: Path) -> None:
    made = trained()
    fresh = network()
    fit = loaded(halved(made), fresh, tmp_path)
    assert fit.cast == {"float16 to float32": 6, "float16 to int64": 1} and fit.complete
    assert torch.equal(fresh[0].weight, made[0].weight.half().float())
    indexed = nn.Module()
    indexed.register_buffer("index", torch.arange(4))
    assert loaded({"index": torch.arange(4).half()}, indexed, tmp_path).complete
    with pytest.raises(ProbeError, match="index is float16, not int64"):
        loaded({"index": torch.arange(4).half() + 0.5}, indexed, tmp_path)
    with pytest.raises(ProbeError, match=r"0\.weight is int8, not float32"):
        loaded(halved(made) | {"0.weight": torch.ones(2, 1, 3, 3, dtype=torch.int8)}, fresh,
               tmp_path)  # fmt: skip


def test_weights_that_are_stored_otherwise_are_explained(tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 4, 3))
    for source, target, where in (
        (spectral(), plain, "weights of the checkpoint are computed from others"),
        (plain, spectral(), "weights of the network are computed from others"),
        (
            nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(1, 4, 3))),
            spectral(),
            "of the checkpoint",
        ),
    ):
        with pytest.raises(ProbeError, match=f"{where}.*on both sides, or remove it"):
            loaded(source.state_dict(), target, tmp_path)
    flat = {"_fsdp_wrapped_module._flat_param": torch.ones(40)}
    with pytest.raises(ProbeError, match="FSDP stored them flat"):
        loaded(flat, plain, tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*[Qq]uantiz")
def test_tensors_that_are_no_plain_numbers_are_explained(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.ones(4, 1, 3, 3), 0.1, 0, torch.qint8)
    for value in (quantised, torch.eye(3).to_sparse(), torch.empty(3, device="meta")):
        with pytest.raises(ProbeError, match=r"not plain numbers .*dequantize.*to_dense"):
            loaded({"0.weight": value}, network(), tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64,
                                   torch.float8_e4m3fn, torch.float8_e5m2])  # fmt: skip
def test_every_kind_of_float_is_cast(dtype: torch.dtype, tmp_path: Path) -> None:
    made, fresh = trained(), network()
    stored = {key: value.to(dtype) if value.is_floating_point() else value
              for key, value in made.state_dict().items()}  # fmt: skip
    assert loaded(stored, fresh, tmp_path).complete
    assert torch.equal(fresh[0].weight, stored["0.weight"].float())


class Switched(nn.Module):
    """A layer that saves what its answer depends on beside its tensors, as plain values."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * self.factor

    def get_extra_state(self) -> dict[str, Any]:
        return {"factor": self.factor, "seen": [1, (2, "three")]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.factor = state["factor"]


def switched(factor: float = 1.0) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), Switched(factor))


@pytest.mark.parametrize("start", ["", "module."])
@pytest.mark.parametrize("partial", [False, True])
def test_extra_state_of_plain_values_is_loaded_under_every_name(
    tmp_path: Path, start: str, partial: bool
) -> None:
    saved, made = switched(3.0), switched()
    state = {start + key: value for key, value in saved.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    fit = load_checkpoint(made, tmp_path / "weights.pt", partial)
    images = torch.rand(1, 1, 8, 8)
    assert fit.complete and made[1].factor == 3.0
    assert torch.equal(made(images), saved(images))


@pytest.mark.parametrize(("given", "taken"), [("more", "unexpected"), ("less", "missing")])
def test_extra_state_on_one_side_only_is_refused_unless_partial(
    tmp_path: Path, given: str, taken: str
) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 3))
    saved, made = (switched(), plain) if given == "more" else (plain, switched())
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    before = copy.deepcopy(made)
    with pytest.raises(ProbeError, match=rf"1 {taken} \(1\._extra_state\).*--allow-partial"):
        load_checkpoint(made, tmp_path / "weights.pt")
    assert all(map(torch.equal, before.parameters(), made.parameters()))
    fit = load_checkpoint(made, tmp_path / "weights.pt", allow_partial=True)
    assert fit.loaded == 2 and "_extra_state" in fit.warnings[0]


def test_extra_state_is_part_of_a_networks_hash() -> None:
    one, other = switched(1.0), switched(2.0)
    other.load_state_dict({**one.state_dict(), "1._extra_state": {"factor": 2.0}})
    assert state_sha256(one) != state_sha256(other)
