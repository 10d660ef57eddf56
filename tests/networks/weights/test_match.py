"""How a checkpoint meets a network: prefixes, averaged weights, kinds of numbers, leftovers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import network, same, trained
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotations
from invariance_probe.networks import Fit, build_network, load_checkpoint, load_state, read_state
from invariance_probe.probing import ProbeConfig, probe

PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "encoder.", "module.model.",
            "_orig_mod.module.", "model.backbone.")  # fmt: skip


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


def loaded(content: Any, folder: Path, **options: Any) -> tuple[nn.Module, Fit]:
    torch.save(content, folder / "c.pt")
    fresh = network()
    return fresh, load_checkpoint(fresh, folder / "c.pt", **options)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_dropped_and_said(tmp_path: Path, prefix: str) -> None:
    made = trained()
    fresh, fit = loaded(prefixed(prefix, made.state_dict()), tmp_path)
    assert same(fresh, made) and fit.complete
    assert fit.renamed == f"prefix '{prefix}' dropped (7 keys)"
    assert fit.renamed in fit.notes


def test_a_prefix_that_the_network_has_is_added(tmp_path: Path) -> None:
    made = trained()
    torch.save(made.state_dict(), tmp_path / "c.pt")
    parallel = nn.DataParallel(network())
    fit = load_checkpoint(parallel, tmp_path / "c.pt")
    assert same(parallel.module, made) and fit.renamed == "prefix 'module.' added (7 keys)"


def test_marks_of_parallel_and_compiled_parts_inside(tmp_path: Path) -> None:
    made = trained()
    state = {key.replace("0.", "0.module.").replace("1.", "1._orig_mod."): value
             for key, value in made.state_dict().items()}  # fmt: skip
    fresh, fit = loaded(state, tmp_path)
    assert same(fresh, made)
    assert fit.renamed == "'module.' and '_orig_mod.' dropped (7 keys)"
    fresh, fit = loaded(prefixed("model.", state), tmp_path)
    assert same(fresh, made) and "and prefix 'model.' dropped (7 keys)" in fit.renamed


def test_a_prefix_of_the_fitting_keys_only_is_a_partial_load(tmp_path: Path) -> None:
    made = trained()
    state = prefixed("model.", made.state_dict()) | {"loss.weight": torch.ones(2)}
    with pytest.raises(ProbeError, match=r"1 unexpected \(loss.weight\); all weights .*partial"):
        loaded(state, tmp_path)
    fresh, fit = loaded(state, tmp_path, allow_partial=True)
    assert same(fresh, made)
    assert (fit.loaded, fit.unexpected, fit.missing, fit.complete) == (
        7,
        ("loss.weight",),
        (),
        False,
    )
    assert fit.warnings == ("only 7 weights come from the checkpoint: 1 unexpected (loss.weight)",)


def test_the_names_of_a_network_with_such_a_child_are_kept(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.encoder = trained(), trained(4)

    torch.save(Two().state_dict(), tmp_path / "c.pt")
    fit = load_checkpoint(Two(), tmp_path / "c.pt")
    assert (fit.renamed, fit.loaded, fit.complete) == ("", 14, True)
    fit = load_checkpoint(network(), tmp_path / "c.pt", allow_partial=True)
    assert (fit.loaded, len(fit.unexpected)) == (7, 7)


def test_of_two_keys_that_become_one_the_renamed_wins(tmp_path: Path) -> None:
    made = trained()
    state = prefixed("model.", made.state_dict()) | {"0.bias": torch.full((2,), 9.0)}
    fresh, fit = loaded(state, tmp_path, allow_partial=True)
    assert same(fresh, made) and fit.unexpected == ("0.bias (again)",)


def test_lightning(tmp_path: Path) -> None:
    state = prefixed("model.", trained().state_dict())
    content = {"state_dict": state, "epoch": 3, "pytorch-lightning_version": "2.5",
               "callbacks": {}, "optimizer_states": [],
               "hyper_parameters": {"lr": 0.1}}  # fmt: skip
    _, fit = loaded(content, tmp_path)
    assert (fit.entry, fit.loaded) == ("state_dict", 7)
    content["hyper_parameters"] = {"args": Namespace(lr=0.1)}
    with pytest.raises(ProbeError) as caught:
        loaded(content, tmp_path)
    said = str(caught.value)
    assert "holds pickled argparse.Namespace (in hyper_parameters), which could run code" in said
    assert "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pt')" in said
    assert "\n" not in said


def test_a_class_that_the_user_trusts_is_read(tmp_path: Path) -> None:
    torch.save({"state_dict": trained().state_dict(), "args": Namespace(lr=0.1)}, tmp_path / "c.pt")
    with torch.serialization.safe_globals([Namespace]):
        assert len(load_state(tmp_path / "c.pt")) == 7


def test_averaged_weights_only_when_asked(tmp_path: Path) -> None:
    plain, averaged = trained(), trained(4)
    ema = AveragedModel(averaged).state_dict()
    fresh, fit = loaded({"model": plain.state_dict(), "model_ema": ema}, tmp_path)
    assert same(fresh, plain) and fit.others == ("model_ema",)
    assert "not used: entry model_ema of the same file" in fit.notes
    assert fit.warnings == ()
    fresh, fit = loaded({"model": plain.state_dict(), "model_ema": ema}, tmp_path,
                        entry="model_ema")  # fmt: skip
    assert same(fresh, averaged)
    assert (fit.entry, fit.renamed) == ("model_ema", "prefix 'module.' dropped (7 keys)")
    nested = {"ema": {"model": averaged.state_dict()}, "epoch": 1}
    with pytest.raises(ProbeError, match=r"ask for one of its entries by name \(ema\)"):
        loaded(nested, tmp_path)
    assert loaded(nested, tmp_path, entry="ema")[1].entry == "ema.model"
    with pytest.raises(ProbeError, match="has no weights under state_dict_ema; it has ema"):
        loaded(nested, tmp_path, entry="state_dict_ema")
    with pytest.raises(ProbeError, match="has one state dict and no entries"):
        loaded(plain.state_dict(), tmp_path, entry="ema")


def test_kinds_of_numbers(tmp_path: Path) -> None:
    state = trained().state_dict()
    half = {key: value.half() if value.is_floating_point() else value.int()
            for key, value in state.items()}  # fmt: skip
    fresh, fit = loaded(half, tmp_path)
    assert fit.cast == {"float16 to float32": 6, "int32 to int64": 1}
    assert "cast from float16 to float32 (6)" in fit.notes
    assert torch.equal(fresh[0].weight, half["0.weight"].float())
    for wrong in (torch.int8, torch.bool, torch.complex64):
        bad = state | {"0.weight": state["0.weight"].to(wrong)}
        kind = str(wrong).removeprefix("torch.")
        with pytest.raises(ProbeError, match=f"0.weight is {kind}, not float32"):
            loaded(bad, tmp_path)
        assert loaded(bad, tmp_path, allow_partial=True)[1].mistyped == ("0.weight",)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = trained().state_dict()
    state["0.bias"][0] = torch.nan
    fit = loaded(state, tmp_path)[1]
    assert fit.complete and fit.non_finite == ("0.bias",)
    assert fit.warnings == ("1 weights hold values that are not finite (0.bias)",)
    large = {key: value.double() * 1e300 if value.is_floating_point() else value
             for key, value in trained().state_dict().items()}  # fmt: skip
    assert len(loaded(large, tmp_path)[1].non_finite) == 6


def test_names_in_messages_cannot_break_lines_or_styles(tmp_path: Path) -> None:
    nasty = {
        "a\nb\x1b[31m": torch.ones(1),
        "[bold]x[/bold]": torch.ones(1),
        "k" * 999: torch.ones(1),
    }
    for content in (nasty, {"state_dict": nasty}, dict.fromkeys(nasty, 3)):
        with pytest.raises(ProbeError) as caught:
            loaded(content, tmp_path)
        said = str(caught.value)
        assert said.isprintable() and r"'a\nb\x1b[31m'" in said and "'[bold]x[/bold]'" in said
        assert len(said) < 2000
    odd = tmp_path / "a\nfile[red].pt"
    torch.save(trained().state_dict(), odd)
    with pytest.raises(ProbeError) as caught:
        load_checkpoint(nn.Linear(2, 2), odd)
    assert str(caught.value).isprintable()


def test_a_network_without_weights(tmp_path: Path) -> None:
    torch.save(trained().state_dict(), tmp_path / "c.pt")
    with pytest.raises(ProbeError, match="7 unexpected"):
        load_checkpoint(nn.ReLU(), tmp_path / "c.pt", allow_partial=True)


def test_partial_checkpoints_of_built_networks(tmp_path: Path) -> None:
    own = build_network("mnist_cnn").module
    first = next(iter(own.state_dict()))
    state = {key: value for key, value in own.state_dict().items() if key != first}
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ProbeError, match=f"1 missing .{first}"):
        build_network("mnist_cnn", tmp_path / "part.safetensors")
    network = build_network("mnist_cnn", tmp_path / "part.safetensors", allow_partial=True)
    assert f"{len(state)} weights of part.safetensors, the others as built" in network.description
    assert network.fit is not None and network.fit.missing == (first,)
    twin = build_network("symmetrised:mnist_cnn", tmp_path / "part.safetensors", allow_partial=True)
    assert twin.fit == network.fit


def test_reports_say_what_was_loaded(tmp_path: Path) -> None:
    own = build_network("mnist_cnn").module
    state = {key: value.half() for key, value in own.state_dict().items()}
    torch.save({"model": state | {"extra": torch.ones(1)}, "ema": state}, tmp_path / "c.pt")
    network = build_network("mnist_cnn", tmp_path / "c.pt", allow_partial=True)
    images = np.random.default_rng(0).random((4, 1, 28, 28)).astype(np.float32)
    told = probe(network, "conv1", rotations(0, 90, step=90), images).provenance
    assert told["network"]["preprocessing"].startswith("28x28 px, mean 0.1307, std 0.3081")
    assert f"cast from float16 to float32 ({len(state)})" in told["network"]["checkpoint"]
    assert any(text.startswith("checkpoint: only ") for text in told["warnings"])
    assert network.fit is not None and network.fit.others == ("ema",)


def test_configurations_carry_both_choices() -> None:
    config = ProbeConfig(checkpoint="c.pt", checkpoint_entry="ema", allow_partial=True)
    assert ProbeConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ProbeError, match="allow_partial=1 must be true or false"):
        ProbeConfig(allow_partial=1)  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="checkpoint_entry=3 must be a text"):
        ProbeConfig(checkpoint_entry=3)  # type: ignore[arg-type]


def test_read_state_keeps_the_keys_of_the_file(tmp_path: Path) -> None:
    torch.save({"net": prefixed("module.", trained().state_dict())}, tmp_path / "c.pt")
    assert all(key.startswith("module.") for key in read_state(tmp_path / "c.pt").tensors)
    assert not any(key.startswith("module.") for key in load_state(tmp_path / "c.pt"))
