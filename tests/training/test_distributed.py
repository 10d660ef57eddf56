"""Two processes with half a batch each train as one process with the whole batch."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from invariance_probe import ProbeError
from invariance_probe.running.processes import Group, processes
from invariance_probe.training import Recipe, evaluate_passes, train

MADE_UP = Path(__file__).with_name("made_up.py")
ROOT = Path(__file__).resolve().parents[2]
made = SimpleNamespace(**runpy.run_path(str(MADE_UP)))

# 63 examples in batches of 31 leave a batch of one: one of two processes has nothing to do then.
RECIPE = Recipe(
    iterations=25, batch_size=31, learning_rate=0.05, momentum=0.9, weight_decay=0.001, clip=2.0
)

SCRIPT = """
import json, runpy, sys
from pathlib import Path
from types import SimpleNamespace
from safetensors.torch import save_file
from invariance_probe import ProbeError
from invariance_probe.training import Recipe, evaluate_passes, processes, train
import torch
torch.set_num_threads(1)
made = SimpleNamespace(**runpy.run_path({made_up!r}))
out = Path(sys.argv[1])
with processes("cpu") as (group, device):
    net = made.Net(dropout=0)
    if group.rank:  # as after a restart on a machine that has nothing
        torch.nn.init.zeros_(net.head.weight)
    recipe = Recipe(**{recipe!r})
    def stop(progress):
        if progress.step == 20:
            raise StopIteration
    try:
        train(net, made.Bars(63), recipe, progress_file=out / "progress" if group.main else
              out / "elsewhere", save_every_steps=20, on_step=stop)
    except StopIteration:
        pass
    net = made.Net(dropout=0)
    rows = train(net, made.Bars(63), recipe, progress_file=out / "progress" if group.main else
                 out / "elsewhere", test=made.Bars(10))
    save_file(net.state_dict(), out / f"{{group.rank}}.safetensors")
    kept = [[r.step, r.loss, r.accuracy] for r in rows]
    (out / f"{{group.rank}}.json").write_text(json.dumps(kept))
    def fail():
        raise ProbeError("only the first process knows")
    try:
        group.from_main(fail)
    except ProbeError as error:
        (out / f"{{group.rank}}.txt").write_text(str(error))
"""


def free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return int(some.getsockname()[1])


def test_two_processes_are_one(tmp_path: Path) -> None:
    recipe = {k: v for k, v in RECIPE.as_dict().items() if v is not None}
    code = SCRIPT.format(made_up=str(MADE_UP), recipe=recipe)
    started = []
    port = free_port()
    for rank in range(2):
        environment = {
            **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        command = [sys.executable, "-c", code, str(tmp_path)]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE))
    ends = [process.communicate(timeout=90) for process in started]
    assert [process.returncode for process in started] == [0, 0], ends
    alone = made.Net(dropout=0)
    history = train(alone, made.Bars(63), RECIPE)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    for name, value in alone.state_dict().items():
        assert first[name].equal(second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
    rows = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert rows[0] == rows[1]
    assert [row[0] for row in rows[0]] == [row.step for row in history]
    for (_, loss, accuracy), row in zip(rows[0], history, strict=True):
        assert loss == pytest.approx(row.loss, rel=1e-4)
        assert accuracy == pytest.approx(row.accuracy, abs=1e-9)
    assert (tmp_path / "progress").exists()
    assert not (tmp_path / "elsewhere").exists(), "only the first process writes"
    texts = {(tmp_path / f"{rank}.txt").read_text() for rank in range(2)}
    assert texts == {"only the first process knows"}
    assert evaluate_passes(alone, made.Bars(63), 1).number == 63


@pytest.mark.parametrize(("size", "world"), [(8, 2), (7, 3), (1, 4)])
def test_parts_cover_a_batch(size: int, world: int) -> None:
    batch = torch.randperm(size)
    parts = [Group(rank, world).part(batch) for rank in range(world)]
    assert torch.cat(parts).equal(batch)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone() -> None:
    with processes("cpu") as (group, device):
        assert (group.rank, group.world, group.main, device.type) == (0, 1, True, "cpu")
        assert group.from_main(lambda: 3) == 3
        assert group.total(torch.ones(2)).tolist() == [1, 1]


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "process 2 of this machine has no GPU of its own, there are 2; start as many"
    with pytest.raises(ProbeError, match=message), processes("cuda"):
        pass
