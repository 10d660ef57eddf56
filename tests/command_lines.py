"""Command lines with something wrong in them, and the promise that every one must keep."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch  # noqa: F401 - PyTorch cannot be imported again where a first import was stopped
from typer.testing import CliRunner

from invariance_probe import cli

# Seconds of the processor, which a busy machine does not stretch.
STOPPED = 6.0  # after which work that was really asked for is stopped, as by Ctrl-C
SECONDS = 20.0
WAITING = 300.0  # seconds of the wall, for what waits for ever
BYTES = 2 * 10**9
LONGEST = 500  # characters of the line that says what is wrong

SMALL = "--transforms rotation:90 --number 8 --resamples 20 --layers conv2"
BASES = (
    f"probe {SMALL} --no-figures --out OUT",
    f"probe --network own:network {SMALL[:-5]}0 --network-arg weight=0.2 --no-figures --out OUT",
    f"probe {SMALL} --batch-size 4 --seed 1 --erode 1 --family rotation --weighting channel "
    "--canvas 28x28 --mean 0.1 --std 0.3 --memory 1GB --precision float32 --workers 0 "
    "--save-every 60 --no-figures --out OUT",
    f"probe --images IMAGES --image-channels 1 --skip-damaged {SMALL} --no-figures --out OUT",
    "probe --config RESULT --transforms rotation:90 --device cpu --no-figures --out OUT",
    "probe --resume --out OUT",
    "layers --network mnist_cnn --canvas 28 --layers conv1",
    "layers --network own:network --network-arg weight=0.5 --all",
    "layers --network mnist_cnn --checkpoint weights.pt --checkpoint-entry model --by-order",
    "plot RESULT --format svg --figure-width 85 --out OUT",
    "compare RESULT RESULT --names a,b --baseline a --along 1,2 --layers conv2 "
    "--quantities inverse --level 0.9 --resamples 20 --no-figures --out OUT",
    "compare RESULT RESULT --names a,b --match one=conv2,conv2 --no-figures --out OUT",
    "animate RESULT --html OUT.html --image 0 --channel 0",
    f"animate --network mnist_cnn {SMALL[:-34]} --number 8 --layers conv1 --width 200 "
    "--seconds 0.1 --out OUT.gif",
    "report RESULT --no-viewer --out OUT",
    "report RESULT --no-viewer --figure-width 85 --out OUT",
    "verify RESULT --images 1",
    "train CNN --data mnist --preset quick --number 40 --seeds 0 --width 0.25 "
    "--set iterations=1 batch_size=8 --device cpu --out OUT",
    "train STN-C0 --data mnist --number 40 --family affine --backbone mnist --width 0.25 "
    "--network-arg head=2 --set iterations=1 batch_size=8 --out OUT",
    "train --resume --out RUN",
    "evaluate RUN --passes 1 --number 40 --seed 1 --batch-size 20 --device cpu --out OUT.csv",
    "demo --number 8 --seed 1 --out OUT",
    "--version",
    "--bibtex",
)

_DEEP, _DIGITS, _LONG = 3000, 5000, 5000
_PLAIN = """
- -- --5 -5 0 -0 1 3 1.5 1e3 1e400 nan inf -inf 0x10 1_000 a . .. /dev/null /dev/null/x
/proc/self/mem nowhere nowhere/ RESULT IMAGES weights.pt own.py loop [red] [/] {} {0} %s % * [
[a ** ? a,b , ,, 1,2 1,,2 x 1x x1 0x0 1x1 28x28x28 99999x99999 224X224 None null true [] {} = a=
=a name=1 self=1 a=b=c weight=1e400 weight=nan weight=b'a' weight={1:2} weight={1,2} weight=1j
channels=100000 channels=-1 iterations=-1 learning_rate=nan learning_rate=-1 preset=paper data=x
network=1 seeds=1 width=1e9 width=nan mnist street imagenet resnet sys:exit os:getpid own:leaves
own:leaves_well own:stops own:broken own:nothing own:network own:empty own: : :own ::
own:network.weight own:__builtins__ this:x timm: timm:nothing torchvision: classifier:
classifier:STN-X symmetrised: controls: a.safetensors model.index.json cuda cuda:99 meta mps xla
vulkan cpu:5 auto rotation rotation: rotation:nan rotation:1e400 rotation:0:360:1e-9
rotation:0:1e18:1 rotation:1:2:0 scaling:0 scaling:-1 scaling:1:2:1000000000 scaling:1e-300
translation:1 translation:1e300,1e300 reflection:q shear:inf affine:1,2,3 affine:0,0,0,0,0,0
affine:1e200,0,0,0,1e200,0 spin:3 conv* conv[ fc* 1B 1TB 1e400GB 0.0000001KB GB raw channel
bilinear bicubic similarity float16 bfloat16 float64 all first a.gif a.mp4 a.html svg,pdf
svg,exe shards-{000..999999999}.tar shards-{a..b}.tar a.npz: a.npz:key a.h5:/x a.npy
https://example.org/a.tar s3://bucket/a ~ $HOME -h --help --overwrite-not
"""
VALUES = (
    *_PLAIN.split(),
    "", " ", str(2**31), str(2**32), str(2**63), str(2**64), "1" + 40 * "0", _DIGITS * "9",
    _DIGITS * "1" + "x", "１２", "²", "½", "٣", 256 * "a", 300 * "ü", _LONG * "a", 60_000 * "a",
    "/".join(200 * ["abc"]), 300 * "a/", "../" * 50 + "proc/nowhere", "a\nb", "a\tb", "\x1b[31mred",
    f"{_DIGITS * '9'}x1", '{"a":1}', "weight=" + _DEEP * "[", "weight=" + _DEEP * '{"a":',
    "weight=" + _DEEP * "-" + "1", "weight=" + _DIGITS * "9", "weight='" + _LONG * "a",
    "weight=(" + 500 * "1,", "weight=" + "+".join(_DEEP * ["1"]), "channels=" + str(2**64),
    _DEEP * "a" + "=1", "iterations=" + str(10**18), "iterations=" + _DIGITS * "9",
    "batch_size=" + str(2**70), "learning_rate=" + _DEEP * "[", "head=" + str(10**9),
    "symmetrised:" * 900 + "mnist_cnn", "a" * 3000 + ":b", "a." * 3000 + "b:c",
    "rotation:" + _DIGITS * "9", "translation:" + "1," * 3000 + "1",
    "rotation:1" + 3000 * ";rotation:2", _DIGITS * "9" + "GB", "1 GB", "caf\udce9",
)  # fmt: skip

OWN = """
import sys
from torch import nn

def network(weight=0.1, channels=1):
    conv = nn.Conv2d(channels, 2, 3)
    nn.init.constant_(conv.weight, float(weight))
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten())

class Leaving(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
    def forward(self, x):
        sys.exit(0)

class Odd(BaseException):
    pass

def leaves():
    sys.exit(3)

def leaves_well():
    return Leaving()

def stops():
    raise Odd("stop")

def broken():
    raise RuntimeError("no weights today")

def nothing():
    return None

def empty():
    return nn.Sequential()
"""


@dataclass(frozen=True)
class Ended:
    """How a command line ended: what broke the promise, or nothing."""

    line: tuple[str, ...]
    wrong: str
    code: int
    seconds: float
    bytes: int
    said: str = ""  # last on stderr

    def __str__(self) -> str:
        shown = shlex.join(
            word if len(word) < 90 else f"{word[:40]}...({len(word)})" for word in self.line
        )
        return f"{self.wrong}: {shown} [{self.seconds:.1f} s, {self.bytes / 1e6:.0f} MB]"


def mutated(seed: int) -> tuple[str, ...]:
    """A command line with one to three things wrong; the same for the same seed."""
    draw = random.Random(seed)
    words = shlex.split(draw.choice(BASES))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        place = draw.randrange(len(words))
        what = draw.random()
        if what < 0.75:
            values = [n for n, word in enumerate(words) if n and not word.startswith("--")]
            words[draw.choice(values or [place])] = draw.choice(VALUES)
        elif what < 0.8:
            words.insert(place + 1, draw.choice(VALUES))
        elif what < 0.84:
            words.pop(place)
            words = words or ["probe"]
        elif what < 0.97:
            known = [word for base in BASES for word in base.split() if word.startswith("--")]
            words[place + 1 : place + 1] = [draw.choice(known), draw.choice(VALUES)]
        else:
            words.insert(place, words[draw.randrange(len(words))])
    return tuple(words)


def ended(line: Sequence[str]) -> Ended:
    """Run a command line in this process, in the current folder, and say what it broke."""
    here = sorted(path.name for path in Path.cwd().iterdir() if path.name.startswith("."))
    start = time.process_time()
    with _watched() as peak:
        done = CliRunner().invoke(cli.app, list(line))
    seconds, used = time.process_time() - start, peak[0]
    lines = done.stderr.strip().splitlines()
    last = lines[-1] if lines else ""
    error = done.exception
    said = [text for text in lines if text.startswith(("error: ", "Error: "))]
    if error is not None and not isinstance(error, SystemExit):
        wrong = f"{type(error).__name__}: {str(error)[:200]}"
    elif "Traceback" in done.output:
        wrong = "a traceback"
    elif done.exit_code not in (0, 2, 130) or (done.exit_code == 130 and seconds < 0.9 * STOPPED):
        wrong = f"exit code {done.exit_code}"
    elif done.exit_code == 2 and (len(said) != 1 or last != said[0]):
        wrong = f"not one line of error: {last[:200]!r}"
    elif done.exit_code == 2 and len(last) > LONGEST:
        wrong = f"a line of {len(last)} characters"
    elif "out of memory" in last or used > BYTES:
        wrong = "too much memory"
    elif seconds > SECONDS:
        wrong = "too long"
    elif here != sorted(path.name for path in Path.cwd().iterdir() if path.name.startswith(".")):
        wrong = "something hidden stays"
    else:
        wrong = ""
    return Ended(tuple(line), wrong, done.exit_code, seconds, used, last)


@contextmanager
def _watched() -> Iterator[list[int]]:
    """The most memory that the block holds beyond what was held before; no hang, no flood."""
    before, peak = _reset_peak(), [0]
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    held, began = _status("VmData"), time.process_time()

    def late(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM or time.process_time() - began > SECONDS:
            raise TimeoutError(f"still running after {SECONDS:g} s")
        os.kill(os.getpid(), signal.SIGINT)

    handlers = {one: signal.signal(one, late) for one in (signal.SIGALRM, signal.SIGPROF)}
    resource.setrlimit(resource.RLIMIT_DATA, (held + BYTES + 2**29, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, STOPPED, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    try:
        yield peak
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        for one, handler in handlers.items():
            signal.signal(one, handler)
        peak[0] = max(0, _status("VmHWM") - before)


def _reset_peak() -> int:
    """Bytes held now, from which the peak is counted anew."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    """Bytes of an entry of /proc/self/status."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(f"{name}:"):
            return int(text.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    sys.path.insert(0, os.getcwd())
    first, past = int(sys.argv[1]), int(sys.argv[2])
    began, bad = time.monotonic(), 0
    for number in range(first, past):
        found = ended(mutated(number))
        if found.wrong or found.seconds > 8:
            bad += bool(found.wrong)
            print(number, found, flush=True)
    print(f"{past - first} command lines, {bad} wrong, {time.monotonic() - began:.0f} s")
