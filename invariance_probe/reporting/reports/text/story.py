"""The answer in sentences: each says what the intervals support, and no more.

Sentences are functions of numbers alone, so that every condition can be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .numbers import (
    ROUNDING,
    Estimate,
    KindNumbers,
    LayerNumbers,
    LedgerNumbers,
    OracleNumbers,
    TreatmentNumbers,
)
from .wording import interval, joined, layers_phrase, moves_phrase, percent, plural, share

Layer = TypeVar("Layer", LayerNumbers, LedgerNumbers)

FEW, SMALL = 10, 30
"""Evaluation images below which nothing is said, and below which intervals are rough."""

FULL = 0.95  # gain from which alignment counts as nearly full
EXPLAINED = 0.5  # attribution from which what is left may be the instrument's
_INVERSE = "moving them back by the inverse of the image's transformation, h⁻¹"
NARROW_GAP = 0.2  # residual between nothing done and floor below which shares of it say little


def state(layer: LayerNumbers) -> str:
    """What the intervals of a layer support on moving its maps back.

    "unread": aligning the input wins nothing over nothing done, or it is not known whether.
    "wide": neither none nor all of that is excluded. "worse": farther off than with nothing done.
    "none": no gain is not excluded. "full": at least 95 %, all not excluded. "grid": some, and
    half or more of what is left may be interpolation's. "nearly": at least 95 %, all excluded.
    "open": some, all not excluded. "partly": some, all excluded.
    """
    gain = layer.gain
    if not gain.known or not layer.span.positive:
        return "unread"
    some, whole = gain.low > 0, gain.high >= 1 - ROUNDING
    if not some:
        if whole:
            return "wide"
        return "worse" if gain.high < 0 else "none"
    if whole:
        return "full" if gain.low >= FULL else "open"
    if layer.attribution.known and layer.attribution.high >= EXPLAINED:
        return "grid"
    return "nearly" if gain.low >= FULL else "partly"


def verdict(numbers: KindNumbers) -> str:
    """Whether moving the maps back undoes a kind of transformation, over all layers."""
    head = under(numbers)
    if numbers.images < FEW:
        return (
            f"{head}, no statement is made: {numbers.images} evaluation images are too few "
            f"(at least {FEW} are needed, {SMALL} are better)."
        )
    among = len(numbers.layers)
    states = {layer.layer: state(layer) for layer in numbers.layers}
    read = [layer for layer in numbers.layers if states[layer.layer] != "unread"]
    if not read:
        return (
            f"{head}, no statement is made: aligning the input wins nothing over nothing done, so "
            "there is nothing that moving the maps could win."
        )

    def named(*wanted: str) -> list[str]:
        return [name for name, said in states.items() if said in wanted]

    def phrase(*wanted: str) -> str:
        return layers_phrase(named(*wanted), among)

    clauses = [_lead(named, phrase, among)]
    if named("open") and len(named("open")) < among:
        clauses.append(f"full alignment is not excluded at {phrase('open')}")
    if named("wide"):
        clauses.append(
            f"at {phrase('wide')} the intervals are too wide to distinguish none from all"
        )
    clauses.append(_won(read))
    if named("none"):
        clauses.append(f"at {phrase('none')} that is not distinguishable from nothing done")
    if named("worse"):
        clauses.append(f"at {phrase('worse')} they end farther off than with nothing done")
    clauses += _left(numbers.layers)
    if named("grid"):
        clauses.append(
            f"at {phrase('grid')} interpolation alone may leave as much, and denser maps "
            "(--dense auto) would decide"
        )
    if named("unread"):
        clauses.append(f"{phrase('unread')} cannot be read: aligning the input wins nothing there")
    return f"{head}, moving the feature maps back {'; '.join(clauses)}."


def under(numbers: KindNumbers | OracleNumbers, *, brief: bool = False) -> str:
    """`amid` at the beginning of a sentence."""
    said = amid(numbers, brief=brief)
    return said[0].upper() + said[1:]


def amid(numbers: KindNumbers | OracleNumbers, *, brief: bool = False) -> str:
    """In which run and under what, within a sentence; `brief` leaves out how many and how far."""
    if brief and len(numbers.transforms) > 1:
        moves = plural(numbers.kind)
    else:
        moves = moves_phrase(numbers.kind, numbers.transforms, numbers.parameters)
    return f"in {numbers.where}, under {moves}" if numbers.where else f"under {moves}"


def _lead(named: Callable[..., list[str]], phrase: Callable[..., str], among: int) -> str:
    """The first clause: what is aligned fully, what is not, what is undecided."""
    full, nearly = named("full"), named("nearly")
    short = phrase("partly", "none", "worse")
    undecided = named("open", "wide", "grid")
    if full or nearly:
        lead = f"aligns {phrase('full')} as well as aligning the input does, within the intervals"
        if nearly:
            almost = f"{phrase('nearly')} nearly, but not quite, as well as aligning the input"
            lead = f"{lead}, and {almost}" if full else f"aligns {almost}"
        return f"{lead}, but not {short}" if short else lead
    if not short:
        return "leaves open whether it aligns them fully"
    if undecided or among == 1:
        return f"does not align {short} fully"
    return f"aligns none of the {among} layers fully"


def _won(read: Sequence[LayerNumbers]) -> str:
    what = "of what aligning the input wins over nothing done"
    return f"it wins {span(read, lambda one: one.gain)} {what}"


def _left(layers: Sequence[LayerNumbers]) -> list[str]:
    """By how much moved maps stay behind the aligned input, where they do."""
    behind = [layer for layer in layers if layer.excess.positive]
    if not behind:
        return []
    where = (
        "" if len(behind) == len(layers) else f" at {layers_phrase(_names(behind), len(layers))}"
    )
    return [
        f"the moved maps stay {_residuals([one.excess for one in behind])} of the variance farther "
        f"off than the aligned input's{where}"
    ]


def ledger_sentence(numbers: KindNumbers) -> str:
    """Of which kind is what predicts the original's maps; nothing without a ledger."""
    read = [one for one in numbers.ledger if one.space.known and one.by_input.known]
    if not read or numbers.images < FEW:
        return ""
    said = (
        f"{under(numbers)}, the map moved back predicts {span(read, lambda one: one.space)} of "
        "the variance of the original's map beyond what the position alone predicts, the map of "
        f"the input moved back {span(read, lambda one: one.by_input)}"
    )
    mapped = [one for one in read if one.channels.known]
    if mapped:
        where = (
            "" if len(mapped) == len(read) else f" at {layers_phrase(_names(mapped), len(read))}"
        )
        said += f"; any map of the channels adds {span(mapped, lambda one: one.channels)}{where}"
        lost = [one for one in mapped if one.lost.known]
        if lost:
            at = "" if len(lost) == len(mapped) else f" at {layers_phrase(_names(lost), len(read))}"
            said += f", and {span(lost, lambda one: one.lost)} is lost to all of them{at}"
    return f"{said}."


def search_sentence(numbers: KindNumbers) -> str:
    """Whether the search found a transformation that beats h⁻¹ on other images."""
    known = [layer for layer in numbers.layers if layer.searched.known and layer.span.positive]
    if not known or numbers.images < FEW:
        return ""
    among = len(numbers.layers)
    family = " or ".join(
        {"similarity": "similarities", "rotation": "rotations", "affine": "affine maps"}.get(f, f)
        for f in numbers.families
    )
    head = f"{under(numbers)}, a search over {'all ' + family if family else 'a family'}"
    better = [layer for layer in known if layer.searched.positive]
    if not better:
        where = layers_phrase([layer.layer for layer in known], among)
        return f"{head} finds nothing that beats {_INVERSE}, on other images ({where})."
    most = max(better, key=lambda layer: layer.searched.value)
    where = layers_phrase([layer.layer for layer in better], among)
    up_to = "" if len(better) == 1 else "up to "
    at = f" at {most.layer}" if len(better) > 1 else ""
    return (
        f"{head} finds transformations that bring the maps nearer than {_INVERSE}, does "
        f"at {where}, by {up_to}{interval(most.searched)} of the variance{at}."
    )


def channel_sentence(numbers: KindNumbers) -> str:
    """What a linear map of the channels restores after the inverse."""
    if numbers.images < FEW or not any(layer.inverse.known for layer in numbers.layers):
        return ""
    among = len(numbers.layers)
    known = [layer for layer in numbers.layers if layer.linear.known and layer.relieved.known]
    undetermined = [layer.layer for layer in numbers.layers if layer not in known]
    head = f"{under(numbers)}, with the maps moved back,"
    if not known:
        return f"{head} maps between channels are not determined: too few samples."
    # A map that predicts each channel's mean has residual 1 and knows nothing of the image.
    telling = [layer for layer in known if layer.relieved.positive and layer.linear.high < 1]
    done = [layer.layer for layer in known if layer.inverse.high <= ROUNDING]
    rest = [layer.layer for layer in known if layer not in telling and layer.layer not in done]
    if len(done) == among:
        return f"{head} nothing is left for a map of the channels to restore."
    clauses = []
    if telling:
        where = "" if len(telling) == among else f" at {layers_phrase(_names(telling), among)}"
        explained = span(telling, lambda one: _complement(one.linear))
        before = _residuals([layer.inverse for layer in telling])
        clauses.append(
            f"a linear map of the channels fitted on other images explains {explained} of the "
            f"variance{where}, where the maps themselves leave a residual of {before}: part of "
            "what is missing is still there, in a form that moving maps does not restore"
        )
    if rest:
        who = "it" if telling else "a linear map of the channels fitted on other images"
        clauses.append(f"{who} restores nothing detectable at {layers_phrase(rest, among)}")
    if done:
        clauses.append(f"nothing is left to restore at {layers_phrase(done, among)}")
    if undetermined:
        clauses.append(f"it is not determined at {layers_phrase(undetermined, among)}")
    return f"{head} {'; '.join(clauses)}."


def oracle_sentence(numbers: OracleNumbers) -> str:
    """What perfect alignment at one layer is worth to the classifier."""
    labelled = numbers.measure == "accuracy"
    if numbers.images < FEW:
        return (
            f"{under(numbers)}, no statement is made on the classifier: {numbers.images} "
            "evaluation images are too few."
        )
    what = "is right" if labelled else "keeps its answer"
    beside = f" ({percent(numbers.untransformed)} untransformed)" if labelled else ""
    head = (
        f"{under(numbers)}, the classifier {what} for {share(numbers.nothing)} of the images with "
        f"nothing done and for {share(numbers.input_aligned)} with the input aligned{beside}"
    )
    known = [layer for layer in numbers.layers if layer.inverse.known]
    if not known:
        return f"{head}."
    among = len(numbers.layers)
    clauses = [
        "a spatial transformer that moves one layer's maps back perfectly reaches "
        f"{_treated(known, lambda one: one.inverse)}"
    ]
    hurts = [layer.layer for layer in known if layer.over_nothing.negative]
    helps = [layer.layer for layer in known if layer.over_nothing.positive]
    short = [layer.layer for layer in known if layer.under_input.negative]
    ahead = [layer.layer for layer in known if layer.under_input.positive]
    same = [one.layer for one in known if one.layer not in (*hurts, *helps)]
    judged = [
        f"{word} {layers_phrase(names, among)}"
        for names, word in (
            (hurts, "worse than doing nothing, at"),
            (same, "no detectable difference from doing nothing, at"),
            (helps, "better than doing nothing, at"),
        )
        if names
    ]
    if len(short) == among:
        judged.append("short of the aligned input at every layer" if among > 1 else
                      "short of the aligned input")  # fmt: skip
    elif short:
        judged.append(f"short of the aligned input at {layers_phrase(short, among)}")
    if ahead:
        judged.append(f"beyond the aligned input at {layers_phrase(ahead, among)}")
    clauses[0] += f" ({'; '.join(judged)})" if judged else ""
    mapped = [layer for layer in known if layer.linear.known]
    if mapped:
        clauses.append(f"with its channels mapped too, {_treated(mapped, lambda one: one.linear)}")
    return f"{head}; {'; '.join(clauses)}."


def answer(kinds: Sequence[KindNumbers], oracles: Sequence[OracleNumbers]) -> list[str]:
    """The answer: a verdict per kind, the ledger, then why and what for, in few sentences."""
    verdicts = [verdict(numbers) for numbers in kinds]
    told = [ledger_sentence(numbers) for numbers in kinds[:1]]
    more = [oracle_sentence(numbers) for numbers in oracles[:1]]
    more += [channel_sentence(numbers) for numbers in kinds[:1]]
    more += [search_sentence(numbers) for numbers in kinds[:1]]
    room = max(0, 3 - len(verdicts))
    return [*verdicts, *filter(None, told), *list(filter(None, more))[:room]]


def caveats(
    kinds: Sequence[KindNumbers],
    level: float | Sequence[float],
    images: int | Sequence[int],
) -> list[str]:
    """How far the answer goes: what the intervals cover, and where the numbers are weak.

    `level` and `images` are one number, or one for each run or kind.
    """
    levels = sorted(set(level)) if isinstance(level, Sequence) else [level]
    counts = sorted(set(images)) if isinstance(images, Sequence) else [images]
    held = joined([f"{100 * one:g}\u00a0%" for one in levels], "or")
    by_run = "" if len(levels) == len(counts) == 1 else ", by run"
    resampled = joined([str(count) for count in counts], "or")
    out = [
        f"Brackets hold {held} intervals over the {resampled} evaluation images{by_run}."
        " They cover the choice of these images; not the choice of the images used for "
        "fitting, nor another training of the network, nor other images."
    ]
    if small := [str(count) for count in counts if count < SMALL]:
        rough = joined(small, "or")
        out.append(f"With {rough} evaluation images the intervals themselves are rough.")
    narrow = list(
        dict.fromkeys(
            layer.layer
            for numbers in kinds
            for layer in numbers.layers
            if layer.span.positive and layer.span.value < NARROW_GAP
        )
    )
    if narrow:
        out.append(
            f"At {joined(narrow)} aligning the input wins less than {NARROW_GAP:g} of the "
            "variance: shares of so little mean little."
        )
    return out


def _names(layers: Sequence[LayerNumbers] | Sequence[LedgerNumbers]) -> list[str]:
    return [layer.layer for layer in layers]


def _complement(estimate: Estimate) -> Estimate:
    return Estimate(1 - estimate.value, 1 - estimate.high, 1 - estimate.low)


def span(layers: Sequence[Layer], of: Callable[[Layer], Estimate]) -> str:
    """The least and the largest of the layers, each with interval and name."""
    ordered = sorted(layers, key=lambda one: of(one).value)
    least, most = ordered[0], ordered[-1]
    if len(layers) == 1:
        return share(of(least))
    return f"{share(of(least))} ({least.layer}) to {share(of(most))} ({most.layer})"


def _residuals(estimates: Sequence[Estimate]) -> str:
    ordered = sorted(estimates, key=lambda one: one.value)
    if len(ordered) == 1:
        return interval(ordered[0])
    return f"{interval(ordered[0])} to {interval(ordered[-1])}"


def _treated(layers: Sequence[TreatmentNumbers], of: Callable[[TreatmentNumbers], Estimate]) -> str:
    ordered = sorted(layers, key=lambda one: of(one).value)
    least, most = ordered[0], ordered[-1]
    if len(layers) == 1:
        return f"{share(of(least))} at {least.layer}"
    return f"{share(of(least))} ({least.layer}) to {share(of(most))} ({most.layer})"
