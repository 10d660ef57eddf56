"""A probe that is stopped or killed goes on to the same bits, and only where it is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import many
import numpy as np
import pytest
import torch
from scenes import noise
from torch import Tensor, nn

from invariance_probe.errors import ProbeError
from invariance_probe.geometry import rotation, rotations
from invariance_probe.probing import probe
from invariance_probe.running.frozen import freeze, thaw
from invariance_probe.running.processes import Group
from invariance_probe.running.resume import Unfinished, read_about, remove, unfinished_folder

IMAGES = noise(13, 16, 12)
RUN: dict[str, Any] = {"batch_size": 3, "resamples": 20}


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))


def after(steps: int) -> Callable[[], bool]:
    """Asks to stop after so many steps."""
    asked = iter(range(10**6))
    return lambda: next(asked) + 1 >= steps


def measured(folder: Path | None = None, **changes: Any) -> Any:
    moves = ["rotation:30", "identity", "rotation:90"]
    return probe(small(), ["0", "2"], moves, IMAGES, unfinished=folder, **{**RUN, **changes})


@pytest.mark.parametrize(
    "changes", [{}, {"weighting": "channel", "per_image": True}, {"dense": 2}, {"dense": "auto"}]
)
def test_stopped_anywhere_it_goes_on_to_the_same_bits(tmp_path: Path, changes: Any) -> None:
    whole = measured(memory="10kB", **changes)
    folder = tmp_path / "out.unfinished"
    stops = 0
    while True:
        try:
            went_on = measured(folder, memory="10kB", resume=True, stop=after(3), **changes)
            break
        except KeyboardInterrupt as stopped:
            assert str(folder) in str(stopped)
            stops += 1
    assert stops >= 5
    assert went_on.equals(whole)
    assert not folder.exists()


def test_blocks_change_no_bit() -> None:
    one, many_blocks = measured(), measured(memory="10kB")
    assert one.provenance["numerics"]["blocks"] == 1
    assert many_blocks.provenance["numerics"]["blocks"] == 3
    assert any(text.startswith("memory: the sums of one") for text in many_blocks.warnings)
    np.testing.assert_array_equal(one.errors, many_blocks.errors)
    assert one.residuals.equals(many_blocks.residuals)
    assert one.alignments.equals(many_blocks.alignments)
    assert one.channels.equals(many_blocks.channels)


def test_what_is_another_run_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a.unfinished"
    with pytest.raises(KeyboardInterrupt):
        measured(folder, stop=after(3))
    with pytest.raises(ProbeError, match=r"holds a probe that was not finished; go on .*--resume"):
        measured(folder)
    with pytest.raises(
        ProbeError, match=r"is another one \(options.erode: auto -> 1.0\); go on as"
    ):
        measured(folder, resume=True, erode=1.0)
    network = small()
    network[0].weight.data += 1
    moves = ["rotation:30", "identity", "rotation:90"]
    with pytest.raises(ProbeError, match=r"another one \(weights: \w{8}\.\.\. -> \w{8}\.\.\.\)"):
        probe(network, ["0", "2"], moves, IMAGES, unfinished=folder, resume=True, **RUN)
    with pytest.raises(ProbeError, match=r"another one \(images: "):
        probe(small(), ["0", "2"], moves, noise(13, 16, 12, seed=9), unfinished=folder,
              resume=True, **RUN)  # fmt: skip
    about = folder / "state.json"
    text = about.read_text()
    for name, told in (("processes", "processes: 2 -> 1"), ("version", "version: old -> ")):
        changed = json.loads(text)
        changed["identity"][name] = 2 if name == "processes" else "old"
        about.write_text(json.dumps(changed))
        with pytest.raises(ProbeError, match=told):
            measured(folder, resume=True)
    about.write_text(text)
    assert measured(folder, overwrite=True).equals(measured())
    assert not folder.exists()


def test_sums_of_another_run_are_refused(tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("b", {"weighting": "channel"})):
        with pytest.raises(KeyboardInterrupt):
            measured(tmp_path / name, stop=after(3), **changes)
    (state,) = (tmp_path / "b").glob("*.pt")
    state.replace(tmp_path / "a" / "1-0.pt")
    with pytest.raises(ProbeError, match=r"1-0\.pt belongs to another run; begin again with --ov"):
        measured(tmp_path / "a", resume=True)


def test_code_that_changed_is_another_run(tmp_path: Path) -> None:
    folder = tmp_path / "a.unfinished"
    with pytest.raises(KeyboardInterrupt):
        measured(folder, stop=after(3))
    network = small()
    network[1] = nn.Tanh()  # the same weights
    moves = ["rotation:30", "identity", "rotation:90"]
    with pytest.raises(ProbeError, match="layer 2 gave other maps of the first image"):
        probe(network, ["0", "2"], moves, IMAGES, unfinished=folder, resume=True, **RUN)


def test_two_runs_in_one_place_are_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "a.unfinished"
    told: list[str] = []

    def second() -> bool:
        if not told:
            with ThreadPoolExecutor(1) as pool, pytest.raises(ProbeError) as caught:
                pool.submit(measured, folder).result()
            told.append(str(caught.value))
        return False

    assert measured(folder, stop=second).equals(measured())
    assert told == [
        f"{folder} is being written by another run; wait until it ends, or name another folder"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_state_whose_removal_was_cut_off_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a.unfinished"
    with pytest.raises(KeyboardInterrupt):
        measured(folder, stop=after(3))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_args, **_options: None)  # killed before it
        remove(folder)
    assert [path.name for path in folder.iterdir()] == ["1-0.pt"]
    assert measured(folder, resume=True).equals(measured())
    assert not folder.exists()


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "a.unfinished"
    with pytest.raises(KeyboardInterrupt):
        measured(folder, stop=after(3))
    (state,) = folder.glob("*.pt")
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    with pytest.raises(ProbeError, match=r"1-0\.pt is damaged .*begin again with --overwrite"):
        measured(folder, resume=True)
    state.unlink()
    with pytest.raises(ProbeError, match=r"1-0\.pt is missing, the state of process 0"):
        measured(folder, resume=True)
    state.mkdir()  # nor may the system's refusal lead to a new beginning
    with pytest.raises(ProbeError, match=r"cannot read .*1-0\.pt' .*; put that right"):
        measured(folder, resume=True)
    (folder / "state.json").write_text("{}")
    with pytest.raises(ProbeError, match="describes no unfinished probe"):
        measured(folder, resume=True)
    (folder / "state.json").unlink()
    (folder / "state.json").mkdir()
    with pytest.raises(ProbeError, match=r"cannot read .*state\.json' \(is no file\)"):
        measured(folder, resume=True)


def test_a_flipped_bit_in_the_sums_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "a.unfinished"
    with pytest.raises(KeyboardInterrupt):
        measured(folder, stop=after(3))
    (state,) = folder.glob("*.pt")
    content = bytearray(state.read_bytes())
    with zipfile.ZipFile(state) as archive:
        sums = max(archive.infolist(), key=lambda entry: entry.file_size)
    content[sums.header_offset + len(sums.filename) + 64 + sums.file_size // 2] ^= 1
    state.write_bytes(content)
    torch.load(state, weights_only=True)  # PyTorch itself sees nothing
    with pytest.raises(ProbeError, match=r"1-0\.pt is damaged .*checksum"):
        measured(folder, resume=True)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = unfinished_folder(tmp_path / "a")
    folder.mkdir()
    (folder / "thesis.tex").write_text("dear")
    with pytest.raises(ProbeError, match="is in the way of an unfinished probe's state"):
        read_about(folder)


def test_the_moments_are_not_kept_after_the_search(tmp_path: Path) -> None:
    folder = tmp_path / "a.unfinished"
    sizes = {}
    for steps, name in ((6, "fit"), (10, "evaluate")):
        with pytest.raises(KeyboardInterrupt):
            probe(small(), "0", rotations(-30, 30, step=30), noise(20, 40, 30), unfinished=folder,
                  stop=after(steps), overwrite=True, batch_size=5, resamples=20)  # fmt: skip
        (state,) = folder.glob("*.pt")
        sizes[name] = state.stat().st_size
        held = torch.load(state, weights_only=True)
        assert thaw(held)["state"]["phase"] == {"fit": 0, "evaluate": 2}[name]
    # What stays are the operators of the bound, a part of its moments.
    assert sizes["evaluate"] < 0.8 * sizes["fit"]


def test_saving_costs_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    keeper = Unfinished(tmp_path / "a", Group(), every=10)
    now[0] = 9.9
    assert not keeper.due()
    now[0] = 10.0
    assert keeper.due()

    def slow(*args: Any) -> None:
        now[0] += 3

    monkeypatch.setattr(torch, "save", slow)
    keeper.save({})
    now[0] += 59
    assert not keeper.due(), "20 times the 3 seconds that saving took"
    now[0] += 2
    assert keeper.due()


# --- killed --------------------------------------------------------------------------------------

PROBE = """
import sys
from pathlib import Path
from invariance_probe.probing import probe
from invariance_probe.running.processes import processes
{made}
with processes("cpu") as (group, device):
    out = Path(sys.argv[1])
    result = probe(network, ["0", "2"], moves, images, resamples=20, batch_size=2, save_every=0,
                   resume=True, unfinished=out.with_name(out.name + ".unfinished"))
    if group.main:
        result.save(out)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_it_goes_on_to_the_same_files(tmp_path: Path, world: int) -> None:
    code = PROBE.format(made=many.MADE.replace("NUMBER", "21"))
    for code_of, _, said in many.ends(many.start(code, world, str(tmp_path / "whole"))):
        assert code_of == 0, said
    out, state = tmp_path / "killed", tmp_path / "killed.unfinished" / "state.json"
    started = many.start(code, world, str(out))
    until = time.monotonic() + 60
    while not (state.exists() and json.loads(state.read_text())["number"] >= 5):
        assert time.monotonic() < until and started[0].poll() is None, many.ends(started)
        time.sleep(0.005)
    for process in started:
        process.kill()
    many.ends(started)
    assert not out.exists()
    for code_of, _, said in many.ends(many.start(code, world, str(out))):
        assert code_of == 0, said
    assert not state.parent.exists()
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert {path.name for path in out.iterdir()} == names
    for name in names - {"per_image.npz"}:  # a zip file holds the time
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_the_command_line_stops_and_goes_on(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(many.ROOT), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "invariance_probe", "probe", "--out", "out", "--no-figures"]
    args = ["--layers", "conv1", "--number", "60", "--batch-size", "4", "--resamples", "20"]
    state = tmp_path / "out.unfinished" / "state.json"
    with subprocess.Popen(
        [*start, *args, "--save-every", "0"], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=environment, cwd=tmp_path,
    ) as process:  # fmt: skip
        until = time.monotonic() + 60
        while not state.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == (
        "stopped; go on with: invariance-probe probe --resume --out out"
    )
    assert not (tmp_path / "out").exists()
    options: dict[str, Any] = {
        "env": environment, "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 120,
    }  # fmt: skip
    again = subprocess.run([*start, *args], check=False, **options)
    assert again.returncode == 2
    assert "go on with it (--resume), or begin again (--overwrite)" in again.stderr
    both = subprocess.run([*start, "--resume", "--overwrite"], check=False, **options)
    assert "--resume keeps the probe and --overwrite replaces it" in both.stderr
    done = subprocess.run([*start, "--resume"], check=False, **options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "residuals.csv").exists()
    assert not state.parent.exists()


# --- plain values --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Foreign:
    value: Tensor = field(default_factory=lambda: torch.zeros(1))


def test_own_objects_come_back_and_others_do_not() -> None:
    move = rotation(30)
    assert thaw(freeze({"move": (move, None, [1.5, True])})) == {"move": (move, None, [1.5, True])}
    array = np.array([[True, False]])
    again = thaw(freeze([array, np.float64(0.1), np.int64(3)]))
    assert again[0].dtype == bool and (again[0] == array).all()
    assert [type(value) for value in again[1:]] == [float, int]
    for stranger in (Foreign(), len, Path("a"), torch.float32):
        with pytest.raises(TypeError, match="cannot be stored as plain values"):
            freeze(stranger)
    for text in ("os:system", "invariance_probe.cli:main", "invariance_probe.running.frozen:Any"):
        with pytest.raises(ProbeError, match="unknown class"):
            thaw(["object", text, {}])
    with pytest.raises(ProbeError, match="unknown kind of value 'call'"):
        thaw(["call", 1])
