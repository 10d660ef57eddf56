"""Names of a checkpoint's weights turned into those of a network: prefixes dropped and added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import ProbeError
from .._words import few, shown

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "network.", "net.")
_WRAPPED = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put in front
_MARKS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_WHOLE = 0.9  # of the weights: a checkpoint that is one part of a network, and a second choice
_DEEPEST = 8  # parts of a prefix that is tried


@dataclass(frozen=True)
class Naming:
    """The weights of a checkpoint under a network's names.

    Attributes
    ----------
    tensors : the weights; those without a counterpart keep the names of the file.
    how : what was dropped and added, in words; "" where the names are those of the file.
    prefix : what was dropped.
    module : the network's name of one of the file's modules.
    rivals : other prefixes of the file under which as much of the network is found.
    places : other parts of the network that the file fits as well.
    """

    tensors: dict[str, Tensor]
    how: str = ""
    prefix: str = ""
    module: Callable[[str], str] = str
    rivals: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Way:
    """One way of renaming: `drop` this prefix, `add` that one, without the marks of wrappers.

    `found` is what it finds, {name in the network: name in the file}, `real` the network's own
    names where those without marks are others.
    """

    drop: str = ""
    add: str = ""
    marks: tuple[str, ...] = ()
    real: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, key: str) -> str:
        name = _unwrapped(key) if self.marks else key
        if name.startswith(self.drop):
            name = self.add + name[len(self.drop) :]
        return self.real.get(name, name)

    @property
    def words(self) -> str:
        """What is dropped and added."""
        drop, add = (text and shown(text) for text in (self.drop, self.add))
        dropped = [f"'{mark}.'" for mark in self.marks] + [f"prefix '{drop}'"] * bool(drop)
        *first, last = dropped or [""]
        said = f"{', '.join(first)} and {last} dropped" if first else f"{last} dropped" * bool(last)
        if not add:
            return said
        return f"{said} and '{add}' added" if said else f"prefix '{add}' added"

    def contradicts(self, other: _Way, state: Mapping[str, Tensor]) -> bool:
        """Whether another way puts other values into a weight."""
        pairs = (
            (state[key], state[other.found.get(name, key)]) for name, key in self.found.items()
        )
        return any(
            one is not two and (one.dtype != two.dtype or not torch.equal(one, two))
            for one, two in pairs
        )


def renamed(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Naming:
    """The weights under the names that fit most of the network's.

    A prefix is dropped, whatever it is called, where at least half of the network's weights are
    found under it or all of the file's begin with it; one is added that at least half of the
    network's weights share, or under which lies the one part of the network that the file holds.
    Of two ways that find as many the one that changes less is taken.
    """
    whole = _Way(found={key: key for key in state if _agrees(key, state[key], own)})
    ways = [whole, *_ways(state, own, ())]
    if marks := _marks((*state, *own)):
        ways += _ways(state, own, marks)
    if 2 * max(len(way.found) for way in ways) < len(state):
        ways += _as_a_part(state, own)
    # Python's sort keeps the order of equals: names as they are, then plain prefixes.
    ways.sort(key=lambda way: (-len(way.found), bool(way.marks), len(way.drop) + len(way.add)))
    best = whole if len(whole.found) == len(ways[0].found) else ways[0]
    tensors, changed = _under(best, state, own)
    if not changed:
        return Naming(tensors)
    rest = [way for way in ways if len(way.found) >= _WHOLE * len(best.found)]
    other = {tuple(sorted(w.found.items())): w.drop for w in reversed(rest)
             if w.drop != best.drop and best.contradicts(w, state)}  # fmt: skip
    places = [w.add for w in rest if w.drop == best.drop and not set(w.found) & set(best.found)]
    return Naming(
        tensors, f"{best.words} ({changed} keys)", best.drop, _modules(best),
        tuple(dict.fromkeys(reversed(other.values()))), tuple(dict.fromkeys(places)),
    )  # fmt: skip


def under(state: Mapping[str, Tensor], prefix: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a checkpoint that begin with a prefix (its last dot may be left out).

    They come without it. Raises ProbeError where there are none, naming the prefixes that fit the
    network.
    """
    start = prefix if prefix.endswith(".") else f"{prefix}."
    found = {k[len(start) :]: v for k, v in state.items() if k.startswith(start) and k != start}
    if found:
        return found
    fits = dict.fromkeys(way.drop for way in _ways(state, own, ()) if way.drop)
    begun = dict.fromkeys(key.partition(".")[0] + "." for key in state if "." in key)
    known, what = (fits, "the network is found under") if fits else (begun, "they begin with")
    raise ProbeError(
        f"no weight of the checkpoint begins with {shown(prefix)!r}; {what} "
        f"{few(map(shown, known)) or 'no prefix'}"
    )


def without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without a "module." or "_orig_mod." that all its keys share."""
    for prefix in _WRAPPED * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _ways(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], marks: tuple[str, ...]
) -> Iterator[_Way]:
    """Every way of dropping one prefix and adding one that finds enough of the network."""
    real = {_unwrapped(key): key for key in own} if marks else {key: key for key in own}
    names = [(_unwrapped(key) if marks else key, key) for key in state]
    shared = _shared([name for name, _ in names])
    for add, inside in _begun(real).items():
        if not (2 * len(inside) >= len(own) or _known(add)):
            continue
        found: dict[str, dict[str, str]] = {}
        for name, key in names:
            for drop in _starts(name):
                to = real.get(add + name[len(drop) :])
                if to is not None and own[to].shape == state[key].shape:
                    found.setdefault(drop, {}).setdefault(to, key)
        for drop, hits in found.items():
            usual = _known(drop) or drop in shared
            enough = 2 * len(hits) >= len(inside) or (usual and _known(add))
            if enough and (drop or add or marks):
                yield _Way(drop, add, marks, real, _with_plain(hits, drop, state, own))


def _with_plain(
    hits: dict[str, str], drop: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, str]:
    """What a way finds, and what beside its prefix has the network's name already."""
    plain = (k for k, v in state.items() if k not in hits and _agrees(k, v, own))
    return hits | {key: key for key in plain if not (drop and key.startswith(drop))}


def _as_a_part(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[_Way]:
    """Ways of adding a prefix under which the network has all that the file holds, and no more."""
    places = _begun({key: key for key in own})
    for drop in _shared(list(state)):
        rest = {key[len(drop) :]: key for key in state}
        for add, inside in places.items():
            found = {name: rest[name[len(add) :]] for name in inside
                     if name[len(add) :] in rest
                     and own[name].shape == state[rest[name[len(add) :]]].shape}  # fmt: skip
            if len(found) >= _WHOLE * max(len(rest), len(inside)):
                yield _Way(drop, add, (), {}, found)


def _under(
    way: _Way, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], int]:
    """The weights renamed in this way, and how many names that changed.

    Of two keys that become one, the renamed one wins; what finds no counterpart keeps its name, but
    for the prefix: the network's own loading rules may know it.
    """
    found: dict[str, Tensor] = {}
    changed, left = 0, []
    for key in sorted(state, key=lambda key: way(key) == key):
        new = way(key)
        if new in own and new not in found:
            found[new] = state[key]
            changed += new != key
        else:
            left.append(key)
    for key in left:
        name = way(key) if way.drop and key.startswith(way.drop) else key
        name = key if name in found else name
        found[f"{key} (again)" if name in found else name] = state[key]
    return found, changed


def _modules(way: _Way) -> Callable[[str], str]:
    return lambda name: way(f"{name}." if name else "").removesuffix(".")


def _begun(names: Mapping[str, str]) -> dict[str, list[str]]:
    """{prefix: the names that start with it}, with "" for all of them."""
    found: dict[str, list[str]] = {"": list(names)}
    for name in names:
        for start in _starts(name):
            if start:
                found.setdefault(start, []).append(name)
    return found


def _starts(name: str) -> Iterator[str]:
    """The prefixes of a name that end at a dot, "" first."""
    yield ""
    place = name.find(".")
    for _ in range(_DEEPEST):
        if place < 0:
            break
        yield name[: place + 1]
        place = name.find(".", place + 1)


def _shared(names: list[str]) -> list[str]:
    """The prefixes, "" first, with which all names begin."""
    low, high = min(names, default=""), max(names, default="")  # what these share, all do
    return [start for start in _starts(low) if high.startswith(start)]


def _known(prefix: str) -> bool:
    """Whether a prefix is a row of those that wrappers and trainers are known to use."""
    while prefix:
        start = next((p for p in PREFIXES if prefix.startswith(p)), None)
        if start is None:
            return False
        prefix = prefix[len(start) :]
    return True


def _marks(names: Iterable[str]) -> tuple[str, ...]:
    """The marks of wrappers that stand within names."""
    within = {part for name in names for part in name.split(".")[:-1]}
    return tuple(mark for mark in _MARKS if mark in within)


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _MARKS)


def _agrees(key: str, value: Tensor, own: Mapping[str, Tensor]) -> bool:
    return key in own and own[key].shape == value.shape
