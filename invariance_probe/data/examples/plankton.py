"""PlanktonSet: grey pictures of plankton in a folder per class (National Data Science Bowl)."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..._foreign import check_regular
from ...errors import ProbeError
from ...geometry import rotations_of, scalings_of, shears_of, translations_of, warp_each
from ..decoding.photograph import unreadable
from ..images.folders import EXTENSIONS, natural_key
from ..sizes import Size
from .examples import Batch
from .fixed import LazyPixels, Pixels, channel_statistics, checked_indices, first_of, normalised

SIDE = 95
CLASSES = 121

_TOGETHER = 64
_STATISTICS = 4000  # training images of which mean and standard deviation are taken
_TURN, _SHIFT, _SHEAR, _ZOOM = 180.0, 10 / 95 * SIDE, 20.0, 1.3


@dataclass(frozen=True, eq=False)
class PlanktonExamples:
    """Plankton as an `Examples`: augmented afresh in every draw for training, as it is for tests.

    `pixels` (N, 1, 95, 95) uint8 are inverted, so that the water is 0; `names` are paths under
    the folder of classes, and `class_names` its sub-folders in alphabetical order.
    """

    pixels: Pixels = field(repr=False)
    targets: Tensor = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    description: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fresh: bool
    sha256: str
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def channels(self) -> int:
        return 1

    @property
    def canvas(self) -> Size:
        return SIDE, SIDE

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def positions(self) -> int:
        return 1

    @property
    def background(self) -> tuple[float, ...]:
        return tuple((0 - m) / s for m, s in zip(self.mean, self.std, strict=True))

    def draw(self, seed: int) -> PlanktonPass:
        """Return one pass; the same seed gives the same pass on every device."""
        if self.fresh:
            return PlanktonPass(self, plankton_transforms(len(self), seed))
        still = torch.eye(3, dtype=torch.float64).expand(len(self), 3, 3)
        return PlanktonPass(self, still)

    def to(self, device: torch.device | str) -> PlanktonExamples:
        """Return the same examples with batches made on a device."""
        return replace(self, device=device)


@dataclass(frozen=True, eq=False)
class PlanktonPass:
    """One pass over plankton: how each image is transformed is known, batches are made later."""

    examples: PlanktonExamples
    transforms: Tensor

    def batch(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the asked examples; ProbeError for an index that is not there."""
        given = self.examples
        asked = checked_indices(indices, len(given), given.description)
        images = given.pixels[asked].to(given.device).float() / 255
        transforms = self.transforms[asked].to(given.device)
        if given.fresh:
            images = warp_each(images, transforms)
        targets = given.targets[asked].to(given.device)
        return Batch(normalised(images, given.mean, given.std), targets, transforms)


def plankton_transforms(count: int, seed: int) -> Tensor:
    """Return the augmentations (count, 3, 3) of one training pass.

    Flipped left to right with probability 1/2, scaled by 1/1.3 ... 1.3 (uniform in the logarithm),
    sheared by up to 20 degrees, rotated by up to 180 and moved by up to 10 pixels in x and in y,
    in this order.

    Convention: content moves, in image coordinates (origin at the centre, px, x right, y down).
    Source: the augmentation of Finnveden et al., Understanding when spatial transformer networks
    do not support invariance, 2021, after the winners of the National Data Science Bowl.
    """
    drawn = torch.Generator().manual_seed(seed)
    chance = torch.rand((count, 6), generator=drawn, dtype=torch.float64)
    spread = 2 * chance - 1
    sign = torch.where(chance[:, 5] < 0.5, -1.0, 1.0).double()
    flip = scalings_of(torch.stack([sign, torch.ones_like(sign)], 1))
    zoom = scalings_of(torch.exp(spread[:, 0] * math.log(_ZOOM)))
    shear = shears_of(torch.tan(torch.deg2rad(spread[:, 1] * _SHEAR)))
    turn = rotations_of(spread[:, 2] * _TURN)
    return translations_of(spread[:, 3:5] * _SHIFT) @ turn @ shear @ zoom @ flip


def plankton_examples(
    root: str | Path,
    train: bool = True,
    number: int | None = None,
    seed: int = 0,
    *,
    test_share: float = 0.1,
) -> PlanktonExamples:
    """Return PlanktonSet from `root`/train/CLASS/*.jpg, as its archive train.zip extracts.

    Each picture is turned grey and inverted, resized (bilinear, anti-aliased) so that its longer
    side is 95 pixels, and padded with 0 to 95x95. There are as many classes as folders (121 in the
    published set). The labels of the published test pictures are not public: `test_share` of each
    class, drawn with `seed`, is the test set here (at least one picture; a class of one picture is
    in the training set only). `number` takes a seeded draw. Pictures are decoded when first asked
    for and kept in memory. Training images are augmented afresh in each draw
    (`plankton_transforms`), test images never; a batch holds the transformations.

    Mean and standard deviation are those of up to 4,000 training images without augmentation.

    Raises ProbeError for a folder that is not there (with what to download) or holds no classes,
    and for a picture that cannot be decoded.
    """
    if not 0 < test_share < 1:
        raise ProbeError(f"test_share={test_share!r}; give a share between 0 and 1, such as 0.1")
    folder = _class_folder(Path(root))
    found = _pictures(folder)
    generator = torch.Generator().manual_seed(seed)
    training: list[tuple[str, int]] = []
    testing: list[tuple[str, int]] = []
    for label, own in enumerate(found.values()):
        order = torch.randperm(len(own), generator=generator).tolist()
        held_out = min(max(1, round(test_share * len(own))), len(own) - 1)
        training += [(own[i], label) for i in sorted(order[held_out:])]
        testing += [(own[i], label) for i in sorted(order[:held_out])]
    part = training if train else testing
    title = f"PlanktonSet, {'training' if train else 'test'} part"
    if not part:
        raise ProbeError(f"{title} under '{root}': no class has two pictures; give more pictures")
    count = first_of(len(part), number, title)
    if number is not None:
        part = [part[i] for i in torch.randperm(len(part), generator=generator)[:count].tolist()]

    measured = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))
    sample = [training[i][0] for i in measured[:_STATISTICS].tolist()]
    mean, std = channel_statistics(_decoded(folder, sample))
    if std[0] == 0:
        raise ProbeError(f"the pictures under '{folder}' are all of one brightness; check them")

    names = tuple(name for name, _ in part)
    pixels = LazyPixels(
        (count, 1, SIDE, SIDE), _TOGETHER, lambda a, b: _decoded(folder, names[a:b])
    )
    return PlanktonExamples(
        pixels=pixels,
        targets=torch.tensor([label for _, label in part]),
        names=names,
        class_names=tuple(found),
        description=f"{title}: {count} images of {len(found)} classes, split with seed {seed}",
        mean=mean,
        std=std,
        fresh=train,
        sha256=_hash(folder, part, tuple(found), f"{train} {mean} {std}"),
    )


def _class_folder(root: Path) -> Path:
    """Return the folder of class folders: root/train, or the root itself."""
    for folder in (root / "train", root):
        if folder.is_dir() and any(e.is_dir() and not _hidden(e) for e in folder.iterdir()):
            return folder
    raise ProbeError(
        f"PlanktonSet is not under '{root}': expected '{root / 'train'}' with a folder of pictures "
        f"per class ({CLASSES} of them); download train.zip from "
        "https://www.kaggle.com/c/datasciencebowl/data and extract it there"
    )


def _pictures(folder: Path) -> dict[str, list[str]]:
    """Return the pictures of each class folder, relative to the folder, in natural order."""
    found = {}
    for place in sorted(e for e in folder.iterdir() if e.is_dir() and not _hidden(e)):
        names = [f.name for f in place.iterdir() if f.suffix.lower() in EXTENSIONS]
        shown = sorted((n for n in names if not n.startswith(".")), key=natural_key)
        if not shown:
            raise ProbeError(f"class folder '{place}' holds no pictures; fill it, or remove it")
        found[place.name] = [f"{place.name}/{name}" for name in shown]
    if len(found) < 2:
        raise ProbeError(
            f"'{folder}' holds one class folder ('{next(iter(found))}'); give at least two"
        )
    return found


def _hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def _decoded(folder: Path, names: Sequence[str]) -> Tensor:
    # Pillow decodes without holding the interpreter, so threads share the work.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as workers:
        images = list(workers.map(lambda name: _picture(folder / name), names))
    return torch.from_numpy(np.stack(images))[:, None]


def _picture(path: Path) -> np.ndarray:
    """Return one picture (95, 95) uint8: inverted, resized, padded with 0 on both sides."""
    try:
        check_regular(path)
        with Image.open(path) as image:
            grey = image.convert("L")
        longer = max(grey.size)
        width, height = (max(1, round(side * SIDE / longer)) for side in grey.size)
        inverted = Image.fromarray(255 - np.asarray(grey))
        small = np.asarray(inverted.resize((width, height), Image.Resampling.BILINEAR))
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(str(path), error) from error
    padded = np.zeros((SIDE, SIDE), dtype=np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    padded[top : top + height, left : left + width] = small
    return padded


def _hash(folder: Path, part: Sequence[tuple[str, int]], classes: Sequence[str], rest: str) -> str:
    digest = hashlib.sha256(f"plankton 1 {classes} {rest}".encode())
    for name, label in part:
        try:
            check_regular(folder / name)
            content = (folder / name).read_bytes()
        except OSError as error:
            raise ProbeError(
                f"'{folder / name}' cannot be read ({error.strerror}); restore it"
            ) from error
        digest.update(f"\0{name}\0{label}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
