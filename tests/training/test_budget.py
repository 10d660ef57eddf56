"""The line that says how a run was trained: the same exactly where runs can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invariance_probe.networks.stn.architecture import Architecture
from invariance_probe.training import Recipe, TrainConfig, TrainedRun, preset
from invariance_probe.training.runs.budget import training_budget


def budget(
    name: str = "CNN", recipe: Recipe | None = None, seeds: tuple[int, ...] = (0, 2),
    data: str = "MNIST-R, training: the 60,000 MNIST training images", **given: Any,
) -> str:  # fmt: skip
    architecture = Architecture(name, **given)
    chosen = recipe or preset("quick").changed({"iterations": 200, "clip": 5.0})
    config = TrainConfig("mnist-r", architecture, chosen, (0, 1, 2), "quick")
    described = {seed: {"data": data} for seed in seeds}
    networks: dict[int, Any] = dict.fromkeys(seeds)
    return training_budget(TrainedRun(Path("r"), config, networks, described))


def test_all_that_differs_from_the_preset_is_said() -> None:
    assert budget() == (
        "preset quick with iterations=200, clip=5.0; 200 iterations of 128 images; width 1; "
        "seeds 0 2; trained on the 60,000 MNIST training images"
    )
    assert budget(recipe=preset("quick"), seeds=(1,), width=0.25) == (
        "preset quick; 5,000 iterations of 128 images; width 0.25; seed 1; trained on the 60,000 "
        "MNIST training images"
    )
    said = budget(recipe=Recipe(epochs=3))
    assert "epochs=3" in said and "; 3 epochs of 128 images;" in said


def test_networks_and_distortions_leave_no_trace_and_all_else_does() -> None:
    one = budget()
    assert budget("STN-C0", family="tps") == one
    assert budget("ST-FCN", backbone="fcn") == one
    assert budget(data="MNIST-TC, training: the 60,000 MNIST training images") == one
    others = [
        budget(data="MNIST-R, training: 100 of the 60,000 MNIST training images"),
        budget(width=0.5),
        budget(dropout=0.25),
        budget(backbone="deep"),
        budget(seeds=(0,)),
        budget(recipe=preset("quick").changed({"iterations": 200})),
        budget(recipe=preset("quick").changed({"iterations": 200, "clip": 5.0, "momentum": 0.5})),
    ]
    assert len({one, *others}) == 1 + len(others)
    assert "; width 1, dropout 0.25; " in others[2]
    assert "; width 1, backbone deep; " in others[3]
