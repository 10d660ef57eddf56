"""Checkpoints: read without running code, loaded whole or refused with the reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from invariance_probe.errors import ProbeError
from invariance_probe.networks import file_sha256, load_checkpoint, load_state


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(3)
    return network()


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_safetensors_by_content_not_by_name(trained: nn.Module, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "weights.bin"):
        save_file(trained.state_dict(), tmp_path / name)
        fresh = network()
        load_checkpoint(fresh, tmp_path / name)
        assert same(fresh, trained)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_files_of_torch_save(
    trained: nn.Module, tmp_path: Path, wrap: str | None, prefix: str
) -> None:
    state = {prefix + key: value for key, value in trained.state_dict().items()}
    torch.save(state if wrap is None else {wrap: state, "epoch": 3}, tmp_path / "weights.pt")
    fresh = network()
    load_checkpoint(fresh, tmp_path / "weights.pt")
    assert same(fresh, trained)


def test_half_precision_is_taken_as_stored(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.half().state_dict(), tmp_path / "half.safetensors")
    state = load_state(tmp_path / "half.safetensors")
    assert state["0.weight"].dtype == torch.float16
    fresh = network()
    load_checkpoint(fresh, tmp_path / "half.safetensors")
    assert fresh[0].weight.dtype == torch.float32
    assert torch.equal(fresh[0].weight, trained[0].weight.float())


class Loud:
    """An object whose unpickling would leave a trace."""

    trace: Path

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (Path.touch, (self.trace,))  # type: ignore[return-value]


def test_pickled_objects_are_named_refused_and_never_run(tmp_path: Path) -> None:
    loud = Loud()
    loud.trace = tmp_path / "ran"
    torch.save({"model": loud}, tmp_path / "loud.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"model": loud}))
    for name in ("loud.pt", "plain.pkl"):
        with pytest.raises(ProbeError) as caught:
            load_state(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ProbeError, match=r"pickled .*refused; .*safetensors"):
        load_state(tmp_path / "loud.pt")
    assert not loud.trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"not weights at all, but text\n", "is no checkpoint")],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ProbeError, match=message):
        load_state(tmp_path / "weights.pt")


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_cut_short_is_damaged(trained: nn.Module, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save(trained.state_dict(), path)
    else:
        save_file(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ProbeError, match="damaged or cut off"):
        load_state(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="does not exist"):
        load_state(tmp_path / "none.pt")
    with pytest.raises(ProbeError, match="is a folder; give the file inside it"):
        load_state(tmp_path)


def test_a_checkpoint_that_does_not_fit_is_told_apart(tmp_path: Path) -> None:
    other = nn.Sequential(nn.Conv2d(1, 2, 5), nn.Identity(), nn.Linear(2, 2))
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    fresh = network()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    with pytest.raises(ProbeError) as caught:
        load_checkpoint(fresh, tmp_path / "other.safetensors")
    text = str(caught.value)
    assert "missing" in text and "1.weight" in text
    assert "unexpected" in text and "2.weight" in text
    assert "0.weight" in text and "5" in text
    assert "\n" not in text
    assert all(torch.equal(before[key], value) for key, value in fresh.state_dict().items())


def test_a_dictionary_of_other_things_is_no_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "log.pt")
    with pytest.raises(ProbeError, match="holds no state dict"):
        load_state(tmp_path / "log.pt")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ProbeError, match="holds a list, not a state dict"):
        load_state(tmp_path / "list.pt")


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")
