"""The probe: one streaming pass over the images, from network and transformations to a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import __version__
from .._memory import bytes_text
from ..data import AnyImages, ImageSet
from ..errors import ForwardError
from ..geometry import Transform
from ..networks import Activations, Network, framed_layers
from ..networks.network import resolved
from ..running.devices import find_device, home_of
from ..running.processes import Group, current_group
from ..running.resume import Unfinished
from .bench.batch_size import with_batch_size
from .bench.borders import with_margins
from .bench.density import with_density
from .bench.inputs import Inputs
from .bench.look import Looker, Meter, Progress, half_warnings
from .bench.memory import blocks_of, memory_limit, transform_bytes
from .bench.notebooks import listener
from .bench.passes import Passes
from .bench.plan import (
    as_transforms,
    batches,
    check_channels,
    check_shares,
    images_for,
    measuring,
    split,
)
from .bench.purity import check_purity
from .ladder.assemble import assemble
from .ladder.layer_state import LayerState
from .options import AUTO, Options, memory_size, takes_options
from .provenance import describe_run, state_sha256
from .result import Result

__all__ = [
    "Progress", "as_transforms", "batches", "check_channels", "measuring", "probe", "split",
]  # fmt: skip


@takes_options
def probe(
    network: nn.Module | Network,
    layers: str | Sequence[str],
    transforms: str | Transform | Iterable[str | Transform],
    images: AnyImages,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    options: Options | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    config: dict[str, Any] | None = None,
    unfinished: str | Path | Unfinished | None = None,
    resume: bool = False,
    overwrite: bool = False,
    save_every: float = 60.0,
    stop: Callable[[], bool] | None = None,
    **changes: Any,
) -> Result:
    """Measure, per layer and transformation, what remains after the best spatial alignment.

    Images are split once into a fit half, on whose feature maps the best alignment is searched,
    and an evaluation half, on which every reported residual is taken. Each image passes the
    network once per transformation, the identity included (evaluation images once more, for the
    aligned input).

    `layers` are names or glob patterns; `transforms` are values or their text form; `images` are
    an `ImageSet`, an array (N, C, H, W) with values in [0, 1], a torch `Dataset` of such images, or
    a path, where `network` says its size. `mean` and `std` normalise after warping; by default
    they are the network's own. `changes` set single fields of `options`, for example ``seed=1``;
    `Options` says what each does. `progress` is called as (done, total, text);
    in a notebook a line below the cell shows it, unless another is given.

    The network is moved to `device` ("cpu", "cuda", "cuda:1", "mps" or "auto") and stays there;
    modes and gradients are left as they were. Within an initialised process group of
    `torch.distributed` all processes call this together, share the work, and get the same result.

    With a folder `unfinished` the run saves there every `save_every` seconds where it stands, and
    when `stop` returns True, which ends it with KeyboardInterrupt. `resume` goes on from there to
    the same bits; `overwrite` begins again. The folder is removed when the result is whole; an
    `Unfinished` made with `keep` leaves that to the caller, who has to save the result first.

    Convention: transformations act on image coordinates (origin at the centre, pixels, y down,
    degrees counter-clockwise); maps are warped in the frame measured on the network.

    Raises ProbeError for unknown layers, layers without spatial output, too few images, empty
    valid regions, activations that are not finite, and the state of another run. A network that
    is no function of the one image is measured with a warning, or refused (`impure`). Source of the
    measured claim: Finnveden, Jansson and Lindeberg, arXiv 2004.11678; definitions in
    docs/measures.md.
    """
    chosen = Options.from_dict({**(options or Options()).to_dict(), **changes})
    module, mean, std = resolved(network, mean, std)
    group = current_group()
    with group.together():
        image_set = images_for(network, images)
        moves = as_transforms(transforms)
        fit, evaluation = split(len(image_set), chosen.seed)
        check_shares(len(image_set), group.world)
        place = find_device(device)
        module = module.to(place)
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        home = home_of(place)
        inputs = Inputs(image_set, mean, std, chosen.image_interpolation, home, dtype)
    asked = [layers] if isinstance(layers, str) else layers
    keeper = unfinished if isinstance(unfinished, Unfinished | None) else None
    if isinstance(unfinished, str | Path):
        keeper = Unfinished(Path(unfinished), group, save_every)
    if keeper is not None:
        stored = keeper.stored() if resume else None
        if stored is not None and chosen.batch_size == AUTO:
            size = stored["identity"].get("options", {}).get("batch_size", AUTO)
            chosen = Options.from_dict({**chosen.to_dict(), "batch_size": size})
    with measuring(module), nullcontext() if keeper is None else keeper.held():
        with group.together():
            example = inputs.normalise(inputs.original(inputs.load(fit[:1]))).to(place)
            try:
                frames, left_out = framed_layers(module, asked, example)
            except ForwardError:
                check_channels(module, example)
                raise
            names = list(frames)
            for name in names:  # refuses what leaves no cell before anything is measured
                LayerState(name, frames[name], moves, image_set.canvas, chosen)
        chosen = group.from_main(lambda: with_batch_size(chosen, module, example, place))
        meter = Meter(listener(progress), 0)
        with Activations(module, names) as activations, torch.inference_mode():
            unmetered = Looker(activations, inputs, place, chosen, Meter(None, 0))
            impure = group.from_main(
                lambda: check_purity(unmetered.maps, module, inputs, fit, chosen)
            )
            borders = group.from_main(lambda: with_margins(frames, unmetered, fit, moves, chosen))
            density = group.from_main(
                lambda: with_density(borders.frames, unmetered, fit, moves, chosen)
            )
            with group.together():
                states = [
                    LayerState(
                        n, borders.frames[n], moves, image_set.canvas, chosen,
                        density.factors.get(n, 1),
                    )
                    for n in names
                ]  # fmt: skip
            look = Looker(activations, inputs, place, chosen, meter)
            maps = {name: m.float().to(look.home) for name, m in look.maps(example).items()}
            each = transform_bytes(names, borders.frames, moves, image_set.canvas, chosen, maps)
            blocks = group.from_main(
                lambda: blocks_of(len(moves), each, memory_limit(chosen, look.home))
            )
            passes = Passes(
                look, states, moves, blocks, fit, evaluation, chosen, group, keeper, stop
            )
            if keeper is not None:
                identity = group.from_main(
                    lambda: _identity(
                        module, image_set, inputs, names, moves, chosen, place, config, group
                    )
                )
                seen = {name: _seen(values) for name, values in maps.items()}
                found = keeper.begin(identity, seen, resume=resume, overwrite=overwrite)
                if found is not None:
                    passes.restore(found)
            moving = sum(not move.is_identity for move in moves)
            scales = 1 if chosen.weighting == "channel" else 0
            undone = moving if chosen.ledger else 0
            shown = passes.stitching.passes
            meter.passes = len(fit) * (len(passes.blocks) + shown * len(moves) + undone + scales)
            meter.passes += len(evaluation) * (shown * (1 + len(moves)) + moving)
            passes.run()
            if keeper is not None and keeper.keep and keeper.number:
                keeper.save(passes.state())
    stored_config = None if config is None else {**config, "options": chosen.to_dict()}
    halves = (len(fit), len(evaluation))
    provenance = group.from_main(
        lambda: describe_run(
            network, image_set, inputs, passes.states, moves, chosen, place, halves, stored_config
        )
    )
    provenance["numerics"] |= {
        "processes": group.world,
        "precision": chosen.precision,
        "blocks": len(passes.blocks),
        "sums_bytes": each,
        "images_at_a_time": look.most or chosen.batch_size,
    }
    if density.factors:
        provenance["conventions"]["dense"] = {
            state.name: {
                "factor": state.compared.dense, "shift_error": density.unlike[state.name]
            }
            for state in passes.states
        }  # fmt: skip
    provenance["warnings"] = [*impure, *provenance["warnings"], *borders.notes, *density.notes]
    provenance["warnings"] += [*half_warnings(chosen), *_short_memory(chosen, each)]
    provenance["warnings"] += [f"left out: {reason}" for reason in left_out]
    names_of = [image_set.names[i] for i in evaluation]
    result = assemble(passes.states, moves, names_of, chosen, provenance)
    if keeper is not None and not keeper.keep:
        keeper.remove()
    return result


def _seen(maps: Tensor) -> list[float]:
    """What a layer gives on an image, in two numbers: mean and root mean square."""
    values = maps.double()
    return [float(values.mean()), float(values.square().mean().sqrt())]


def _short_memory(options: Options, each: int) -> list[str]:
    limit = memory_size(options.memory)
    if limit is None or each <= limit:
        return []
    return [
        f"memory: the sums of one transformation alone take {bytes_text(each)}, more than the "
        f"{bytes_text(limit)} asked for"
    ]


def _identity(
    module: nn.Module,
    images: ImageSet,
    inputs: Inputs,
    names: Sequence[str],
    moves: Sequence[Transform],
    options: Options,
    place: torch.device,
    config: dict[str, Any] | None,
    group: Group,
) -> dict[str, Any]:
    """What two runs must share for one to go on where the other stopped."""
    return {
        "version": __version__,
        "torch": torch.__version__,
        "weights": state_sha256(module),
        "images": images.sha256,
        "mean": inputs.mean.flatten().tolist(),
        "std": inputs.std.flatten().tolist(),
        "layers": list(names),
        "transforms": [move.text for move in moves],
        "options": options.to_dict(),
        "device": place.type,
        "threads": torch.get_num_threads(),
        "processes": group.world,
        "config": None if config is None else {**config, "options": {}},  # they stand above
    }
