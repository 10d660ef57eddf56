"""The report on disk: a folder that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..._foreign import REPORT
from ...probing.verification.trust import Trust
from ...running.folders import check_free, whole_folder
from ...running.storage import altered
from ..drawing.style import NARROW, checked_width
from .contents import as_json, content
from .drawing import drawing
from .illustrations import illustrations
from .markdown import markdown
from .page import Extra, page
from .paper import FORMATS, write_paper
from .runs import Results, as_runs
from .viewing import viewer as viewer_section

_FOR_PAPER = ("spread",)  # boxes of single images take as long as all else together
_WITH_VIEWER, _ALONE = 0.65, 0.5  # shares of the figures that keep two processes equally busy


def report(
    results: Results | Iterable[Results],
    out: str | Path,
    *,
    paper: bool = False,
    viewer: bool = False,
    overwrite: bool = False,
    extras: Sequence[Extra] = (),
    processes: int = 1,
    figure_width: float | None = NARROW,
    trust: Trust = False,
    progress: Callable[[str], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Path:
    """Write the report of results to a folder; returns the HTML file.

    `results` are results of `probe` and `oracle`, folders that hold one, or folders of such. The
    folder gets `report.html`, one file that loads nothing; `report.md` with `figures/`; and
    `report.json` for machines. With `paper` also `paper/`: every figure as PDF, SVG and PNG with
    its data, `figure_width` millimetres wide (85 is one column of a page, 170 two; None takes what
    a figure holds), LaTeX tables, references and a methods paragraph. `viewer` runs the networks
    again on a few images and puts an interactive viewer of their maps into the page; for networks
    and images of others it needs `trust` (as for `pictures_of`), without which the page says what
    would have been called. `extras` are further sections of it. The same results give the same
    bytes. With `processes` = 2 a copy of this process draws some of the figures, where the system
    can (Linux, two cores). `progress` is called with what is being drawn, `notice` with what the
    page lacks for want of `trust`.

    Raises ProbeError for folders without results, the same result twice, results of nothing but
    the identity, a width below 70 or above 300, and a folder that holds anything but an older
    report (or that, without `overwrite`).
    """
    checked_width(figure_width)
    place = Path(out)
    check_free(place, overwrite=overwrite, marker=REPORT)
    runs = as_runs(results)
    remarks = [f"{run.name}: {one}" for run in runs.all for one in altered(run.result.provenance)]
    if notice is not None:
        for line in remarks:
            notice(line)
    said = content(runs)
    shown = list(illustrations(runs, _FOR_PAPER))
    printed = list(illustrations(runs, width=figure_width)) if paper else []
    share = 0.0 if processes < 2 else _WITH_VIEWER if viewer else _ALONE
    with drawing(shown, share=share) as finish:
        seen = viewer_section(runs, progress, trust, notice) if viewer else None
        figures = list(zip(shown, finish(progress), strict=True))
    with drawing(printed, FORMATS, share=_ALONE if processes > 1 else 0.0) as finish:
        ready = list(zip(printed, finish(progress), strict=True))
    text = page(said, figures, [*([seen] if seen else []), *extras])
    story = markdown(said, [one for one, _ in figures], "figures", "svg")
    with whole_folder(place, overwrite=overwrite, marker=REPORT) as folder:
        (folder / REPORT).write_text(text, encoding="utf-8")
        (folder / "report.md").write_text(story, encoding="utf-8")
        (folder / "report.json").write_text(as_json(said), encoding="utf-8")
        (folder / "figures").mkdir()
        for one, drawn in figures:
            (folder / "figures" / f"{one.name}.svg").write_bytes(drawn.files["svg"])
        if paper:
            if progress is not None:
                progress("files for the paper")
            write_paper(folder / "paper", said, runs, ready)
    return place / REPORT
