"""The command `probe`: in one process or in several, begun or gone on with."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ProbeError
from .. import ending, machine, reading, talk, writing
from ..stopping import stopping

if TYPE_CHECKING:
    from ...data import ImageSet
    from ...networks import Network
    from ...probing import ProbeConfig, Result
    from ...running.resume import Unfinished


_LESS = "(a smaller --number, fewer --transforms or --layers take less; Ctrl-C saves)"


class _Waiting(NamedTuple):
    """What there is of a probe already: its unfinished state, or a result that is whole."""

    about: dict[str, Any] | None
    whole: bool
    overwrite: bool


def probe(
    out: Path,
    given: dict[str, Any],
    options: dict[str, Any],
    *,
    config: Path | None,
    figures: bool,
    resume: bool,
    overwrite: bool,
    save_every: float,
    trust: bool,
) -> None:
    """Probe what the options say; the first process alone writes tables and figures."""
    if resume and overwrite:
        raise ProbeError("--resume keeps the probe and --overwrite replaces it; give one of them")
    if not save_every >= 0:
        raise ProbeError(f"--save-every {save_every:g}: give seconds, 0 or more")
    from ...running.folders import check_place
    from ...running.processes import processes
    from ...running.resume import Unfinished, unfinished_folder

    stored = reading.stored_config(config)
    first = reading.configured(stored, given, options)  # the cheapest checks come first
    if config is not None:
        reading.check_stored(first, given, trust, config)
    writing.check_apart(out, given["images"] or stored.get("images"))
    device = given["device"] or stored.get("device") or "cpu"
    reading.check_device(device)
    reading.check_transforms(first.transforms)
    asked = config is not None or any(value is not None for value in (given | options).values())
    with processes(device) as (group, _), ExitStack() as held:

        def look() -> _Waiting:
            """What waits at the output, in the process that has it."""
            check_place(out)
            held.enter_context(writing.place(out))
            return _waiting(out, asked=asked, resume=resume, overwrite=overwrite)

        waiting = group.from_main(look)
        if waiting.whole:
            if group.main:
                _complete(out, given, options, config=config, figures=figures, trust=trust)
            return
        if resume and waiting.about is not None and config is None:
            stored = _unfinished_config(waiting.about["identity"])
            asked_for = reading.configured(stored, given, options)
            reading.check_stored(asked_for, given, trust, unfinished_folder(out))
        chosen = reading.configured(stored, given, options)
        writing.check_apart(out, chosen.images)
        with group.together():
            reading.check_device(chosen.device)
            if "layers" not in stored and not given["layers"]:
                chosen = reading.with_layers(chosen)
        note = {"replaces": group.from_main(lambda: writing.known_as(out))}
        keeper = Unfinished(unfinished_folder(out), group, save_every, keep=True, note=note)
        result, network, images = _run(chosen, keeper, out, resume=resume, overwrite=overwrite)
        if not group.main:
            return
        result.save(out, overwrite=waiting.overwrite)
        _finish(result, out, network, images, figures=figures)


def _waiting(out: Path, *, asked: bool, resume: bool, overwrite: bool) -> _Waiting:
    """What waits at the output; ProbeError where it cannot be begun or gone on with."""
    from ...running.folders import check_free, holds_result
    from ...running.resume import check_none, read_about, unfinished_folder

    unfinished = unfinished_folder(out)
    about = read_about(unfinished)
    if not resume:
        check_free(out, overwrite=overwrite)
        check_none(unfinished, about, overwrite)
        return _Waiting(about, False, overwrite)
    if holds_result(out):
        # A state beside a result: of a run that is to replace it, or that was killed at its end.
        replaces = about is not None and about["note"].get("replaces") == writing.known_as(out)
        check_free(out, overwrite=True)
        return _Waiting(about, not replaces, replaces)
    check_free(out, overwrite=False)
    if about is None and not asked:
        raise ProbeError(f"no unfinished probe waits at {unfinished}; omit --resume to begin one")
    return _Waiting(about, False, False)


def _complete(
    out: Path, given: dict[str, Any], options: dict[str, Any], *, config: Path | None,
    figures: bool, trust: bool,
) -> None:  # fmt: skip
    """A result that is whole already: draw the figures that it lacks."""
    from ...probing import ProbeConfig, load_result
    from ...probing.config import load_images, load_network
    from ...running.files import differences
    from ...running.folders import FIGURES

    result = load_result(out)
    held = result.provenance.get("config") or {}
    stored = reading.stored_config(config) or held
    plain = ProbeConfig.from_dict(held).to_dict()
    if changed := differences(plain, reading.configured(stored, given, options).to_dict()):
        raise ProbeError(
            f"{out} holds the result of another probe ({changed}); name another folder, or replace "
            "it with --overwrite"
        )
    if not figures or (out / FIGURES).exists():
        _finish(result, out, None, None, figures=False)
        return
    chosen = ProbeConfig.from_dict(held)
    reading.check_stored(chosen, given, trust, out)
    network = load_network(chosen)
    _finish(result, out, network, load_images(chosen, network), figures=True)


def _finish(
    result: Result,
    out: Path,
    network: Network | None,
    images: ImageSet | None,
    *,
    figures: bool,
) -> None:
    """Figures beside a result that is saved, then the end of its state, then the tables."""
    from ...probing import ProbeConfig
    from ...probing.verification.trust import allowing
    from ...running.resume import remove, unfinished_folder
    from .. import tables

    if figures and network is not None and images is not None:
        config = ProbeConfig.from_dict(result.provenance["config"])
        again = f"invariance-probe probe --resume --out {_word(out)}{allowing(config)}"
        with writing.undrawn(f"{out} is complete but for its figures", f"draw them with: {again}"):
            writing.add_figures(result, out, network, images)
    remove(unfinished_folder(out))
    ending.written.append(out)
    tables.show_results([result], talk.out(), wide=True)
    machine.dump({"folder": out, **machine.result_values(result)})
    talk.say(f"tables{' and figures' * figures}: {out}", "bold")
    allowed = allowing(ProbeConfig.from_dict(result.provenance["config"]))
    talk.say(f"next, one page to read: invariance-probe report {_word(out)}{allowed}", "bold")
    talk.say("for a paper, add --paper: figures, LaTeX tables, methods, references")


def _word(out: Path) -> str:
    return shlex.quote(str(out))


def _run(
    chosen: ProbeConfig, keeper: Unfinished, out: Path, *, resume: bool, overwrite: bool
) -> tuple[Result, Network, ImageSet]:
    """The result with the network and the images it is of, or a word on how to go on."""
    from ... import probing
    from ...geometry import parse_transforms
    from ...probing.config import load_images, load_network
    from ...probing.verification.trust import allowing

    try:
        with stopping(saving=True) as stop, talk.progress("probing") as report:
            parse_transforms(chosen.transforms)  # the cheapest check comes first
            with keeper.group.together():
                network = load_network(chosen)
                images = load_images(chosen, network)
            result = probing.run_config(
                chosen, talk.announcing(report, "passes", _LESS), network=network, images=images,
                unfinished=keeper, resume=resume, overwrite=overwrite, stop=stop,
            )  # fmt: skip
    except KeyboardInterrupt as stopped:
        if (keeper.folder / "state.json").is_file():
            several = os.environ.get("WORLD_SIZE", "1") != "1"
            how = "the same torchrun -m invariance_probe" if several else "invariance-probe"
            stopped.args = (
                f"go on with: {how} probe --resume --out {_word(out)}{allowing(chosen)}",
            )
        raise
    return result, network, images


def _unfinished_config(identity: Any) -> dict[str, Any]:
    held = identity if isinstance(identity, dict) else {}
    config, options = held.get("config"), held.get("options", {})
    if not isinstance(config or {}, dict) or not isinstance(options, dict):
        raise ProbeError("the unfinished probe holds no configuration; begin again (--overwrite)")
    if not config:
        raise ProbeError(
            "this probe was begun on Python objects; go on with it from the script that began it"
        )
    return {**config, "options": options}
