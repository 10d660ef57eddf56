"""Does a stored result hold? Hashes, tables against sums per image, and a replay of a sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...alignment import ratio
from ...errors import ProbeError
from ...running.hashes import HASH_FILE, file_hash
from ..config import ProbeConfig
from ..ladder.shares import read_off, readable
from ..oracles.result import OracleResult, load_oracle
from ..result import Result, load_result
from .replay import replay, replayed_errors
from .trust import Trust, Untrusted, stored_config

Array = NDArray[np.float64]

TOLERANCE = 1e-5
"""Largest deviation of a replayed error that counts as the same, as a share of the layer's mean
variance: what float32 and another batch size may change."""

_OTHER_DEVICE = 1e-3  # for results of another device than the one that replays them

Said = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `holds` is None where it could not be."""

    what: str
    holds: bool | None
    detail: str


def verify(
    folder: str | Path,
    *,
    images: int = 8,
    full: bool = False,
    trust: Trust = False,
    progress: Said | None = None,
) -> list[Check]:
    """Check a stored probe or oracle result, from its files to its numbers.

    Recomputes the hash of every file and of the content against `hash.json`; the tables against
    the sums per image; and, where the result has a configuration, replays it: by default the first
    `images` evaluation images under every transformation, for the rungs that need no fitting (and
    the best alignment and channel permutation as they are stored), with `full` the whole run and
    every number. What the configuration names beyond the package's own is called and read with
    `trust` only (as for `stored_config`); without, the replay is not done, and its check says what
    would have been called. `progress` is called with what is being done.

    Raises ProbeError when the folder holds no result, or a damaged one.
    """
    place = Path(folder)
    say = progress or (lambda _: None)
    say("hashes")
    oracle = (place / "accuracy.csv").is_file() and not (place / "residuals.csv").is_file()
    result = load_oracle(place) if oracle else load_result(place)
    checks = _hashes(place, result)
    checks.append(_tables(result))
    if full:
        say("replaying everything")
        checks.append(_replay_all(result, trust))
    else:
        say(f"replaying {images} images")
        checks.append(_replay_sample(result, images, trust))
    return checks


def holds(checks: list[Check]) -> bool:
    """Whether nothing that could be checked failed."""
    return all(check.holds is not False for check in checks)


def _hashes(folder: Path, result: Result | OracleResult) -> list[Check]:
    path = folder / HASH_FILE
    if not path.is_file():
        detail = f"no {HASH_FILE}: the result was saved without hashes; its content hash now is "
        return [Check("files", None, detail + result.content_hash)]
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        files, content = dict(stored["files"]), str(stored["content_hash"])
    except (ValueError, KeyError, TypeError):
        return [Check("files", False, f"{HASH_FILE} is damaged")]
    wrong = [
        name
        for name, value in sorted(files.items())
        if not (folder / name).is_file() or file_hash(folder / name) != value
    ]
    changed = f"changed since they were saved: {', '.join(wrong)}"
    same = result.content_hash == content
    return [
        Check("files", not wrong, changed if wrong else f"{len(files)} files are as saved"),
        Check(
            "content hash", same,
            content if same else f"stored {content}, recomputed {result.content_hash}",
        ),
    ]  # fmt: skip


def _tables(result: Result | OracleResult) -> Check:
    what = "tables against sums per image"
    if isinstance(result, OracleResult):
        right = (result.predictions == result.originals).mean(axis=-1)
        known = ~np.isnan(result.errors).any(axis=-1)
        table = result.accuracy
        rows = list(zip(result.axes["layer"], result.axes["treatment"], strict=True))
        keyed = table.set_index(["transform", "layer", "treatment"])["agreement"]
        stored = np.array(
            [[keyed[(move, *row)] for row in rows] for move in result.axes["transform"]]
        )
        off = np.abs(stored - right)[known]
    else:
        value = ratio(result.errors, result.variance[:, None, None, :])
        keyed = result.residuals.set_index(["layer", "transform", "rung"])["residual"]
        axes = result.axes
        stored = np.array([[[keyed[layer, move, rung] for rung in axes["rung"]]
                            for move in axes["transform"]] for layer in axes["layer"]])  # fmt: skip
        off = np.abs(stored - value)[np.isfinite(value)]
        pairs = [(stored, value)]
        summary = result.summary.set_index(["layer", "transform"])
        for name in readable(axes["rung"]):
            if name in summary:
                told = np.array(
                    [[summary.loc[(layer, m), name] for m in axes["transform"]]
                     for layer in axes["layer"]]
                )  # fmt: skip
                pairs.append((told, read_off(value, axes["rung"], name)))
                off = np.append(off, np.abs(told - pairs[-1][1])[np.isfinite(pairs[-1][1])])
        for one, other in pairs:
            if (np.isfinite(one) != np.isfinite(other)).any():
                off = np.append(off, np.inf)
    worst = float(off.max(initial=0.0))
    same = worst <= 1e-9
    said = f"{off.size} numbers follow from the sums" if same else f"numbers are off by {worst:.3g}"
    return Check(what, same, said)


def _replay_sample(result: Result | OracleResult, images: int, trust: Trust) -> Check:
    what = "replay of a sample"
    if isinstance(result, OracleResult):
        return Check(what, None, "an oracle is replayed as a whole; give --full")
    config, reason = _config(result, trust)
    if config is None:
        return Check(what, None, reason)
    if _impure(result):
        return Check(what, None, _IMPURE)
    if str(result.provenance.get("options", {}).get("precision", "float32")) != "float32":
        return Check(what, None, "measured in half precision, replayed as a whole; give --full")
    found = replayed_errors(result, config, images)
    if isinstance(found, str):
        return Check(what, False, found)
    scale = result.variance.mean(axis=1)
    worst, where, compared = 0.0, "", 0
    for (layer, move, rung), errors in found.items():
        place = (
            result.axes["layer"].index(layer),
            result.axes["transform"].index(move),
            result.axes["rung"].index(rung),
        )
        stored = result.errors[place][: len(errors)]
        if (np.isfinite(stored) & ~np.isfinite(errors)).any():
            return Check(what, False, f"{layer} under {move} is not finite now ({rung})")
        both = np.isfinite(stored) & np.isfinite(errors)
        compared += int(both.sum())
        off = np.abs(stored - errors)[both] / max(float(scale[place[0]]), 1e-300)
        if off.size and float(off.max()) > worst:
            worst, where = float(off.max()), f"{layer}, {move}, {rung}"
    rungs = list(dict.fromkeys(rung for _, _, rung in found))
    said = f"{compared} errors of {', '.join(rungs)}: largest deviation {worst:.1e}"
    device = str(result.provenance.get("numerics", {}).get("device", "cpu"))
    allowed = TOLERANCE if device == "cpu" else _OTHER_DEVICE
    same = worst <= allowed
    return Check(what, same, said if same else f"{said} ({where}), above {allowed:.0e}")


def _replay_all(result: Result | OracleResult, trust: Trust) -> Check:
    what = "replay of the whole run"
    config, reason = _config(result, trust)
    if config is None:
        return Check(what, None, reason)
    if _impure(result):
        return Check(what, None, _IMPURE)
    if isinstance(result, OracleResult):
        from ..config import load_images, load_network
        from ..oracles.run import oracle

        network = load_network(config)
        again: Any = oracle(
            network, config.layers, config.transforms, load_images(config, network),
            mean=config.mean, std=config.std, options=config.options, device=config.device,
        )  # fmt: skip
        scale: Any = max(float(result.variance.mean()), 1e-300)
        if again.errors.shape != result.errors.shape:
            return Check(what, False, "the replay has other layers, transformations or images")
        differ = int((again.predictions != result.predictions).sum())
        worst = float(np.nanmax(np.abs(again.errors - result.errors) / scale, initial=0.0))
        said = f"{differ} of {result.predictions.size} predictions differ, "
        return Check(
            what, differ == 0 and worst <= TOLERANCE, f"{said}largest deviation {worst:.1e}"
        )
    again = replay(result, trust=trust)
    if again.errors.shape != result.errors.shape or dict(again.axes) != dict(result.axes):
        return Check(what, False, "the replay has other layers, transformations or images")
    if again.content_hash == result.content_hash:
        return Check(what, True, "the same content hash")
    return _same_numbers(what, result, again)


def _same_numbers(what: str, result: Result, again: Result) -> Check:
    """Whether errors are the same, of the rungs that this version makes as the result's did."""
    made, now = _recipes(result), _recipes(again)
    rungs = result.axes["rung"]
    other = [rung for rung in rungs if made.get(rung) != now.get(rung)]
    kept = [place for place, rung in enumerate(rungs) if rung not in other]
    one, two = result.errors[:, :, kept], again.errors[:, :, kept]
    scale = np.maximum(result.variance.mean(axis=1), 1e-300)[:, None, None, None]
    worst = float(np.nanmax(np.abs(one - two) / scale, initial=0.0))
    same = worst <= 100 * TOLERANCE and bool((np.isnan(one) == np.isnan(two)).all())
    said = f"another content hash; largest deviation {worst:.1e}"
    if other:
        said += f"; without {', '.join(other)}, made by another recipe in this version"
    return Check(what, same, said)


def _recipes(result: Result) -> dict[str, Any]:
    held = result.provenance.get("conventions", {}).get("recipes")
    return held if isinstance(held, dict) else {}


_IMPURE = (
    "the network is no function of the one image (see the result's warnings): no second run gives "
    "the same numbers"
)


def _impure(result: Result | OracleResult) -> bool:
    return any(warning.kind == "purity" for warning in result.warnings)


def _config(result: Result | OracleResult, trust: Trust) -> tuple[ProbeConfig | None, str]:
    stored = result.provenance.get("config")
    if not stored:
        return None, "measured on Python objects: there is no configuration to replay"
    try:
        return stored_config(stored, trust), ""
    except Untrusted as refusal:
        return None, str(refusal)
    except ProbeError as error:
        return None, f"the configuration cannot be read: {error}"
