"""What a run was given to learn from, in one line: only runs of one budget can be compared."""

from __future__ import annotations

from ...networks.stn.architecture import Architecture
from ..presets import kind_of_data, preset
from .trained_run import TrainedRun

_SAID = ("iterations", "epochs", "batch_size")
# What a table's rows and columns say of a network, or its data set does.
_NETWORK = {
    "name", "backbone", "canvas", "channels", "classes", "positions", "family", "head", "reduction",
    "beyond", "fill", "parallel", "width",
}  # fmt: skip


def training_budget(run: TrainedRun) -> str:
    """Return in words how a run was trained: recipe, length, width, seeds and examples.

    The preset with every field that differs from it, iterations and batch size, the fraction of the
    network's filters, a backbone other than the data's and how else it departs from the default,
    the seeds that are finished, and the training images without the name of their distortion.
    Networks and data sets leave no trace, so that two runs have the same line exactly where nothing
    but these differs.
    """
    config = run.config
    recipe = config.recipe
    base = preset(config.preset, config.data).as_dict() if config.preset else {}
    changed = [
        f"{name}={value}"
        for name, value in recipe.as_dict().items()
        # The seed of a recipe is not used, and without a preset length and batch size stand alone.
        if name != "seed" and (value != base[name] if base else name not in _SAID)
    ]
    name = f"preset {config.preset}" if config.preset else "own recipe"
    length = f"{recipe.epochs} epochs" if recipe.iterations is None else None
    length = length or f"{recipe.iterations:,} iterations"
    if changed:
        name += f" with {', '.join(changed)}"
    usual = Architecture().as_dict()
    backbone = config.architecture.backbone
    expected = ("fcn", kind_of_data(config.data))  # the name of a network says "FCN"
    built = f", backbone {backbone}" if backbone not in expected else ""
    built += "".join(
        f", {field} {value}"
        for field, value in config.architecture.as_dict().items()
        if field not in _NETWORK and value != usual[field]
    )
    images = next(iter(run.metadata.values()))["data"]
    seeds = " ".join(["seeds" if len(run.networks) > 1 else "seed", *map(str, run.networks)])
    return (
        f"{name}; {length} of {recipe.batch_size} images; width "
        f"{config.architecture.width:g}{built}; {seeds}; "
        f"trained on {images.partition(': ')[2] or images}"
    )
