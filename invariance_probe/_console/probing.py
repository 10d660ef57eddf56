"""The command `probe`: in one process or in several, begun or gone on with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError
from . import ending, reading, talk, writing
from .stopping import stopping

if TYPE_CHECKING:
    from ..probing import ProbeConfig, Result


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
) -> None:
    """Probe what the options say; the first process alone writes tables and figures."""
    if resume and overwrite:
        raise ProbeError("--resume keeps the probe and --overwrite replaces it; give one of them")
    if not save_every >= 0:
        raise ProbeError(f"--save-every {save_every:g}: give seconds, 0 or more")
    from ..probing.distributed import processes
    from ..probing.storage import check_free, whole_folder
    from ..probing.unfinished import check_none, read_about, unfinished_folder

    unfinished = unfinished_folder(out)
    stored = reading.stored_config(config)
    reading.configured(stored, given, options)  # the cheapest checks come first
    device = given["device"] or stored.get("device") or "cpu"
    reading.check_device(device)
    with processes(device) as (group, _):

        def look() -> dict[str, Any] | None:
            """What waits beside the output, in the process that has it."""
            check_free(out, overwrite=overwrite)
            about = read_about(unfinished)
            if not resume:
                check_none(unfinished, about, overwrite)
            return about

        about = group.from_main(look)
        if resume and about is not None and config is None:
            stored = _unfinished_config(about["identity"])
        chosen = reading.configured(stored, given, options)
        with group.together():
            reading.check_device(chosen.device)
            if "layers" not in stored and not given["layers"]:
                chosen = reading.with_layers(chosen)
        result = _run(
            chosen, unfinished, out, resume=resume, overwrite=overwrite, save_every=save_every
        )
        if not group.main:
            return
        from . import tables

        with whole_folder(out, overwrite=overwrite) as folder:
            writing.write_result(result, folder, figures=figures)
        ending.written.append(out)
        tables.show_results([result], talk.out())
        talk.say(f"tables{' and figures' * figures}: {out}", "bold")


def _run(
    chosen: ProbeConfig,
    unfinished: Path,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    save_every: float,
) -> Result:
    """The result, or a word on how to go on."""
    from .. import probing

    try:
        with stopping(saving=True) as stop, talk.progress("probing") as report:
            return probing.run_config(
                chosen, report, unfinished=unfinished, resume=resume, overwrite=overwrite,
                save_every=save_every, stop=stop,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not (unfinished / "state.json").is_file():
            raise KeyboardInterrupt from None
        several = os.environ.get("WORLD_SIZE", "1") != "1"
        how = "the same torchrun -m invariance_probe" if several else "invariance-probe"
        raise KeyboardInterrupt(f"go on with: {how} probe --resume --out {out}") from None


def _unfinished_config(identity: dict[str, Any]) -> dict[str, Any]:
    config = identity.get("config")
    if not config:
        raise ProbeError(
            "this probe was begun on Python objects; go on with it from the script that began it"
        )
    return {**config, "options": identity["options"]}
