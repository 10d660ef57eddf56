"""Which channels does the response move to when the image is rotated or scaled?

Probes each group of transformations on one checkpoint with channel maps, and writes a folder per
group with the tables (CSV), their provenance (JSON) and the figures: correlations by the
permutation found, the share of variance that moved beside chance, tuning curves, and whether
channel maps compose as the transformations do. The folder `overview` holds all groups' ladder and
channel numbers in one table, the preference of every channel, and the command.

example:
  python analyses/channel_shift.py --checkpoint mine.safetensors --network mnist_cnn \\
      --data digits --number 1000 --out figures/channel_shift
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import folders, parser, probe_config, run, write_provenance  # noqa: E402  (beside this script)

if TYPE_CHECKING:
    import pandas as pd

    from invariance_probe.probing import Result

DEFAULTS = ("rotation:-180:180:15", "scaling:0.5:2:9")
OVERVIEW = "overview"


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = parser("channel_shift", __doc__, number=200)
    made.add_argument(
        "--layers", nargs="+", default=["conv1", "pool1", "conv2", "pool2"], help="names, patterns"
    )
    made.add_argument(
        "--transforms", nargs="+", default=list(DEFAULTS), help="one group, and folder, each"
    )
    return run("channel_shift", analyse, made.parse_args(words), words)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe every group and write all of them, or nothing; returns the folders' names."""
    import pandas as pd

    from invariance_probe.probing import run_config
    from invariance_probe.reporting import save_figures
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    groups = folders(asked.transforms)
    parts = (*groups, OVERVIEW)
    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=parts)
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=parts) as folder:
        rows, preferred, runs = [], [], {}
        for name, transforms in zip(groups, asked.transforms, strict=True):
            config = probe_config(asked, transforms, asked.layers)
            result = run_config(config)
            result.save(folder / name)
            save_figures(result, folder / name / FIGURES, asked.formats, width=asked.figure_width)
            table = overview(result)
            print(report(table))
            for warning in result.warnings:
                print(f"note: {warning}")
            table.insert(0, "group", name)
            rows.append(table)
            preferred += [part.assign(group=name) for part in tuning(result)]
            runs[name] = result.provenance
        own = folder / OVERVIEW
        own.mkdir()
        tables = {"summary": rows, "tuning": preferred}
        for name, found in tables.items():
            if found:
                whole = pd.concat(found, ignore_index=True)
                whole.to_csv(own / f"{name}.csv", index=False, lineterminator="\n")
        write_provenance(own, {"command": command, "runs": runs})
    return parts


def overview(result: Result) -> pd.DataFrame:
    """One row per layer and transformation: the ladder beside what moved."""
    keys = ["layer", "transform"]
    ladder = result.summary.drop(columns=["kind", "parameter", "identity"])
    return result.channels.merge(ladder, on=keys)


def tuning(result: Result) -> list[pd.DataFrame]:
    """Preferred angle or scale of every channel, where the result has such transformations."""
    from invariance_probe.probing.ladder.tuning import tuning_summary

    turned = set(result.tuning["kind"]) & {"rotation", "scaling"}
    return [tuning_summary(result)] if turned else []


def report(table: pd.DataFrame) -> str:
    """The layers under the transformation that tells most: as a table for the terminal."""
    moves = table.drop_duplicates("transform")
    moves = moves[~moves["identity"].astype(bool)]
    if moves.empty:
        return "nothing but the identity: no channel moves"
    near = (moves["parameter"].astype(float) - 90).abs() + 1000.0 * (moves["kind"] != "rotation")
    chosen = str(moves["transform"].loc[near.idxmin()])
    columns = {
        "layer": "layer", "inverse": "h⁻¹", "inverse_permuted": "permuted",
        "inverse_orthogonal": "orthogonal", "inverse_linear": "linear",
        "input_aligned": "floor", "other_image": "ceiling", "moved": "moved",
        "moved_by_chance": "by chance", "strongest_changed": "strongest changed",
        "strongest_changed_floor": "its floor",
    }  # fmt: skip
    rows = table.loc[table["transform"] == chosen, list(columns)].rename(columns=columns)
    text = rows.to_string(index=False, float_format=lambda value: f"{value:.2f}", na_rep="–")
    return f"\n{chosen}\n{text}"


if __name__ == "__main__":
    sys.exit(main())
