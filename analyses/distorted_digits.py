"""How far from the published errors on distorted digits are the same networks, trained here?

Trains the networks of Jaderberg et al. 2015 on rotated (R), rotated, scaled and translated (RTS),
projectively (P) and elastically (E) distorted digits, on translated digits in clutter (TC) and on
pairs of digits to be added, with affine, projective and thin plate spline transformers (what is
trained already is kept, what was interrupted goes on), and tests them in fresh passes. Training
runs go to `runs`, and `overview` gets a table of networks by data sets beside the published numbers
(CSV, LaTeX, Markdown), errors by pass, a figure, and the command. Networks that were not trained
alike never share a table: `--as-trained` shows all runs that are there, grouped by their training.

example:
  python analyses/distorted_digits.py --data mnist-r mnist-rts --families affine tps \\
      --seeds 0 1 2 --set iterations=5000 --data-root DIR --out figures/distorted_digits
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)
from _stn import (  # noqa: E402
    OVERVIEW,
    STOPPED,
    config_of,
    errors_of,
    examples_of,
    fields_of,
    provenance,
    recipes_of,
    trained,
    training_arguments,
)

if TYPE_CHECKING:
    from invariance_probe.data.examples.examples import Examples
    from invariance_probe.training import TrainConfig, TrainedRun

FAMILIES = ("affine", "projective", "tps")
DATA = ("mnist-r", "mnist-rts", "mnist-p", "mnist-e", "mnist-tc", "mnist-addition")
# The paper's: fully connected before the FCN, two convolutions on half the size before the CNN.
HEADS = {"ST-FCN": "FCN", "ST-CNN": "CNN", "STN-C0": "CNN"}


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("distorted_digits", __doc__)
    add = made.add_argument
    add("--networks", nargs="+", help="such as FCN ST-CNN 2xST-FCN; default: the paper's on each")
    add("--families", nargs="+", default=list(FAMILIES), help="warps of the transformers")
    add("--data", nargs="+", default=list(DATA), help="data sets by name: mnist-r mnist-rts ...")
    add("--head", help="localisation network of all; default: the paper's (FCN, or CNN for ST-CNN)")
    add("--as-trained", action="store_true", help="train nothing, show the runs that are there")
    training_arguments(made)
    return run("distorted_digits", analyse, made.parse_args(words), words, STOPPED)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Train what is missing, test all, and write the overview whole or not at all."""
    import pandas as pd
    from papers.published_figure import plot_published
    from papers.published_tables import (
        beside_published,
        published_latex,
        published_markdown,
        published_names,
    )

    from invariance_probe.reporting import write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder
    from invariance_probe.training import training_budget

    check_formats(asked.formats)
    check_free(asked.out / OVERVIEW, overwrite=asked.overwrite)
    if asked.as_trained:
        runs, tests = found(asked)
    else:
        plans, tests = planned(asked)
        runs = trained(plans, tests, asked)
    errors = []
    for key, one in runs.items():
        network, family = published_names(one.config.architecture)
        rows = errors_of(key, one, tests[one.config.data], asked)
        errors.append(rows.assign(network=network, family=family, budget=training_budget(one)))
    table = beside_published(pd.concat(errors))
    with whole_folder(asked.out / OVERVIEW, overwrite=asked.overwrite) as folder:
        for name, rows in {"summary": table, "errors": pd.concat(errors)}.items():
            rows.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        page = published_markdown(table)
        (folder / "table_distorted.md").write_text(page, encoding="utf-8")
        (folder / "table_distorted.tex").write_text(published_latex(table), encoding="utf-8")
        for number, (_, rows) in enumerate(table.groupby("budget", sort=False), 1):
            name = "distorted" if number == 1 else f"distorted-{number}"
            figure = plot_published(rows, width=asked.figure_width)
            for suffix in asked.formats:
                write_figure(figure, folder / FIGURES / f"{name}.{suffix}")
        write_provenance(folder, provenance(asked, command, runs))
    print(f"\n{page}")
    return (*(["runs"] if asked.runs is None else []), OVERVIEW)


def planned(
    asked: argparse.Namespace,
) -> tuple[dict[str, tuple[TrainConfig, Examples]], dict[str, Examples]]:
    """What is to be trained, by "data/network-family", and test examples; checked before work."""
    from papers.published import NO_FAMILY, published_networks
    from papers.published_tables import published_names

    from invariance_probe.training import architecture_for

    recipes, given = recipes_of(asked, asked.data), fields_of(asked)
    plans, tests = {}, {}
    for data in dict.fromkeys(asked.data):
        networks = asked.networks or published_networks(data)
        examples, tests[data] = examples_of(asked, data)
        for name in networks:
            several, single = split(name)
            for family in asked.families:
                head = asked.head or HEADS.get(single.upper())
                own = {"family": family, "parallel": several, "head": head, **given}
                built = architecture_for(single, data, examples, **own)
                network, warp = published_names(built)
                if warp == NO_FAMILY:  # one network, whatever the families
                    built = architecture_for(name, data, examples, **given)
                key = f"{Path(data).name}/{network.replace(' ', '-')}{f'-{warp}' * bool(warp)}"
                plans[key] = (config_of(asked, data, built, recipes[data]), examples)
    return plans, tests


def found(asked: argparse.Namespace) -> tuple[dict[str, TrainedRun], dict[str, Examples]]:
    """The runs of the chosen data sets that are there, and their test examples."""
    from invariance_probe.data.catalogue import load_examples
    from invariance_probe.errors import ProbeError
    from invariance_probe.training import load_run

    place = asked.runs or asked.out / "runs"
    runs, tests = {}, {}
    for file in sorted(place.rglob("config.json")):
        key = file.parent.relative_to(place).as_posix()
        try:
            one = load_run(file.parent)
        except ProbeError as error:  # not begun, not finished, or no run at all
            print(f"{key} is left out: {error}")
            continue
        data = one.config.data
        if data not in asked.data:
            continue
        runs[key] = one
        if data not in tests:
            root = asked.data_root or one.config.data_root
            tests[data] = load_examples(data, root=root, train=False, number=asked.test_number)
    if not runs:
        raise ProbeError(
            f"no finished runs on {', '.join(asked.data)} in '{place}'; train some without "
            "--as-trained, or give their folder (--runs)"
        )
    return runs, tests


def split(name: str) -> tuple[int, str]:
    """How many transformers side by side, and the name for one: 2xST-FCN is (2, "ST-FCN")."""
    several = re.fullmatch(r"(\d)[x×](.+)", name.strip(), re.IGNORECASE)
    return (int(several[1]), several[2]) if several else (1, name)


if __name__ == "__main__":
    sys.exit(main())
