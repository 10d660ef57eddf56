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
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from alignment_error import folders  # noqa: E402  (a script beside this one)

if TYPE_CHECKING:
    import pandas as pd

    from invariance_probe.probing import Result

DEFAULTS = ("rotation:-180:180:15", "scaling:0.5:2:9")
OVERVIEW = "overview"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    summary, _, example = (__doc__ or "").partition("\nexample:")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog="example:" + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--network", default="mnist_cnn", help="mnist_cnn, a torchvision name, or module:factory")
    add("--checkpoint", help="weights, .safetensors or .pt; default: the embedded ones")
    add("--layers", nargs="+", default=["conv1", "pool1", "conv2", "pool2"], help="names, patterns")
    add("--transforms", nargs="+", default=list(DEFAULTS), help="one group, and folder, each")
    add("--data", default="digits", help="digits, a folder of images, or a torchvision data set")
    add("--data-root", help="where torchvision finds the data set")
    add("--number", type=int, default=200, help="images, half of them to fit (default 200)")
    add("--seed", type=int, default=0, help="of the split and the bootstrap")
    add("--device", default="cpu", help="cpu, cuda")
    add("--formats", nargs="+", default=["svg", "png"], help="of the figures: svg png pdf")
    add("--out", type=Path, default=Path("figures/channel_shift"), help="folder to write")
    add("--overwrite", action="store_true", help="replace an earlier result in that folder")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    asked = arguments(words)
    from invariance_probe.errors import ProbeError

    command = shlex.join(["python", "analyses/channel_shift.py", *(words or sys.argv[1:])])
    try:
        parts = analyse(asked, command)
    except ProbeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(f"\n{command}\nwrote {asked.out}/: " + ", ".join(parts))
    return 0


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Probe every group and write all of them, or nothing; returns the folders' names."""
    import pandas as pd

    from invariance_probe.probing import Options, ProbeConfig, run_config
    from invariance_probe.probing.storage import FIGURES, check_free, whole_folder
    from invariance_probe.reporting import save_figures
    from invariance_probe.reporting.files import check_formats

    groups = folders(asked.transforms)
    parts = (*groups, OVERVIEW)
    check_formats(asked.formats)
    check_free(asked.out, overwrite=asked.overwrite, parts=parts)
    with whole_folder(asked.out, overwrite=asked.overwrite, parts=parts) as folder:
        rows, preferred, runs = [], [], {}
        for name, transforms in zip(groups, asked.transforms, strict=True):
            config = ProbeConfig(
                network=asked.network,
                checkpoint=asked.checkpoint,
                layers=tuple(asked.layers),
                transforms=transforms,
                images=asked.data,
                data_root=asked.data_root,
                number=asked.number,
                device=asked.device,
                options=Options(seed=asked.seed),
            )
            result = run_config(config)
            result.save(folder / name)
            save_figures(result, folder / name / FIGURES, asked.formats)
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
        text = json.dumps(
            {"command": command, "runs": runs}, indent=2, sort_keys=True, ensure_ascii=False
        )
        (own / "provenance.json").write_text(text + "\n", encoding="utf-8")
    return parts


def overview(result: Result) -> pd.DataFrame:
    """One row per layer and transformation: the ladder beside what moved."""
    keys = ["layer", "transform"]
    ladder = result.summary.drop(columns=["kind", "parameter", "identity"])
    return result.channels.merge(ladder, on=keys)


def tuning(result: Result) -> list[pd.DataFrame]:
    """Preferred angle or scale of every channel, where the result has such transformations."""
    from invariance_probe.probing.tuning import tuning_summary

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
