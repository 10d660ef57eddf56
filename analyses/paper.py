"""Everything that the other analyses show, made in order for one checkpoint.

Runs the scripts beside this one, each into a folder of its name under OUT: what the theorem says,
how far maps can be aligned, where responses move, what alignment is worth to the classifier, how
the checkpoint compares with an untrained one, and then spatial transformer classifiers, trained and
measured, those of published tables of distorted digits beside the published errors, and, where
data for them are named, ones that localise ever deeper. What is there already is kept, and training
goes on where it stopped, so that the command can be given again. `commands.md` lists what made each
folder.

example:
  python analyses/paper.py --network mnist_cnn --checkpoint mine.safetensors --data digits \\
      --networks CNN STN-C0 STN-C1 STN-SL1 --train-data mnist-r --seeds 0 1 2 --out figures
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import parser, run  # noqa: E402  (beside this script)

PROBES = ("theorem", "alignment_error", "channel_shift", "oracle_stn", "baselines",
          "compare_networks")  # fmt: skip
CLASSIFIERS = ("stn_classifiers", "pose_alignment", "learned_alignment", "distorted_digits",
               "localisation_depth")  # fmt: skip
ONE_LAYER = "theorem"
COMMANDS = "commands.md"


class Stopped(Exception):
    """A part ended with this exit code, and has said why."""


def main(words: Sequence[str] | None = None) -> int:
    """Make all parts; 0 when they are there, 2 for input that cannot be used."""
    made = parser("", __doc__, number=0)
    # What is not given is left to each script.
    ours = dict.fromkeys(("network", "data", "number", "seed", "device", "formats"))
    made.set_defaults(**ours, out=Path("figures"))
    add = made.add_argument
    add("--layers", nargs="+", help="names, patterns; default: those of each script")
    add("--only", nargs="+", help=f"some parts of {' '.join((*PROBES, *CLASSIFIERS))}")
    add("--skip", nargs="+", default=[], help="parts to leave out")
    add("--networks", nargs="+", help="classifiers to train, such as CNN STN-C0 STN-SL1")
    add("--train-data", nargs="+", help="data sets to train on: mnist-r mnist-t ...")
    add("--distorted-data", nargs="+", help="data sets of distorted_digits; default: all published")
    add("--families", nargs="+", help="warps of its transformers: affine projective tps")
    add("--depth-data", nargs="+", help="data sets of localisation_depth; default: it is left out")
    add("--depth-root", help="where they are")
    add("--depth-backbone", help="its backbone; default: deep")
    add("--train-root", help="where they are; mnist-* without it: digits of the package")
    add("--seeds", nargs="+", help="a classifier is trained with each")
    add("--preset", help="quick (minutes each) or paper (150,000 steps each)")
    add("--set", nargs="+", metavar="FIELD=VALUE", help="other values for fields of the recipe")
    add("--width", help="fraction of the classifiers' filters")
    add("--train-number", help="training examples; default: all")
    add("--test-number", help="test examples; default: all")
    add("--passes", help="fresh passes over the test examples")
    stopped = "stopped; what is finished is kept, give the same command to go on"
    try:
        return run("paper", analyse, made.parse_args(words), words, stopped)
    except Stopped as end:
        return int(str(end))


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Run the parts that are asked for and not there yet."""
    from invariance_probe.errors import ProbeError
    from invariance_probe.running.files import write_atomically

    every = (*PROBES, *CLASSIFIERS)
    for name in (*(asked.only or ()), *asked.skip):
        if name not in every:
            raise ProbeError(f"no part '{name}'; the parts are {' '.join(every)}")
    parts = [name for name in every if name in (asked.only or every) and name not in asked.skip]
    lines = [f"All of this is made by\n\n    {command}\n", "| folder | command |", "|---|---|"]
    for name in parts:
        for folder, words in part(name, asked):
            own = [*words, "--out", str(folder)]
            lines.append(f"| `{folder.name}` | `{shlex.join([f'analyses/{name}.py', *own])}` |")
            if done(folder) and not asked.overwrite:
                print(f"{folder}: kept")
                continue
            print(f"\n{folder}")
            code = import_module(name).main([*own, *(["--overwrite"] if done(folder) else [])])
            if code:
                raise Stopped(code)
    text = "\n".join(lines) + "\n"
    write_atomically(asked.out / COMMANDS, text.encode())
    return (*parts, COMMANDS)


def part(name: str, asked: argparse.Namespace) -> Iterator[tuple[Path, list[str]]]:
    """Folder and arguments of a script; nothing for one that has nothing to work on."""
    common = given(asked, "device", "formats")
    runs = asked.out / "stn_classifiers" / "runs"
    if name in PROBES:
        words = given(asked, "data", "data_root", "number", "seed") + common
        if name == "compare_networks":
            words += twins(asked)
        else:
            words += given(asked, "network", "checkpoint", "by_order")
        if asked.layers:
            one = name == ONE_LAYER
            words += ["--layer", asked.layers[0]] if one else ["--layers", *asked.layers]
        yield asked.out / name, words
    elif name in ("stn_classifiers", "distorted_digits"):
        words = given(asked, "seeds", "preset", "set", "width", "test_number", "passes")
        if name == "distorted_digits":
            words += given(asked, "families") + given(asked, "distorted_data", option="data")
        else:
            words += given(asked, "networks") + given(asked, "train_data", option="data")
        words += given(asked, "train_root", option="data-root")
        words += given(asked, "train_number", option="number")
        yield asked.out / name, words + common
    elif name == "localisation_depth":
        if asked.depth_data:
            words = given(asked, "seeds", "preset", "set", "width", "test_number", "passes")
            words += given(asked, "train_number", option="number")
            for own, option in (("data", "data"), ("root", "data-root"), ("backbone", "backbone")):
                words += given(asked, f"depth_{own}", option=option)
            yield asked.out / name, words + common
    elif name == "pose_alignment":
        more = given(asked, "passes") + given(asked, "test_number", option="number")
        for data in sorted(runs.glob("*")):
            if transformers := sorted(map(str, data.glob("ST*"))):
                yield asked.out / name / data.name, [*transformers, *more, *common]
    else:
        root = given(asked, "train_root", option="data-root")
        for data in sorted(runs.glob("*-[rts]")):
            if transformers := sorted(map(str, data.glob("ST*"))):
                words = [*transformers, *given(asked, "number"), *root, *common]
                yield asked.out / name / data.name, words


def twins(asked: argparse.Namespace) -> list[str]:
    """A given checkpoint is compared with its symmetrised twin, made to align at quarter turns."""
    if asked.network is None and asked.checkpoint is None:
        return []
    spec = asked.network or "mnist_cnn"
    words = ["--networks", spec, f"symmetrised:{spec}"]
    if asked.checkpoint is not None:
        words += ["--checkpoints", asked.checkpoint, asked.checkpoint]
    return [*words, *given(asked, "by_order")]


def given(asked: argparse.Namespace, *names: str, option: str | None = None) -> list[str]:
    """Arguments as they were given here, for another script; those left out stay out."""
    words: list[str] = []
    for name in names:
        value = getattr(asked, name)
        if value is None or value is False:
            continue
        words.append(f"--{option or name.replace('_', '-')}")
        if value is not True:
            words += map(str, value) if isinstance(value, list) else [str(value)]
    return words


def done(folder: Path) -> bool:
    """Whether a part has been written; training runs alone are not its end."""
    return folder.is_dir() and any(entry.name != "runs" for entry in folder.iterdir())


if __name__ == "__main__":
    sys.exit(main())
