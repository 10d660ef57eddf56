"""Memory in blocks, batch sizes, precision, devices and the time left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import noise, smooth
from torch import Tensor, nn

from invariance_probe.alignment import Variance
from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network
from invariance_probe.probing import Options, oracle, probe
from invariance_probe.probing.bench.batch_size import MOST, activation_bytes, with_batch_size
from invariance_probe.probing.bench.look import Looker, Meter
from invariance_probe.probing.bench.memory import blocks_of, free_memory, memory_limit
from invariance_probe.probing.options import memory_size
from invariance_probe.running.devices import find_device, home_of, there
from invariance_probe.running.sums import clear, empty, leaves, rows, size

CPU = torch.device("cpu")


@given(st.integers(1, 60), st.integers(1, 10**6), st.integers(1, 10**7))
def test_blocks_hold_every_transformation_once_and_keep_to_the_limit(number, each, limit):
    blocks = blocks_of(number, each, limit)
    assert [which for block in blocks for which in block] == list(range(number))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
    assert all(len(block) == 1 or len(block) * each <= limit for block in blocks)
    fewer = len(blocks) - 1
    assert fewer == 0 or -(-number // fewer) * each > limit, "no block too many"


@pytest.mark.parametrize(
    ("text", "number"),
    [("3GB", 3 * 10**9), ("512 MiB", 512 * 2**20), ("2e6", 2_000_000), ("1.5kb", 1500)],
)
def test_sizes_are_read(text, number):
    assert memory_size(text) == number
    assert memory_limit(Options(memory=text), CPU) == number


@pytest.mark.parametrize("text", ["much", "-3GB", "0GB", "3PB", "GB", 5, ""])
def test_other_sizes_are_refused(text):
    with pytest.raises(ProbeError, match=r"memory=.* is no size; give a text such as '3GB'"):
        Options(memory=text)


def test_processes_of_one_machine_share_what_is_free(monkeypatch):
    alone = free_memory(CPU)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory(CPU) == pytest.approx(alone / 4, rel=0.2)


# --- sums ----------------------------------------------------------------------------------------


def test_sums_are_found_cleared_and_freed():
    variance = Variance(torch.zeros(2))
    variance.update(torch.ones(3, 2, 4, 4), torch.ones(4, 4))
    held = [variance, [variance]]
    assert {path for path, _, _ in leaves(held)} == {
        ".0._channel_squares", ".1.0._channel_squares",
    }  # fmt: skip
    assert {name for _, _, name in rows(variance)} == {"_sums", "_squares"}
    assert size(variance) == 2 * 8
    clear(variance, {"._sums"})
    assert variance._channel_squares.tolist() == [0, 0]
    assert (len(variance._sums), len(variance._squares)) == (3, 0)
    empty(variance)
    assert size(variance) == 0


# --- batch size ----------------------------------------------------------------------------------


def wide(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU())


def test_activations_are_counted():
    example = torch.zeros(1, 1, 20, 20)
    assert activation_bytes(wide(8), example, CPU) == 2 * 8 * 400 * 4
    cut_off = nn.Sequential(wide(8), nn.Flatten(), nn.Linear(5, 2))  # fails at the end
    assert activation_bytes(cut_off, example, CPU) == 3 * 8 * 400 * 4


def test_the_batch_size_follows_from_network_and_memory():
    example = torch.zeros(1, 1, 20, 20)
    sizes = [
        with_batch_size(Options(batch_size="auto", memory="16GB"), wide(n), example, CPU).batch_size
        for n in (1, 40, 10**4)
    ]
    assert sizes == [MOST, 32, 8]
    scarce = Options(batch_size="auto", memory="10MB")
    assert with_batch_size(scarce, wide(1000), example, CPU).batch_size == 1
    assert with_batch_size(Options(batch_size=5), wide(1), example, CPU).batch_size == 5


def test_the_number_stands_in_the_result():
    network, images = wide(2), noise(8, 16, 12)
    result = probe(network, "0", "rotation:30", images, resamples=20)
    number = result.provenance["options"]["batch_size"]
    assert number == 256
    given_ = probe(network, "0", "rotation:30", images, resamples=20, batch_size=number)
    np.testing.assert_array_equal(given_.errors, result.errors)


def test_a_batch_too_large_for_a_gpu_is_shown_in_halves():
    calls: list[int] = []

    def activations(images: Tensor) -> dict[str, Tensor]:
        calls.append(len(images))
        if len(images) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return {"a": images * 2}

    inputs: Any = SimpleNamespace(
        normalise=lambda canvas: canvas, images=SimpleNamespace(names="abcdefghijk")
    )
    look = Looker(activations, inputs, CPU, Options(), Meter(None, 0))  # type: ignore[arg-type]
    look.channels_last = False
    images = torch.arange(11.0)[:, None, None, None]
    assert look(images, range(11), "")["a"].flatten().tolist() == list(range(0, 22, 2))
    assert calls == [11, 5, 2, 2, 2, 2, 2, 1]
    calls.clear()
    look(images, range(11), "")
    assert max(calls) == 2, "it is not tried again"


# --- precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.003), ("float16", 0.001)])
def test_half_precision_is_close_and_stated(precision, near):
    network = build_network("mnist_cnn")
    from invariance_probe import embedded_digits

    images = embedded_digits().take(24, seed=0)
    layers, moves = ["relu1", "conv2"], ["rotation:45", "rotation:90"]
    full, half = (
        probe(network, layers, moves, images, resamples=20, precision=p, seed=1)
        for p in ("float32", precision)
    )
    spatial = ["unaligned", "inverse", "best", "input_aligned", "other_image"]
    a, b = (r.summary[spatial].to_numpy(dtype=float) for r in (full, half))
    assert 0 < np.abs(a - b).max() < near
    assert half.provenance["numerics"]["precision"] == precision
    assert any(text.startswith(f"precision: features were computed in {precision}")
               for text in half.warnings)  # fmt: skip
    assert not any(text.startswith("precision") for text in full.warnings)
    fitted = half.alignments
    assert (fitted["fit_residual"] <= fitted["fit_inverse"] + 1e-6).all()
    assert (fitted["fit_residual"] <= fitted["fit_unaligned"] + 1e-6).all()
    bound = half.bounds["bound"].to_numpy(dtype=float)
    assert (bound[half.bounds["determined"]] <= fitted["fit_residual"].to_numpy()[
        half.bounds["determined"]] + 1e-6).all()  # fmt: skip
    maps = half.channels[half.channels["determined"]]
    ladder = [f"fit_{name}" for name in ("inverse", "inverse_permuted", "inverse_orthogonal",
                                         "inverse_linear")]  # fmt: skip
    assert (maps[ladder].diff(axis=1).iloc[:, 1:].to_numpy() <= 1e-6).all()


def test_the_oracle_knows_half_precision():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(300, 4))
    found = oracle(network, "0", "rotation:90", smooth(8, 16, 12), resamples=20,
                   precision="bfloat16")  # fmt: skip
    assert found.provenance["numerics"]["precision"] == "bfloat16"
    assert isinstance(found.provenance["options"]["batch_size"], int)
    with pytest.raises(ProbeError, match=r"precision='half' is not known; use one of 'float32', "):
        Options(precision="half")  # type: ignore[arg-type]


# --- devices -------------------------------------------------------------------------------------


def test_devices_are_checked(monkeypatch):
    assert find_device("cpu") == CPU and find_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("gpu", "cuda:77", "cpu:x"):
        with pytest.raises(ProbeError, match=rf"there is no device '{name}' here; use cpu"):
            find_device(name)
    assert home_of(torch.device("mps")) == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert there()[0] == "cpu" and there()[-3:] == ["cuda:0", "cuda:1", "cuda"]
    assert find_device("auto") == torch.device("cuda")


# --- time ----------------------------------------------------------------------------------------


def test_work_is_told_in_time_and_never_goes_back(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    told: list[tuple[int, int]] = []
    meter = Meter(lambda done, total, text: told.append((done, total)), 1000)
    for kind, number in (("fit", 100), ("search", 10), ("evaluate", 100)):
        meter.plan(kind, number)
    for kind, number, each in (("fit", 100, 1.0), ("search", 10, 20.0), ("evaluate", 100, 2.0)):
        meter.begin(kind)
        for step in range(number):
            now[0] += each
            meter.add(1, kind)
            if kind == "search":
                # 100 s of the fit and 20 s a search are known, an evaluation is guessed as a fit.
                assert meter.seconds_left() == pytest.approx(20 * (9 - step) + 100)
    shown = [done for done, _ in told]
    assert shown == sorted(shown)
    assert {total for _, total in told} == {1000}
    assert shown[-1] == 1000 and shown[-2] < 1000
    assert meter.seconds_left() == 0
