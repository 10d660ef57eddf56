"""What a stored configuration may call and read: nothing of others unless its reader says so."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ProbeError
from ...networks.building.factories import is_own_network
from ..config import ProbeConfig

Trust = bool | Mapping[str, Any]
"""True for everything that a result names, or the fields of its configuration that are repeated."""

NAMED = ("network", "arguments", "checkpoint", "images", "data_root")
"""Fields that can name code or files."""

_OPTIONS = {
    "network": "--network", "checkpoint": "--checkpoint", "images": "--image-set",
    "data_root": "--data-root",
}  # fmt: skip
_LARGEST_NUMBER = 4096  # of an argument to a constructor of the package
_LARGEST_CANVAS = 2048  # pixels a side
_SHOWN = 120


class Untrusted(ProbeError):
    """A stored configuration names code or files that nobody has allowed."""


def stored_config(values: Any, trust: Trust = False, where: str = "this result") -> ProbeConfig:
    """The configuration that a result holds, as far as it may be used.

    What the package itself brings is built unasked: networks by their names with plain arguments,
    and the packed digits. Everything else that comes out of a file is taken only with `trust`:
    True, or a mapping of the fields that are repeated with the same value, such as
    ``{"network": "mine:build"}``.

    Raises Untrusted, which says what would have been called and read, and ProbeError for values
    that are no configuration.
    """
    if not isinstance(values, Mapping):
        raise ProbeError(f"the configuration of {where} is no object; probe again")
    config = ProbeConfig.from_dict(values)
    check_trusted(config, trust, where)
    return config


def check_trusted(config: ProbeConfig, trust: Trust = False, where: str = "this result") -> None:
    """Raise Untrusted where a configuration names more than `trust` allows; see `stored_config`."""
    if trust is True:
        return
    left = untrusted(config, trust if isinstance(trust, Mapping) else {})
    if not left:
        return
    options = _options(left)
    way = f"repeat that ({options}), or " if options else ""
    raise Untrusted(
        f"{where} names what is not the package's own, so it would {_deeds(config, left)}; "
        f"if you know it, {way}give --trust (in Python trust=True)"
    )


def untrusted(config: ProbeConfig, repeated: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration, with their values, that name others' code or files unrepeated."""
    foreign: dict[str, Any] = {}
    own = is_own_network(config.network)
    if not own:
        foreign["network"] = config.network
    if config.arguments and not (own and _plain(config)):
        foreign["arguments"] = dict(config.arguments)
    if config.checkpoint is not None:
        foreign["checkpoint"] = config.checkpoint
    if config.images != "digits":
        foreign["images"] = config.images
        if config.data_root is not None:
            foreign["data_root"] = config.data_root
    if config.canvas is not None and max(config.canvas) > _LARGEST_CANVAS:
        foreign["canvas"] = config.canvas
    return {
        name: value
        for name, value in foreign.items()
        if name not in repeated or not _same(repeated[name], value)
    }


def allowing(config: ProbeConfig) -> str:
    """Options, after a blank, that allow all a configuration names; "" where none are needed."""
    left = untrusted(config, {})
    return f" {_options(left) or '--trust'}" if left else ""


def is_repeated(name: str, value: Any, stored: Mapping[str, Any]) -> bool:
    """Whether a value given for a field is the one that is stored, of those that name something."""
    return name in NAMED and _same(value, stored.get(name))


def _plain(config: ProbeConfig) -> bool:
    """Whether arguments of a network of the package's own can make it neither read nor grow."""
    texts = config.network.rpartition(":")[0].endswith(("classifier", "controls"))
    return all(
        value is None
        or isinstance(value, bool)
        or (isinstance(value, (int, float)) and abs(value) <= _LARGEST_NUMBER)
        or (texts and isinstance(value, str) and len(value) <= _SHOWN)
        for value in config.arguments.values()
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, or lead to the same file."""
    if one == other:
        return True
    if not isinstance(one, (str, Path)) or not isinstance(other, str):
        return False
    # Only the text of both is compared: asking the disk about a stranger's path can be harm enough.
    return Path(one).absolute() == Path(other).absolute()


def _deeds(config: ProbeConfig, left: Mapping[str, Any]) -> str:
    deeds = []
    if "network" in left or "arguments" in left:
        given = ", ".join(f"{name}={value!r}" for name, value in config.arguments.items())
        file = config.network.endswith(".safetensors")
        deeds.append(f"{'read' if file else 'call'} {_short(config.network)}"
                     + ("" if file else f"({_short(given)})"))  # fmt: skip
    if files := [_short(left[one]) for one in ("checkpoint", "images", "data_root") if one in left]:
        deeds.append(f"read {' and '.join(files)}")
    if "canvas" in left:
        deeds.append(f"fill a canvas of {_short('x'.join(map(str, left['canvas'])))} pixels")
    return ", and ".join(deeds)


def _options(left: Mapping[str, Any]) -> str:
    """The options that repeat fields; "" where one has none, or is too long to be shown whole."""
    if not set(left) <= set(NAMED):
        return ""
    said = [word for name in left for word in _repeated(name, left[name])]
    return " ".join(map(shlex.quote, said)) if said == list(map(_short, said)) else ""


def _repeated(name: str, value: Any) -> list[str]:
    """The option that repeats a value."""
    if name == "arguments":
        pairs = [f"{key}={one!r}" for key, one in value.items()]
        return ["--network-arg", *pairs]
    return [_OPTIONS[name], str(value)]


def _short(value: Any) -> str:
    """A value as one line that is not long, with nothing in it that a terminal would obey."""
    text = str(value)
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
