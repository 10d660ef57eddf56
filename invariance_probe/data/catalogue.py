"""Data sets for training by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from .digit_sets import digit_examples, digit_set_names
from .distortions import moved, movement
from .examples.examples import Examples
from .examples.upright import folder_examples

FOLDER = "folder:"


def example_names() -> tuple[str, ...]:
    """Return the names that `load_examples` knows, beside folder:PATH."""
    return (*digit_set_names(), *_OTHERS)


def load_examples(
    name: str,
    root: str | Path | None = None,
    train: bool = True,
    number: int | None = None,
    seed: int | None = 0,
    *,
    canvas: int | Sequence[int] | None = None,
    channels: int | None = None,
    transform: str | None = None,
) -> Examples:
    """Return the training or the test part of a data set.

    Names: mnist, fashion and kmnist upright, or distorted: mnist-r (rotation), -t (translation and
    clutter), -s (scale and clutter), -rts, -p (projective), -e (elastic), -tc (place and clutter);
    mnist-addition; svhn, svhn-digits, plankton; street (generated); "folder:PATH", or the path of
    a folder, for photographs in one sub-folder per class (`folder_examples`). `root` is where the
    files are. Without it, mnist means the digits of the package: the first 8,000 of the 10,000
    MNIST test digits train and the last 2,000 test.

    `number` takes as many images, drawn with `seed` (None: the first ones); SVHN gives the first
    ones, plankton always the same draw, and street generates as many with this seed. `canvas` and
    `channels` are for folders. `transform` moves upright images afresh in every pass, each by at
    most as much either way: "rotation:90" (degrees), "scaling:2" (a factor, uniform in its
    logarithm), "translation:8" (pixels, in x and in y) or "similarity:90,2".

    Raises ProbeError for an unknown name (with near ones), files that are not there (with what to
    download, and where to put it), a number that is not there, `canvas` or `channels` for
    anything but a folder, and a `transform` that is unknown or of images that are distorted.

    >>> load_examples("mnist-r", number=100).description
    "MNIST-R, training: 100 of the first 8,000 of the package's 10,000 MNIST test digits"
    """
    if transform is not None:
        movement(transform)  # before images are read
        upright = load_examples(name, root, train, number, seed, canvas=canvas, channels=channels)
        return moved(upright, transform)
    path = _folder(name)
    given = {k: v for k, v in (("canvas", canvas), ("channels", channels)) if v is not None}
    if path is not None:
        options: dict[str, Any] = given
        return folder_examples(path, train, number, seed, **options)
    known = name.lower()
    if known not in example_names():
        raise ProbeError(_unknown(name))
    if given:
        raise ProbeError(
            f"{' and '.join(given)} given for {name}, whose images have a fixed size; "
            "leave it out, or give a folder"
        )
    if known in _OTHERS:
        return _OTHERS[known](None if root is None else Path(root), train, number, seed)
    return digit_examples(known, root, train, number, seed)


# Readers of other data sets, imported only when asked for.
_Loader = Callable[[Path | None, bool, int | None, int | None], Examples]


def _svhn(root: Path | None, train: bool, number: int | None, seed: int | None) -> Examples:
    from .svhn import svhn_examples

    return svhn_examples(_needed(root, "svhn"), train, number=number)


def _svhn_digits(root: Path | None, train: bool, number: int | None, seed: int | None) -> Examples:
    from .svhn import svhn_digits

    return svhn_digits(_needed(root, "svhn-digits"), train, number=number)


def _plankton(root: Path | None, train: bool, number: int | None, seed: int | None) -> Examples:
    from .examples.plankton import plankton_examples

    return plankton_examples(_needed(root, "plankton"), train, number=number)


def _street(root: Path | None, train: bool, number: int | None, seed: int | None) -> Examples:
    from .street.numbers import street_numbers

    return street_numbers(train, number=number, seed=seed or 0)


_OTHERS: dict[str, _Loader] = {
    "svhn": _svhn,
    "svhn-digits": _svhn_digits,
    "plankton": _plankton,
    "street": _street,
}

_FILES = {
    "svhn": "train.tar.gz and test.tar.gz from http://ufldl.stanford.edu/housenumbers",
    "svhn-digits": "train_32x32.mat and test_32x32.mat from http://ufldl.stanford.edu/housenumbers",
    "plankton": "the folder train of https://www.kaggle.com/c/datasciencebowl",
}


def _needed(root: Path | None, name: str) -> Path:
    if root is None:
        instead = "; 'street' is generated and needs no files" if name == "svhn" else ""
        raise ProbeError(
            f"{name} does not come with the package: download {_FILES[name]} into a folder and "
            f"give it as root (--data-root){instead}"
        )
    return root


def _folder(name: str) -> Path | None:
    if name.startswith(FOLDER):
        if not name[len(FOLDER) :]:
            raise ProbeError(f"'{name}' names no folder; write {FOLDER}PATH")
        return Path(name[len(FOLDER) :])
    if name.lower() not in example_names() and Path(name).is_dir():
        return Path(name)
    return None


def _unknown(name: str) -> str:
    names = example_names()
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    said = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(names)},"
    more = "" if near else f" or {FOLDER}PATH"
    return f"unknown data set '{name}'; {said}{more}"
