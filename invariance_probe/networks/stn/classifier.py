"""Classifiers with spatial transformers, built from an architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from ...errors import ProbeError
from ...geometry import sample, sampling_grid
from ..keeping import evaluating
from .architecture import Architecture
from .backbones import backbone, set_dropout
from .block_frames import cell_frame, output_size
from .heads import localisation_head
from .transformer import SpatialTransformer, in_parallel
from .warps import composed, in_pixels, square

Size = tuple[int, int]

_SMALLEST = 16  # cells a side, for the convolutions of the heads CNNt and CNNmp


@dataclass(frozen=True)
class Alignment:
    """What a classifier's transformers do to some images.

    Attributes
    ----------
    images : (N, C, H, W), the input as the last alignment shows it, at the input's size; for a
        network that warps maps, the same motion applied to the input. Made when first asked for.
    poses : (N, 3, 3) float64, the motion of the content by all alignments together; NaN where the
        warp collapses an image to a line or point.
    steps : the motion after each alignment, the last one being `poses`.

    Convention: content moves, in image coordinates of the canvas (origin at its centre, pixels, x
    right, y down). If a transformer aligns perfectly, `align(T_h f).poses @ h` is the same for all
    h. A motion read from maps is carried to the image by their frame.
    """

    poses: Tensor
    steps: tuple[Tensor, ...]
    _shown: Callable[[], Tensor] = field(repr=False)

    @cached_property
    def images(self) -> Tensor:
        with torch.no_grad():
            return self._shown()


class Classifier(nn.Module):
    """A classifier of the spatial-transformer papers; build it with `build_classifier`.

    Maps images (N, channels, *canvas) to logits (N, classes), or (N, positions, classes).

    The warps of several alignments are composed and the original is read once: an image is never
    resampled twice. Source: Finnveden, Jansson & Lindeberg 2021, section 4; composition as in Lin
    & Lucey 2017.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        plan, kind = backbone(architecture.backbone), architecture.kind
        channels = architecture.channels * architecture.parallel
        blocks = plan.blocks(channels, architecture.width)
        deepest = max(architecture.depths, default=0)
        if deepest > len(blocks):
            raise ProbeError(
                f"'{architecture.name}': the {architecture.backbone} backbone has {len(blocks)} "
                f"blocks, not {deepest}; take a depth of 0 to {len(blocks)}"
            )
        self.blocks = nn.ModuleList(blocks)
        self.transformers = nn.ModuleList()
        self.copies = nn.ModuleList()
        # What each transformer made passes through one of these, so that it is a layer by name.
        self.aligned = nn.ModuleList(nn.Identity() for _ in architecture.depths)
        size, done = architecture.canvas, 0
        for number, depth in enumerate(architecture.depths):
            # What warps maps goes on from the warped map; what warps the input starts over.
            start = done if kind == "C" else 0
            size = output_size(blocks[start:depth], size if kind == "C" else architecture.canvas)
            renders = number == (0 if kind == "C" else len(architecture.depths) - 1)
            for _ in range(architecture.parallel):
                self.transformers.append(self._transformer(size, depth, renders=renders))
            if kind == "C" and renders:
                size = self._reduced(size)
            if kind == "DL":
                self.copies.append(_fresh(blocks[:depth]))
            done = depth
        if kind in ("SL", "DL"):
            size, done = self._reduced(architecture.canvas), 0
        size = output_size(blocks[done:], size)
        self._check_room(size)
        self.top = plan.top(
            _channels(blocks, channels) * size[0] * size[1],
            architecture.positions,
            architecture.classes,
            architecture.width,
        )
        if architecture.dropout is not None:
            set_dropout((self.blocks, self.copies, self.top), architecture.dropout)

    @property
    def has_transformer(self) -> bool:
        """Whether there is a transformer at all."""
        return self.architecture.kind is not None

    def localisation_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that only localise: heads and own copies of blocks."""
        return [*self.transformers.parameters(), *self.copies.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of images."""
        self._check(images)
        kind = self.architecture.kind
        if kind is None:
            return self._classified(images, 0)
        if kind == "C":
            return self._through_maps(images)
        transformers = self._transformers()
        if transformers[0].family.sources is None:
            maps = self._features(0, images)
            return self._classified(self.aligned[0](transformers[0](maps, shown=images)), 0)
        # Located even where transformers are held still: a layer's calls keep their numbers.
        sources = self._locate_input(images)[-1]
        return self._classified(self.aligned[-1](transformers[-1].render(images, sources)), 0)

    def align(self, images: Tensor) -> Alignment:
        """Return what the transformers do to images, without gradients.

        Raises ProbeError for a network without transformer, with several in parallel, and for thin
        plate splines, which no matrix describes.
        """
        self._check(images)
        if not self.has_transformer:
            raise ProbeError(f"'{self.architecture.name}' has no transformer to align with")
        if self.architecture.parallel > 1:
            raise ProbeError("transformers in parallel have no common alignment; take one")
        located: list[Tensor] = []
        with evaluating(self), torch.no_grad():
            if self.architecture.kind == "C":
                self._through_maps(images, located)
            else:
                canvas = self.architecture.canvas
                for source in self._locate_input(images):
                    located.append(self._in_pixels(source, images, canvas))
            steps = tuple(_inverse(step) for step in located)
        return Alignment(steps[-1], steps, partial(self._shown, images, located[-1]))

    def _shown(self, images: Tensor, sources: Tensor) -> Tensor:
        chosen = self.architecture
        grid = sampling_grid(sources.to(images.dtype), chosen.canvas, chosen.canvas)
        return sample(images, grid, beyond=chosen.beyond, fill=chosen.fill)

    def _check(self, images: Tensor) -> None:
        asked = (self.architecture.channels, *self.architecture.canvas)
        still = any(transformer.still for transformer in self._transformers())
        # Held still, nothing but the last layers depends on the size.
        if images.shape[1:] != asked and not (still and images.shape[1] == asked[0]):
            raise ProbeError(
                f"'{self.architecture.name}' takes images of {asked} (channels, rows, columns), "
                f"not {tuple(images.shape[1:])}; give such images or build it for theirs"
            )

    def _check_room(self, size: Size) -> None:
        if min(size) < 1:
            chosen, (rows, columns) = self.architecture, self.architecture.canvas
            raise ProbeError(
                f"'{chosen.name}': a canvas of {rows}x{columns} leaves nothing after the blocks of "
                f"the {chosen.backbone} backbone; give larger images or a smaller reduction"
            )

    def _transformers(self) -> list[SpatialTransformer]:
        return [part for part in self.transformers if isinstance(part, SpatialTransformer)]

    def _classified(self, maps: Tensor, start: int) -> Tensor:
        for block in self.blocks[start:]:
            maps = block(maps)
        return self.top(maps)

    def _features(self, number: int, images: Tensor) -> Tensor:
        """What the localisation network of one transformer reads from (aligned) images."""
        blocks: nn.Module = self.blocks[: self.architecture.depths[number]]
        if self.architecture.kind == "DL":
            blocks = self.copies[number]
        for block in blocks.children():
            images = block(images)
        return images

    def _locate_input(self, images: Tensor) -> list[Tensor | None]:
        """Source matrices, in half sides of the input, after each alignment of SL and DL."""
        steps: list[Tensor | None] = []
        for number, transformer in enumerate(self._transformers()):
            for _ in range(self.architecture.iterations):
                seen = transformer.render(images, steps[-1], whole=True) if steps else images
                read = transformer.sources(self._features(number, seen))
                steps.append(composed(steps[-1] if steps else None, read))
        return steps

    def _through_maps(self, images: Tensor, located: list[Tensor] | None = None) -> Tensor:
        """Logits of a network that warps maps.

        `located` collects the source matrices (N, 3, 3) in pixels of the input, after each
        alignment; where it is given, the way ends with the last of them, at the maps there.
        """
        maps, done = images, 0
        frame = torch.eye(3, dtype=torch.float64, device=images.device)
        transformers = self._transformers()
        if self.architecture.parallel > 1:
            return self._classified(self.aligned[0](in_parallel(transformers, images)), 0)
        for number, (depth, transformer) in enumerate(
            zip(self.architecture.depths, transformers, strict=True)
        ):
            blocks = self.blocks[done:depth]
            if located is not None:
                frame = frame @ cell_frame(blocks, _size(maps)).to(frame)
            for block in blocks:
                maps = block(maps)
            done = depth
            if located is None and (transformer.still or transformer.family.sources is None):
                maps = self.aligned[number](transformer(maps))
                continue
            before = located[-1] if located else None
            sources: Tensor | None = None
            for _ in range(self.architecture.iterations):
                seen = maps if sources is None else transformer.render(maps, sources, whole=True)
                read = transformer.sources(seen)
                sources = composed(sources, read)
                if located is not None:
                    cells = self._in_pixels(sources, images, _size(maps))
                    moved = frame @ cells @ torch.linalg.inv(frame)
                    located.append(moved if before is None else before @ moved)
            if located is not None and number + 1 == len(transformers):
                return maps
            size = _size(maps)
            maps = self.aligned[number](transformer.render(maps, sources))
            if located is not None:
                step = [size[1] / maps.shape[-1], size[0] / maps.shape[-2], 1.0]
                frame = frame @ torch.diag(frame.new_tensor(step))
        return self._classified(maps, done)

    @staticmethod
    def _in_pixels(sources: Tensor | None, images: Tensor, size: Size) -> Tensor:
        if sources is None:
            eye = torch.eye(3, dtype=torch.float64, device=images.device)
            return eye.repeat(len(images), 1, 1)
        return square(in_pixels(sources.double(), size))

    def _transformer(self, size: Size, depth: int, *, renders: bool) -> SpatialTransformer:
        self._check_room(size)
        chosen = self.architecture
        name = _automatic_head(chosen, size) if chosen.head == "auto" else chosen.head
        channels = _channels(self.blocks[:depth], chosen.channels)
        head, features = localisation_head(name, channels, size)
        on_input = depth == 0 or chosen.kind != "C"
        return SpatialTransformer(
            head,
            features,
            chosen.family,
            reduction=chosen.reduction if renders else 1,
            beyond=chosen.beyond if on_input else "nearest",
            fill=chosen.fill if on_input else 0.0,
        )

    def _reduced(self, size: Size) -> Size:
        reduction = self.architecture.reduction
        return size[0] // reduction, size[1] // reduction


def _inverse(sources: Tensor) -> Tensor:
    """Motions of the content, of projective ones that with a last entry of 1.

    NaN where a warp shows a single line or point: no motion does that.
    """
    motions, failed = torch.linalg.inv_ex(sources)
    motions[failed > 0] = torch.nan
    return motions / motions[:, 2:, 2:]


def _size(maps: Tensor) -> Size:
    return maps.shape[-2], maps.shape[-1]


def _channels(blocks: Iterable[nn.Module], channels: int) -> int:
    """Channels of what blocks give."""
    for block in blocks:
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                channels = module.out_channels
    return channels


def _fresh(blocks: Iterable[nn.Module]) -> nn.ModuleList:
    """A copy of blocks with weights drawn anew."""
    own = copy.deepcopy(nn.ModuleList(blocks))
    for module in own.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return own


def _automatic_head(chosen: Architecture, size: Size) -> str:
    """The head that the papers most plausibly used; docs/classifiers.md says why."""
    if chosen.backbone == "svhn":
        return "SVHN-l" if chosen.depths == (0,) else "SVHN-s"
    if chosen.backbone == "plankton":
        return "plankton-l"
    side = min(chosen.canvas)
    if chosen.backbone == "fcn" or side < 40 or min(size) < _SMALLEST:
        return "FCN"
    return "CNNmp" if side >= 100 else "CNNt"


def build_classifier(architecture: Architecture, seed: int = 0) -> Classifier:
    """Build a classifier with weights drawn from a seed.

    The caller's random state is left alone. Raises ProbeError for an architecture whose canvas,
    depth or localisation head do not fit together.

    >>> network = build_classifier(Architecture("STN-SL1"))
    >>> sum(p.numel() for p in network.parameters())
    415728
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(architecture)
