"""A run that is stopped anywhere, kill -9 included, ends in the same bits as one that is not."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from invariance_probe import ProbeError
from invariance_probe.training import Progress, Recipe, train

MADE_UP = Path(__file__).with_name("made_up.py")
ROOT = Path(__file__).resolve().parents[2]
made = SimpleNamespace(**runpy.run_path(str(MADE_UP)))

RECIPE = Recipe(
    iterations=23, batch_size=20, learning_rate=0.05, seed=4, report_every=10,
    localisation_factor=0.5, fast=True,
)  # fmt: skip


class Stop(Exception):
    pass


def stop_after(step: int):  # type: ignore[no-untyped-def]
    def on_step(progress: Progress) -> None:
        if progress.step >= step:
            raise Stop

    return on_step


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("at", [4, 7, 10, 21])  # end of an epoch, inside one, end of a row
def test_resumes_to_the_same_bits(tmp_path: Path, at: int, optimizer: str) -> None:
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=0.01)
    whole, broken, resumed = made.Net(), made.Net(), made.Net()
    history = train(whole, made.Bars(), recipe)
    file = tmp_path / "run.progress"
    with pytest.raises(Stop):
        train(
            broken, made.Bars(), recipe, progress_file=file, save_every_steps=at,
            on_step=stop_after(at),
        )  # fmt: skip
    again = train(resumed, made.Bars(), recipe, progress_file=file)
    assert made.same(whole, resumed)
    strip = [replace(row, seconds=0) for row in history]
    assert [replace(row, seconds=0) for row in again] == strip
    finished = made.Net()
    assert train(finished, made.Bars(), recipe, progress_file=file) == again
    assert made.same(whole, finished)


def test_being_asked_to_stop_leaves_a_state(tmp_path: Path) -> None:
    whole, resumed, file = made.Net(), made.Net(), tmp_path / "run.progress"
    train(whole, made.Bars(), RECIPE)
    asked = iter([False] * 12 + [True])
    with pytest.raises(KeyboardInterrupt):
        train(made.Net(), made.Bars(), RECIPE, progress_file=file, stop=lambda: next(asked))
    with safe_open(file, framework="pt") as stream:
        assert '"step": 13' in stream.metadata()["state"]
    train(resumed, made.Bars(), RECIPE, progress_file=file)
    assert made.same(whole, resumed)


def test_files_hold_weights_in_the_usual_order(tmp_path: Path) -> None:
    file = tmp_path / "run.progress"
    net = made.Net()
    train(net, made.Bars(), RECIPE, progress_file=file)
    held = load_file(file)
    assert all(t.is_contiguous() for t in held.values())
    for name, value in net.state_dict().items():
        assert held[f"network.{name}"].equal(value)


SCRIPT = """
import runpy, sys
from pathlib import Path
from types import SimpleNamespace
from safetensors.torch import save_file
from invariance_probe.training import Recipe, train
import torch
torch.set_num_threads(1)
made = SimpleNamespace(**runpy.run_path({made_up!r}))
net = made.Net()
recipe = Recipe(iterations={steps}, batch_size=16, optimizer="adam", learning_rate=0.002,
                fast=True, seed=2)
train(net, made.Bars(), recipe, progress_file=Path(sys.argv[1]), save_every_steps=20)
save_file(net.state_dict(), sys.argv[2])
"""


def test_kill_9_and_resume(tmp_path: Path) -> None:
    def start(progress: str, out: str, steps: int) -> subprocess.Popen[bytes]:
        code = SCRIPT.format(made_up=str(MADE_UP), steps=steps)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, "-c", code, str(tmp_path / progress), str(tmp_path / out)]
        return subprocess.Popen(command, cwd=ROOT, env=environment)

    steps = 300
    killed = start("a", "a.out", steps)
    until = time.monotonic() + 60
    while not (tmp_path / "a").exists() and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    with safe_open(tmp_path / "a", framework="pt") as stream:
        assert f'"step": {steps},' not in stream.metadata()["state"], "killed too late"
    both = [start("a", "a.out", steps), start("b", "b.out", steps)]
    assert [process.wait(60) for process in both] == [0, 0]
    resumed, whole = load_file(tmp_path / "a.out"), load_file(tmp_path / "b.out")
    assert all(resumed[name].equal(whole[name]) for name in whole)


def test_progress_of_another_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.progress"
    train(made.Net(), made.Bars(), RECIPE, progress_file=file)
    with pytest.raises(ProbeError) as e:
        train(
            made.Net(), made.Bars(), replace(RECIPE, learning_rate=0.1, clip=2.0),
            progress_file=file,
        )  # fmt: skip
    assert "belongs to another run (clip: null -> 2.0, learning_rate: 0.05 -> 0.1)" in str(e.value)
    with pytest.raises(ProbeError, match=r"run \(examples: 64-4-1-8\.\.\. -> 40-4-1-8\.\.\.\)"):
        train(made.Net(), made.Bars(40), RECIPE, progress_file=file)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(ProbeError, match="belongs to another network; remove it to start afresh"):
        train(other, made.Bars(), RECIPE, progress_file=file)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    file.write_bytes(flipped)
    with pytest.raises(ProbeError, match="is damaged: its numbers are not those that were saved"):
        train(made.Net(), made.Bars(), RECIPE, progress_file=file)
    file.write_bytes(whole[:200])
    with pytest.raises(ProbeError, match="is no progress of a training run"):
        train(made.Net(), made.Bars(), RECIPE, progress_file=file)
