"""The command `demo`: two probes and an oracle, each whole as soon as it is measured."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._foreign import FILES, REPORT
from ...errors import ProbeError
from .. import ending, machine, talk, writing
from ..stopping import stopping

if TYPE_CHECKING:
    from ...data import ImageSet
    from ...networks import Network
    from ...probing import OracleResult, ProbeConfig, Result

LAYERS = ("conv1", "relu1", "conv2", "relu2")
PROBES = {"rotations": "rotation:-180:180:45", "scalings": "scaling:0.5:2:5"}
ORACLE = "rotation:90 scaling:2"
PARTS = (*PROBES, "oracle")
_DRAFT = "report.unfinished"  # where the page is made; a killed run may leave it


def demo(
    out: Path, *, number: int, seed: int, resume: bool, overwrite: bool, wide: bool, show: bool
) -> None:
    """Measure part by part in OUT.unfinished, which becomes OUT when its page is written."""
    if resume and overwrite:
        raise ProbeError("--resume keeps the demo and --overwrite replaces it; give one of them")
    from ...probing import Options, ProbeConfig
    from ...probing.config import load_images, load_network
    from ...running.folders import check_place
    from ...running.resume import unfinished_folder
    from .. import tables

    check_place(out)
    with writing.place(out):
        place = unfinished_folder(out)
        whole = _check(out, place, resume=resume, overwrite=overwrite)
        if whole:
            place = out
        config = ProbeConfig(layers=LAYERS, number=number, options=Options(seed=seed))
        network = load_network(config)
        images = load_images(config, network)
        go_on = f"go on with: invariance-probe demo --number {number} --seed {seed} --resume --out "
        go_on += shlex.quote(str(out))
        with _stopped(place, go_on):
            results = {
                name: _probed(place / name, replace(config, transforms=moves), network, images)
                for name, moves in PROBES.items()
            }
            aligned = _aligned(
                place / "oracle", replace(config, transforms=ORACLE), network, images
            )
            if not whole:
                with writing.undrawn(f"{place} is complete but for its page", go_on):
                    _write_page(place, [*results, "oracle"])
                _publish(place, out, overwrite=overwrite or resume)
    ending.written.append(out)
    tables.show_results(list(results.values()), talk.out(), wide=wide)
    if wide:
        tables.show_oracle(aligned, talk.out())
    page = out / REPORT
    machine.dump(
        {
            "page": page,
            **{name: machine.result_values(result) for name, result in results.items()},
            "oracle": machine.oracle_values(aligned),
        }
    )
    talk.say(f"tables: {', '.join(str(out / name) for name in PARTS)}", "bold")
    talk.say(f"the page to read: open {shlex.quote(str(page))}", "bold")
    talk.say(f"for a paper: invariance-probe report {shlex.quote(str(out))} --paper")
    if show:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _write_page(place: Path, parts: Sequence[str]) -> None:
    """The report of all parts, with its viewer, as one file beside them."""
    from ...reporting import report

    draft = place / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    with talk.progress("reporting") as tell:
        page = report(
            [place / name for name in parts], draft, viewer=True, processes=2,
            progress=lambda text: tell(0, 0, text),
        )  # fmt: skip
    page.replace(place / REPORT)


def _check(out: Path, place: Path, *, resume: bool, overwrite: bool) -> bool:
    """Refuse what cannot be begun or gone on with; make room where a demo is to be replaced.

    Whether the demo to go on with is finished: killed after its page took its place, or later.
    """
    from ...running.claims import is_holder
    from ...running.folders import check_free, strangers
    from ...running.resume import check_none

    check_free(out, overwrite=overwrite or resume, parts=PARTS, marker=REPORT)
    held = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
    known = {REPORT, _DRAFT, FILES, *PARTS, *(f"{name}.unfinished" for name in PROBES)}
    others = [name for name in held if name not in known and not is_holder(name)]
    others += [f"{n}/{f}" for n in PARTS if n in held for f in strangers(place / n)]
    if others or (place.exists() and not place.is_dir()):
        raise ProbeError(
            f"{place} is in the way of an unfinished demo; move it, or name another --out"
        )
    whole = (
        resume and not held and all((out / name).exists() for name in (REPORT, *PROBES, "oracle"))
    )
    if resume and not held and not whole:
        raise ProbeError(f"no unfinished demo waits at {place}; omit --resume to begin one")
    if not resume:
        check_none(place, {} if held else None, overwrite, "a demo")
        shutil.rmtree(place, ignore_errors=True)
    return whole


def _probed(place: Path, config: ProbeConfig, network: Network, images: ImageSet) -> Result:
    """The result of a part, saved; the one that is there, if it is of this demo."""
    from ...probing import load_result, run_config
    from ...running.processes import Group
    from ...running.resume import Unfinished, remove, unfinished_folder

    if place.exists():
        result = load_result(place)
        _same(place, result.provenance, config)
    else:
        keeper = Unfinished(unfinished_folder(place), Group(), keep=True)
        with stopping(saving=True) as stop, talk.progress(f"probing {place.name}") as report:
            result = run_config(
                config, report, network=network, images=images, unfinished=keeper, resume=True,
                stop=stop,
            )  # fmt: skip
        result.save(place)
    remove(unfinished_folder(place))
    return result


def _aligned(place: Path, config: ProbeConfig, network: Network, images: ImageSet) -> OracleResult:
    """The oracle's result, saved; the one that is there, if it is of this demo."""
    from ...probing import load_oracle, oracle

    if place.exists():
        held = load_oracle(place)
        _same(place, held.provenance, config)
        return held
    talk.hint("oracle: one layer's maps moved back exactly, as the best spatial transformer would")
    with talk.progress("oracle") as report:
        aligned = oracle(
            network, LAYERS, ORACLE, images, progress=report, options=config.options,
            config=config.to_dict(),
        )  # fmt: skip
    aligned.save(place)
    return aligned


def _same(place: Path, provenance: Mapping[str, Any], config: ProbeConfig) -> None:
    """Refuse to go on with the demo of other options or of another version."""
    from ... import __version__
    from ...running.files import differences

    held = dict(provenance.get("config") or {})  # the figures are still to be drawn by it
    wanted = config.to_dict()
    for values in (held, wanted):  # chosen by the machine
        options = values.get("options")
        values["options"] = {**(options if isinstance(options, dict) else {}), "batch_size": None}
    changed = differences(held, wanted)
    if not changed and provenance.get("software", {}).get("version") != __version__:
        changed = "another version of this package"
    if changed:
        raise ProbeError(
            f"{place} belongs to another demo ({changed}); go on as it began, or begin again with "
            "--overwrite"
        )


def _publish(place: Path, out: Path, *, overwrite: bool) -> None:
    """The finished demo takes its place, without what killed runs left in it."""
    from ...running.folders import publish

    for entry in place.iterdir():
        if entry.name not in (*PARTS, REPORT):
            shutil.rmtree(entry, ignore_errors=True)
    publish(place, out, overwrite=overwrite, parts=PARTS, marker=REPORT)


@contextmanager
def _stopped(place: Path, go_on: str) -> Iterator[None]:
    """What is left when the demo is stopped, and a word on how to go on."""
    try:
        yield
    except BaseException as stopped:
        with suppress(OSError):
            place.rmdir()  # where nothing came into it
        if isinstance(stopped, KeyboardInterrupt) and place.exists():
            stopped.args = (go_on,)
        raise
