"""How the weights of a checkpoint meet those of a network: matched, renamed, cast, left over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .._words import few, shown
from .order import COUNTER, agrees_in_order
from .read import EXTRA, extra_key
from .renaming import Naming

_COMPUTED = ("parametrizations.", "weight_orig", "weight_g", "weight_v")
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
    part : which weights of the file were asked for by their prefix, in words.
    rules : what the network's own loading rules did, in words; "" where names and shapes agree.
    doubts : other ways in which the weights could have been meant, in words.
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
    part: str = ""
    rules: str = ""
    doubts: tuple[str, ...] = ()

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
        return (*said, *self.doubts)

    @property
    def notes(self) -> tuple[str, ...]:
        """All there is to say, a line each: what was taken, matched, renamed, cast, left over."""
        said = [f"{self.loaded} weights of {self.kind or 'the checkpoint'}"]
        if self.entry:
            said[0] += f", entry {shown(self.entry)}"
        said += [text for text in (self.part, self.renamed, self.rules) if text]
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


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's state dict whose shapes are known, by name."""
    held = network.state_dict().items()
    return {key: v for key, v in held if isinstance(v, Tensor) and not is_lazy(v)}


def matched(
    naming: Naming, network: nn.Module, own: Mapping[str, Tensor]
) -> tuple[Fit, dict[str, Tensor]]:
    """How weights under the network's names meet its own, and those that fit, by its names.

    Older files lack the counter of batches, which only matters to further training; files of
    safetensors have one name for weights that are tied; archives of TorchScript hold buffers that
    a network makes itself.
    """
    given = {k: v for k, v in naming.tensors.items() if k not in _UNUSED or k in own}
    unsaved = {name for name, _ in network.named_buffers()} - set(own)
    unexpected = [k for k in given if k not in own and k not in unsaved]
    both = [k for k in given if k in own]
    misshaped = [k for k in both if given[k].shape != own[k].shape]
    mistyped = [k for k in both if k not in misshaped and not _casts(k, given[k], own[k])]
    good = {k: given[k] for k in both if k not in {*misshaped, *mistyped}}
    ties = _ties(own)
    missing = [
        k for k in own
        if k not in given and not k.endswith(COUNTER) and not any(t in good for t in ties[k])
    ]  # fmt: skip
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
        naming.how, dict(cast), tuple(broken), doubts=(*_choices(naming), *_torn(good, ties)),
    )  # fmt: skip
    return fit, good


def with_extras(
    found: Fit, extras: Mapping[str, Any], network: nn.Module
) -> tuple[Fit, dict[str, Any]]:
    """The fit with what modules save beside their tensors, and what of it the network takes.

    A module may keep there what its answer depends on (scales, tables, switches), so that one
    whose part is missing is no more loaded than one whose weight is.
    """
    takers = [
        extra_key(name)
        for name, module in network.named_modules(remove_duplicate=False)
        if type(module).set_extra_state is not nn.Module.set_extra_state
    ]
    good = {key: value for key, value in extras.items() if key in takers}
    held = network.state_dict()
    own = [key for key in takers if not isinstance(held.get(key), Tensor)]
    fit = replace(
        found,
        loaded=found.loaded + len(good),
        missing=(*found.missing, *(key for key in own if key not in good)),
        unexpected=(*found.unexpected, *(key for key in extras if key not in good)),
    )
    return fit, good


def by_own_rules(found: Fit, naming: Naming) -> Fit:
    """The fit of a checkpoint that the network took as a whole, whatever its names and shapes."""
    changed = [*found.unexpected, *found.misshaped]
    values = [(key, naming.tensors[key]) for key in changed if key in naming.tensors]
    broken = [key for key, value in values if not bool(value.float().isfinite().all())]
    settled = few(map(shown, changed or found.missing))
    return replace(
        found, loaded=len(naming.tensors), missing=(), unexpected=(), misshaped=(),
        non_finite=(*found.non_finite, *broken),
        rules=f"the network's own loading rules settled {settled}" if settled else "",
    )  # fmt: skip


def _ties(own: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The names of the same values, for each name."""
    groups: dict[object, list[str]] = {}
    keys = {}
    for name, value in own.items():
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        keys[name] = groups.setdefault(place if value.numel() and place[0] else name, [])
        keys[name].append(name)
    return keys


def _torn(good: Mapping[str, Tensor], ties: Mapping[str, list[str]]) -> list[str]:
    """Weights that are one in the network and differ in the checkpoint."""
    torn = []
    for name, value in good.items():
        first = next(other for other in ties[name] if other in good)
        if first != name and not torch.equal(good[first].to(value.dtype), value):
            torn.append(f"{shown(first)} and {shown(name)}")
    said = "are one weight of the network and differ in the checkpoint; the last of them is taken"
    return [f"{few(torn)} {said}"] if torn else []


def _choices(naming: Naming) -> list[str]:
    said = []
    if naming.rivals:
        named = few(map(shown, naming.rivals))
        said.append(
            f"the network is found under {named} too, which is not what was taken; choose with "
            "--checkpoint-prefix (checkpoint_prefix)"
        )
    if naming.places:
        named = few(map(shown, naming.places))
        said.append(f"the checkpoint fits {named} of the network too, where it was not put")
    return said


def mismatch(
    path: Path, found: Fit, naming: Naming, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """The one line for a checkpoint that does not fit: numbers, first names, likely reason.

    `state` are its weights under their own names.
    """
    renamed = naming.tensors
    if not found.loaded and found.complete:
        return f"checkpoint {shown(path)} does not fit the network: the network has no weights"
    details = [
        f"{shown(key)} is {tuple(renamed[key].shape)}, not {tuple(own[key].shape)}"
        for key in found.misshaped
    ] + [f"{shown(key)} is {_kind(renamed[key])}, not {_kind(own[key])}" for key in found.mistyped]
    said = found.differences + (f": {few(details, '; ')}" if details else "")
    hint = _hint(found, renamed)
    if found.missing and found.unexpected and agrees_in_order(state, own):
        hint = (
            "weights and network agree in their order and differ only in their names: if they are "
            "one architecture, match them so with --by-order (by_order=True)"
        )
    return f"checkpoint {shown(path)} does not fit the network: {said}; {hint}"


def _hint(found: Fit, state: Mapping[str, Tensor]) -> str:
    """The likely reason of a mismatch and what to do."""
    missing, unexpected = set(found.missing), set(found.unexpected)
    if not found.misshaped and all(key.endswith(EXTRA) for key in (*missing, *unexpected)):
        return (
            "these are no tensors but what modules save beside them (get_extra_state), which "
            "safetensors cannot hold: give the file of torch.save, or load the rest with "
            "--allow-partial (allow_partial=True)"
        )
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
    if any("._flat_param" in f".{key}" for key in unexpected):
        return "FSDP stored them flat: save them with its full state dict (FULL_STATE_DICT)"
    for keys, there in ((unexpected, "the checkpoint"), (missing, "the network")):
        if any(mark in key for key in keys for mark in _COMPUTED):
            return (
                f"weights of {there} are computed from others (weight_norm, spectral_norm or "
                "another parametrisation): use it on both sides, or remove it before saving"
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


def _casts(key: str, stored: Tensor, own: Tensor) -> bool:
    """Whether numbers of one kind may become those of the other: floats floats, integers integers.

    Bytes of quantised weights would otherwise pass for the weights themselves. Whole numbers may
    have been cast to floats together with everything else.
    """
    one, two = stored.dtype, own.dtype
    if one == two or (one.is_floating_point and two.is_floating_point):
        return True
    if one.is_complex or two.is_complex or two.is_floating_point:
        return one.is_complex and two.is_complex
    if one.is_floating_point:
        return key.endswith(COUNTER) or bool((stored.double() == stored.to(two).double()).all())
    return (one == torch.bool) == (two == torch.bool)


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
