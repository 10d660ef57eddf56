"""What the analyses of trained spatial transformers share: their figures and their origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from invariance_probe.data.examples import Examples
    from invariance_probe.training import TrainedRun


def pose_figures(
    shown: Mapping[str, tuple[TrainedRun, Mapping[int, pd.DataFrame]]],
    examples: Examples,
    *,
    seed: int = 0,
) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of runs by label: poses per kind, aligned images, class means.

    Each run, with its tables of poses by seed, is shown by its first seed.
    """
    from invariance_probe.reporting import plot_aligned, plot_class_means, plot_pose_histogram
    from invariance_probe.training.pose_statistics import varied_kinds

    if not shown:
        return
    tables = {label: next(iter(own.values())) for label, (_, own) in shown.items()}
    varied = varied_kinds(next(iter(tables.values())))
    for kind in varied:
        if kind not in ("translation_x", "translation_y") or "translation" not in varied:
            yield f"poses_{kind}", plot_pose_histogram(tables, kind)
    networks = {label: trained.networks[next(iter(own))] for label, (trained, own) in shown.items()}
    yield "aligned", plot_aligned(networks, examples, seed=seed)
    yield "class_means", plot_class_means(networks, examples, seed=seed)


def run_provenance(trained: TrainedRun) -> dict[str, Any]:
    """What a training run was and what came of it, for JSON."""
    from invariance_probe.probing.provenance import state_sha256

    about = next(iter(trained.metadata.values()))
    return {
        "config": trained.config.as_dict(),
        "data": about["data"],
        "torch": about["torch"],
        "state_sha256": {str(s): state_sha256(net) for s, net in trained.networks.items()},
    }
