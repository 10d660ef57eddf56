"""Weights from files into networks: all of them or nothing, and what was done said."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from ...errors import ProbeError
from .._words import few, first_line, shown
from ._restoring import restored_on_error
from .match import Fit, by_own_rules, matched, mismatch, weights_of, with_extras
from .order import in_order
from .read import (
    State,
    checkpoint_sha256,
    extra_key,
    file_sha256,
    load_state,
    metadata,
    read_state,
)
from .renaming import Naming, renamed, under

T = TypeVar("T")

_IN_ORDER = (
    "weights were matched in their order, not by name: padding, strides, eps and activations are "
    "in no checkpoint, so see that this is the architecture they were trained in",
)

__all__ = [
    "Fit",
    "State",
    "checkpoint_sha256",
    "file_sha256",
    "load_checkpoint",
    "load_state",
    "metadata",
    "read_state",
]


def load_checkpoint(
    network: nn.Module,
    path: str | Path,
    allow_partial: bool = False,
    *,
    entry: str | None = None,
    prefix: str | None = None,
    by_order: bool = False,
) -> Fit:
    """Load a checkpoint's weights into the network, all of them or nothing.

    The network is asked first: what its own strict `load_state_dict` takes is taken. Where that
    refuses, the prefix under which most of the network is found is dropped, and one that the
    network has in front is added; floating-point numbers are cast to those of the network. The
    result says what was done. `entry` names the part of a file that holds several state dicts
    ("state_dict_ema"), `prefix` the weights to take where the network is found under several
    ("module.encoder_q."). With `allow_partial` the keys that fit are loaded and the others reported
    in the result. `by_order` matches weights first to first where two implementations name them
    differently.

    Raises ProbeError as read_state does, and when keys are missing or unexpected or shapes or
    kinds of numbers differ, or the network is found under several prefixes: their numbers, the
    first of each and a likely reason. The network is then unchanged.
    """
    state = read_state(path, entry)
    own = weights_of(network)
    tensors = state.tensors if prefix is None else under(state.tensors, prefix, own)
    for naming in _namings(tensors, own, by_order):
        found, good = matched(naming, network, own)
        extras = {
            extra_key(name): value
            for name, value in _by_module(state.extras, prefix, naming).items()
        }
        found, fitting = with_extras(found, extras, network)
        found = replace(
            found, kind=state.kind, entry=state.entry, others=state.others,
            part=_part(state, tensors, prefix),
            doubts=(*found.doubts, *(_IN_ORDER if by_order and naming.how else ())),
        )  # fmt: skip
        versions = _by_module(state.versions, prefix, naming)
        given = {**naming.tensors, **extras}
        if not (found.mistyped or _refusal(network, given, versions, strict=True)):
            return by_own_rules(found, naming)
    if naming.rivals and not allow_partial:
        raise ProbeError(_undecided(path, naming))
    if not good or not (allow_partial or found.complete):
        raise ProbeError(mismatch(Path(path), found, naming, tensors, own))
    if error := _refusal(network, {**good, **fitting}, versions, strict=False):
        raise ProbeError(
            f"the network does not take the weights of {shown(path)}: {first_line(error)}"
        ) from error
    return found


def _part(state: State, tensors: Mapping[str, Tensor], prefix: str | None) -> str:
    """Which weights of a file were asked for, and how many were not, in words."""
    if prefix is None:
        return ""
    others = len(state.tensors) - len(tensors)
    return f"{len(tensors)} keys under {shown(_dotted(prefix))}, {others} others not used"


def _dotted(prefix: str) -> str:
    return prefix.removesuffix(".") + "."


def _namings(
    tensors: dict[str, Tensor], own: Mapping[str, Tensor], by_order: bool
) -> Iterator[Naming]:
    """The weights under the names they have, and under those that fit best if these are others."""
    if by_order:
        yield Naming(*in_order(tensors, own))
        return
    yield Naming(tensors)
    other = renamed(tensors, own)
    if other.how:
        yield other


def _by_module(about: Mapping[str, T], prefix: str | None, naming: Naming) -> dict[str, T]:
    """What a file says of its modules, by the names that they have in the network."""
    start = "" if prefix is None else _dotted(prefix)
    inside = [(f"{name}.", value) for name, value in about.items()]
    return {
        naming.module(name[len(start) :].removesuffix(".")): value
        for name, value in inside
        if name.startswith(start)
    }


def _refusal(
    network: nn.Module, state: Mapping[str, Any], versions: Mapping[str, int], *, strict: bool
) -> Exception | None:
    """Load weights, or leave the network as it was and return the error that it raised.

    The versions of modules are those of the file; where the network does not take these (or there
    are none, as in safetensors) its own.
    """
    own = getattr(network.state_dict(), "_metadata", {})
    first: Exception | None = None
    for about in ({name: {"version": number} for name, number in versions.items()}, own):
        given = OrderedDict(state)
        given._metadata = about  # type: ignore[attr-defined]
        try:
            with restored_on_error(network), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.load_state_dict(given, strict=strict)
        except Exception as error:  # a network's own hooks may raise anything
            first = first or error
        else:
            return None
    return first


def _undecided(path: str | Path, naming: Naming) -> str:
    """The one line for a checkpoint under several of whose prefixes the network is found."""
    return (
        f"the network is found under several prefixes of {shown(path)}: "
        f"{few(map(shown, (naming.prefix, *naming.rivals)))}; choose one with "
        f"--checkpoint-prefix {shown(naming.prefix)} (checkpoint_prefix={naming.prefix!r})"
    )
