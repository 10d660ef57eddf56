"""How the weights of a checkpoint meet those of a network: matched, renamed, cast, left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ._words import few, shown
from .order import agrees_in_order, in_order

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "network.", "net.")
_WRAPPED = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put in front
_UNUSED = ("n_averaged",)  # the counter of torch.optim.swa_utils.AveragedModel


@dataclass(frozen=True)
class Fit:
    """How a checkpoint's keys meet a network's: `loaded` counts keys, the others name them.

    Attributes
    ----------
    missing, unexpected : keys of the network, and of the checkpoint, that the other one lacks.
    misshaped, mistyped : keys whose shapes, or kinds of numbers, differ.
    renamed : how keys of the checkpoint became keys of the network, in words; "" if they agree.
    cast : {"float16 to float32": number of keys}.
    non_finite : keys of the network that received NaN or infinite values.
    kind, entry, others : what the file was, which entry was taken, which ones were not.
    """

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]
    mistyped: tuple[str, ...] = ()
    renamed: str = ""
    cast: Mapping[str, int] = field(default_factory=dict)
    non_finite: tuple[str, ...] = ()
    kind: str = ""
    entry: str = ""
    others: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every key found its counterpart."""
        return not (self.missing or self.unexpected or self.misshaped or self.mistyped)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of numbers measured on this network must know."""
        said = []
        if not self.complete:
            said.append(f"only {self.loaded} weights come from the checkpoint: {self.differences}")
        if self.non_finite:
            number, names = len(self.non_finite), few(map(shown, self.non_finite))
            said.append(f"{number} weights hold values that are not finite ({names})")
        return tuple(said)

    @property
    def notes(self) -> tuple[str, ...]:
        """All there is to say, a line each: what was taken, matched, renamed, cast, left over."""
        said = [f"{self.loaded} weights of {self.kind or 'the checkpoint'}"]
        if self.entry:
            said[0] += f", entry {shown(self.entry)}"
        if self.renamed:
            said.append(self.renamed)
        said += [f"cast from {how} ({number})" for how, number in self.cast.items()]
        if self.others:
            said.append(f"not used: entry {few(map(shown, self.others))} of the same file")
        return (*said, *self.warnings)

    @property
    def differences(self) -> str:
        """Numbers and first names of what did not fit."""
        parts = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.misshaped,
            "of another kind of number": self.mistyped,
        }
        return "; ".join(
            f"{len(keys)} {what} ({few(map(shown, keys))})" for what, keys in parts.items() if keys
        )


def without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without a "module." or "_orig_mod." that all its keys share."""
    for prefix in _WRAPPED * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def fitted(
    state: Mapping[str, Tensor], network: nn.Module, by_order: bool = False
) -> tuple[Fit, dict[str, Tensor], dict[str, Tensor]]:
    """Match a checkpoint with a network.

    Returns the fit, the weights that fit by the network's keys, and all weights of the checkpoint
    under their new keys. Keys are renamed in the one way that matches most of them: by dropping a
    known prefix (or several), by adding one that the network has, or by dropping the marks of
    DataParallel and torch.compile wherever they are. `by_order` goes by their order instead.
    """
    own = {key: value for key, value in network.state_dict().items() if isinstance(value, Tensor)}
    state = {key: value for key, value in state.items() if key not in _UNUSED or key in own}
    renamed, how = in_order(state, own) if by_order else _renamed(state, own)
    unsaved = {name for name, _ in network.named_buffers()} - set(own)
    # Older files lack this counter, which only matters to further training.
    missing = [k for k in own if k not in renamed and not k.endswith("num_batches_tracked")]
    # Buffers that a network makes itself are in TorchScript archives all the same.
    unexpected = [k for k in renamed if k not in own and k not in unsaved]
    both = [k for k in renamed if k in own]
    misshaped = [k for k in both if renamed[k].shape != own[k].shape]
    mistyped = [
        k for k in both if k not in misshaped and not _casts(renamed[k].dtype, own[k].dtype)
    ]
    good = {k: renamed[k] for k in both if k not in {*misshaped, *mistyped}}
    cast = Counter(
        f"{_kind(value)} to {_kind(own[key])}"
        for key, value in good.items()
        if value.dtype != own[key].dtype
    )
    broken = [
        key for key, value in good.items()
        if not bool(value.to(own[key].dtype).isfinite().all())
    ]  # fmt: skip
    fit = Fit(
        len(good), tuple(missing), tuple(unexpected), tuple(misshaped), tuple(mistyped),
        how, dict(cast), tuple(broken),
    )  # fmt: skip
    return fit, good, renamed


def mismatch(
    path: Path, found: Fit, renamed: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """The one line for a checkpoint that does not fit: numbers, first names, likely reason."""
    if not found.loaded and found.complete:
        return f"checkpoint {shown(path)} does not fit the network: the network has no weights"
    details = [
        f"{shown(key)} is {tuple(renamed[key].shape)}, not {tuple(own[key].shape)}"
        for key in found.misshaped
    ] + [f"{shown(key)} is {_kind(renamed[key])}, not {_kind(own[key])}" for key in found.mistyped]
    said = found.differences + (f": {few(details, '; ')}" if details else "")
    hint = _hint(found, renamed)
    if found.missing and found.unexpected and agrees_in_order(renamed, own):
        hint = (
            "weights and network agree in their order and differ only in their names: if they are "
            "one architecture, match them so with --by-order (by_order=True)"
        )
    return f"checkpoint {shown(path)} does not fit the network: {said}; {hint}"


def _hint(found: Fit, state: Mapping[str, Tensor]) -> str:
    """The likely reason of a mismatch and what to do."""
    missing, unexpected = set(found.missing), set(found.unexpected)
    wrong = (*found.misshaped, *found.mistyped)
    if missing and unexpected:
        first = found.missing[0]
        for key in found.unexpected:
            prefix = key[: -len(first)]
            if key.endswith("." + first) and all(prefix + k in unexpected for k in missing):
                return (
                    f"its keys start with {shown(prefix)!r}: build the network that holds it, or "
                    "rename"
                )
    if found.misshaped and not missing and not unexpected and not found.mistyped:
        last = found.misshaped[-1]
        layers = {key.rpartition(".")[0] for key in found.misshaped}
        if len(layers) == 1:
            return (
                f"only '{shown(last.rpartition('.')[0])}' differs: build the network with "
                f"{next(iter(state[last].shape), 1)} outputs there"
            )
    if unexpected and not missing and not wrong:
        return (
            "all weights of the network are there: load them with --allow-partial "
            "(allow_partial=True), or build the architecture that the checkpoint was saved from"
        )
    return "build the architecture that the checkpoint was saved from"


def _renamed(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """The state dict under the keys that match most of the network's, and how they were found."""
    ways: list[tuple[Callable[[str], str], str]] = [(lambda key: key, "")]
    for prefix in _leading(state):
        ways.append((_dropping(prefix), f"prefix '{prefix}' dropped"))
    for prefix in _leading(own):
        ways.append((_adding(prefix), f"prefix '{prefix}' added"))
    if any(part in f".{key}" for key in state for part in ("._orig_mod.", ".module.")):
        inner = {_unwrapped(key) for key in state}
        ways.append((_unwrapped, "'module.' and '_orig_mod.' dropped"))
        for prefix in _leading(inner):
            said = f"'module.', '_orig_mod.' and prefix '{prefix}' dropped"
            ways.append((_dropping(prefix, _unwrapped), said))
    counts = [sum(_agrees(name(key), value, own) for key, value in state.items())
              for name, _ in ways]  # fmt: skip
    best = counts.index(max(counts))
    rename, how = ways[best]
    found: dict[str, Tensor] = {}
    changed, left = 0, []
    # Of two keys that become one, the renamed one wins; what finds no counterpart keeps its name.
    for key in sorted(state, key=lambda key: rename(key) == key):
        new = rename(key)
        if new in own and new not in found:
            found[new] = state[key]
            changed += new != key
        else:
            left.append(key)
    for key in left:
        found[f"{key} (again)" if key in found else key] = state[key]
    return found, f"{how} ({changed} keys)" if changed else ""


def _agrees(key: str, value: Tensor, own: Mapping[str, Tensor]) -> bool:
    return key in own and own[key].shape == value.shape


def _leading(keys: Iterable[str]) -> list[str]:
    """Known prefixes, single and in a row, that keys start with, the shortest first."""
    found: dict[str, None] = {}
    for key in keys:
        rest, start = key, ""
        while (prefix := next((p for p in PREFIXES if rest.startswith(p)), None)) is not None:
            rest, start = rest[len(prefix) :], start + prefix
            found[start] = None
            if len(start) > 60:
                break
    return sorted(found, key=len)[:20]


def _dropping(prefix: str, before: Callable[[str], str] = str) -> Callable[[str], str]:
    return lambda key: before(key).removeprefix(prefix)


def _adding(prefix: str) -> Callable[[str], str]:
    return lambda key: prefix + key


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in ("module", "_orig_mod"))


def _casts(stored: torch.dtype, own: torch.dtype) -> bool:
    """Whether numbers of one kind may become those of the other: floats floats, integers integers.

    Bytes of quantised weights would otherwise pass for the weights themselves.
    """
    if stored == own:
        return True
    if stored.is_floating_point or own.is_floating_point or stored.is_complex or own.is_complex:
        return (stored.is_floating_point and own.is_floating_point) or (
            stored.is_complex and own.is_complex
        )
    return (stored == torch.bool) == (own == torch.bool)


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
