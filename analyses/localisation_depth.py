"""Does it help to localise from deeper features, or to align more than once?

Trains classifiers that localise after more and more blocks, with layers shared or of their own, and
ones that align several times (what is trained already is kept, what was interrupted goes on), tests
each in fresh passes and measures the poses that it gives. Training runs go to `runs`, and
`overview` gets tables over seeds and by seed (CSV, LaTeX, Markdown), a figure with every seed for
each data set, and the command.

example:
  python analyses/localisation_depth.py --data fashion-r --data-root /usr/share/datasets \\
      --width 0.25 --set iterations=1500 batch_size=64 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parent), str(_HERE)]  # runs from a clone, uninstalled

from _common import bare_parser, run, write_provenance  # noqa: E402  (beside this script)
from _stn import (  # noqa: E402
    OVERVIEW,
    STOPPED,
    budget_of,
    measured,
    planned,
    provenance,
    trained,
    training_arguments,
)

NETWORKS = ("CNN", "STN-C0", "STN-SL1", "STN-SL2", "STN-SL4", "STN-DL1", "STN-DL2", "STN-DL4",
            "STN-SL2x2", "STN-SL2x3")  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("localisation_depth", __doc__)
    add = made.add_argument
    add("--networks", nargs="+", default=list(NETWORKS), help="such as CNN STN-SL4 STN-SL4x2")
    add("--data", nargs="+", default=["fashion-r"], help="data sets by name: fashion-r street ...")
    add("--backbone", default="deep", help="mnist, svhn, plankton or deep (default)")
    training_arguments(made)
    return run("localisation_depth", analyse, made.parse_args(words), words, STOPPED)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Train what is missing, measure all, and write the overview whole or not at all."""
    from papers.depths import (
        depth_latex,
        depth_markdown,
        depth_rows,
        depth_table,
        plot_depths,
    )

    from invariance_probe.reporting import write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    check_formats(asked.formats)
    check_free(asked.out / OVERVIEW, overwrite=asked.overwrite)
    plans, tests = planned(asked, backbone=asked.backbone)
    runs = trained(plans, tests, asked)
    errors, poses, _ = measured(runs, tests, asked)
    networks = {key: one.config.architecture for key, one in runs.items()}
    rows = depth_rows(errors, poses, networks)
    table = depth_table(rows)
    note = "; or ".join(dict.fromkeys(budget_of(asked, one) for one in runs.values())) + "."
    page = depth_markdown(table, f"Trained: {note}")
    with whole_folder(asked.out / OVERVIEW, overwrite=asked.overwrite) as folder:
        written = {"seeds": rows, "summary": table, "errors": errors, "poses": poses}
        for name, content in ((name, one) for name, one in written.items() if one is not None):
            content.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        (folder / "table_depths.md").write_text(page, encoding="utf-8")
        text = depth_latex(table, f"Trained: {note}")
        (folder / "table_depths.tex").write_text(text, encoding="utf-8")
        for data, own in rows.groupby("data", sort=False):
            if (own["kind"] != "none").any():
                figure = plot_depths(own, width=asked.figure_width)
                for suffix in asked.formats:
                    path = folder / FIGURES / f"depths_{Path(str(data)).name}.{suffix}"
                    write_figure(figure, path)
        write_provenance(folder, provenance(asked, command, runs))
    print(f"\n{page}")
    return (*(["runs"] if asked.runs is None else []), OVERVIEW)


if __name__ == "__main__":
    sys.exit(main())
