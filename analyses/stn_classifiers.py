"""Which classifier with a spatial transformer errs least, and which one learns to align?

Trains networks on transformed images, several seeds each (what is trained already is kept, what
was interrupted goes on), tests each in fresh passes, and measures the poses that its transformer
gives to the test images. Training runs go to `runs`, and `overview` gets a table of networks by
data (CSV, LaTeX, Markdown), errors by pass, pose statistics by seed, figures for each data set
(predicted against applied pose, aligned images, class means), and the command.

example:
  python analyses/stn_classifiers.py --networks CNN STN-C0 STN-C1 STN-SL1 --data mnist-r \\
      --seeds 0 1 2 --preset quick --out figures/stn_classifiers
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
    pose_figures,
    provenance,
    trained,
    training_arguments,
)

NETWORKS = ("CNN", "STN-C0", "STN-C1", "STN-SL1")


def main(words: Sequence[str] | None = None) -> int:
    """Run the analysis; 0 when it is written, 2 for input it cannot use."""
    made = bare_parser("stn_classifiers", __doc__)
    add = made.add_argument
    add("--networks", nargs="+", default=list(NETWORKS), help="such as CNN STN-C0 STN-SL1x2")
    add("--data", nargs="+", default=["mnist-r"], help="data sets by name: mnist-r mnist-t ...")
    training_arguments(made)
    return run("stn_classifiers", analyse, made.parse_args(words), words, STOPPED)


def analyse(asked: argparse.Namespace, command: str) -> tuple[str, ...]:
    """Train what is missing, measure all, and write the overview whole or not at all."""
    from papers.classifier_tables import classifier_latex, classifier_markdown, classifier_table

    from invariance_probe.reporting import write_figure
    from invariance_probe.reporting.files import check_formats
    from invariance_probe.running.folders import FIGURES, check_free, whole_folder

    check_formats(asked.formats)
    check_free(asked.out / OVERVIEW, overwrite=asked.overwrite)
    plans, tests = planned(asked)
    runs = trained(plans, tests, asked)
    errors, statistics, poses = measured(runs, tests, asked)
    table = classifier_table(errors, statistics)
    written = {"summary": table, "errors": errors, "poses": statistics}
    with whole_folder(asked.out / OVERVIEW, overwrite=asked.overwrite) as folder:
        for name, rows in ((name, rows) for name, rows in written.items() if rows is not None):
            rows.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        budgets = {one.config.data: budget_of(asked, one) for one in runs.values()}
        page, latex = classifier_markdown(table, budgets), classifier_latex(table, budgets)
        (folder / "table_classifiers.md").write_text(page, encoding="utf-8")
        (folder / "table_classifiers.tex").write_text(latex, encoding="utf-8")
        for data, test in tests.items():
            keys = [key for key in poses if runs[key].config.data == data]
            shown = {runs[key].config.architecture.name: (runs[key], poses[key]) for key in keys}
            for name, figure in pose_figures(
                shown, test, seed=asked.test_seed, width=asked.figure_width
            ):
                for suffix in asked.formats:
                    path = folder / FIGURES / f"{name}_{Path(data).name}.{suffix}"
                    write_figure(figure, path)
        write_provenance(folder, provenance(asked, command, runs))
    print(f"\n{page}")
    return (*(["runs"] if asked.runs is None else []), OVERVIEW)


if __name__ == "__main__":
    sys.exit(main())
