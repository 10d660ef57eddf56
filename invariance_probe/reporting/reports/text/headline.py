"""The answer in one breath, as the page begins."""

from __future__ import annotations

from collections.abc import Sequence

from .numbers import KindNumbers, LayerNumbers, OracleNumbers
from .story import FEW, amid, span, state, under
from .wording import layers_phrase, percent, share


def headline(kinds: Sequence[KindNumbers], oracles: Sequence[OracleNumbers]) -> str:
    """The answer in one breath: what moving maps wins, where it aligns, and what that is worth."""
    first = {numbers.kind: numbers for numbers in reversed(oracles)}  # of each kind
    told = [numbers for numbers in oracles if first[numbers.kind] is numbers]
    worth = [_worth(numbers, number > 0) for number, numbers in enumerate(filter(_telling, told))]
    return (
        " ".join(filter(None, [*map(_aligned, kinds), *worth])) or "These images allow no answer."
    )


def _aligned(numbers: KindNumbers) -> str:
    """What the inverse wins under a kind, and how many layers it aligns; nothing if unreadable."""
    states = {layer: state(layer) for layer in numbers.layers}
    read = [layer for layer, said in states.items() if said != "unread"]
    if numbers.images < FEW or not read:
        return ""
    clear = [layer for layer in read if states[layer] != "wide"]
    worse = [layer.layer for layer in read if states[layer] == "worse"]
    harm = f" and does harm at {layers_phrase(worse, len(states))}" if worse else ""
    return (
        f"{under(numbers, brief=True)}, moving the feature maps back {_wins(clear)} of what "
        f"moving the input wins{harm}; {_fully(numbers.layers[0].layer, list(states.values()))}."
    )


def _wins(clear: Sequence[LayerNumbers]) -> str:
    """What layers whose interval is not too wide gain, as far as it is told from nothing."""
    if not clear:
        return "wins an undecided share"
    if all(layer.gain.low > 0 for layer in clear):
        return f"wins {span(clear, lambda one: one.gain)}"
    most = max(clear, key=lambda one: one.gain.value)
    if most.gain.low <= 0:
        return "wins nothing detectable"
    where = f" ({most.layer})" if len(clear) > 1 else ""
    return f"wins at most {share(most.gain)}{where}"


def _fully(only: str, states: Sequence[str]) -> str:
    """How many layers are aligned, in words; `only` names the layer where there is one."""
    full, undecided = states.count("full"), sum(one in ("open", "wide", "grid") for one in states)
    if len(states) == 1:
        if undecided:
            return f"whether it aligns {only} fully is undecided"
        return f"it {'aligns' if full else 'does not align'} {only} fully"
    open_ = f" ({undecided} undecided)" if undecided else ""
    return f"it aligns {f'{full} of {len(states)} layers' if full else 'no layer'} fully{open_}"


def _telling(numbers: OracleNumbers) -> bool:
    return numbers.images >= FEW and any(one.inverse.known for one in numbers.layers)


def _worth(numbers: OracleNumbers, again: bool) -> str:
    """What the classifier knows transformed, and with maps or the input moved back.

    A sentence that comes `again`, of another kind, does not repeat what it knows of images as they
    are.
    """
    labelled = numbers.measure == "accuracy"
    does = "is right" if labelled else "keeps its answer"
    nothing = percent(numbers.nothing.value)
    if again:
        head = f"{under(numbers, brief=True)} it {does} for {nothing} of the images"
    elif labelled:
        head = f"The classifier {does} for {percent(numbers.untransformed)} of the images as they "
        head += f"are, for {nothing} {amid(numbers, brief=True)}"
    else:
        head = f"The classifier {does} for {nothing} of the images {amid(numbers, brief=True)}"
    best = percent(max(one.inverse.value for one in numbers.layers if one.inverse.known))
    return (
        f"{head}, for {best} at best with a layer's maps moved back, and for "
        f"{percent(numbers.input_aligned.value)} with the input moved back."
    )
