"""The symmetrised twin of a network: its kernels averaged over quarter turns and mirror images.

A convolution whose kernels look the same after a quarter turn computes features that a quarter
turn of the image only moves. A network in which all kernels are of that kind is alignable at 90°
by construction; whatever residual it still shows comes from its architecture (grids, borders,
resampling, aliasing by strides), not from what its filters prefer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..errors import ProbeError
from .network import Network

Group = Literal["rotations", "rotations+reflections"]
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module | Network)
Convolution = nn.Conv2d | nn.ConvTranspose2d

_GROUPS = ("rotations", "rotations+reflections")


def symmetrised(
    network: AnyNetwork,
    amount: float = 1.0,
    group: Group = "rotations",
    *,
    rescale: bool = True,
) -> AnyNetwork:
    """The twin of a network: a deep copy with kernels w(t) = (1 − t)·w + t·sym(w), t = `amount`.

    sym averages a kernel over the four quarter turns, and with `group`
    "rotations+reflections" over their mirror images too. Every Conv2d and ConvTranspose2d is
    treated, grouped and depthwise ones included; strides, padding, biases, normalisation layers
    with their statistics, and everything else stay as they are. With `rescale` each output
    channel's kernel gets back the norm it had in the original, since averaging takes three
    quarters of a random kernel's energy and deep maps would fade into their biases; 1x1 kernels
    and channels whose average vanishes (odd kernels) are not rescaled. A `Network` gives a
    `Network` that says so in its description.

    Expected at 90° (and under flips, for the larger group), on maps centred on the image: at
    amount 1 `inverse` = 0 up to rounding, whatever the weights; at 0 the network's own residual.
    For other angles and for scalings the twin's residual is the floor of the architecture: small
    kernels have no finer symmetry than the square's, and nothing makes them scale.

    Convention: kernels turn about their middle; `amount` within 0 … 1.

    Raises ProbeError for an amount outside 0 … 1, an unknown group, kernels that are not square
    or have unequal dilations (their quarter turn has another shape), and weights that are computed
    in the forward pass.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3))
    >>> twin = symmetrised(network)
    >>> bool((twin[0].weight == torch.rot90(twin[0].weight, 1, (-2, -1))).all())
    True
    """
    _check(amount, group)
    if isinstance(network, Network):
        text = f"kernels averaged over {_words(group)} (amount {amount:g})"
        module = symmetrised(network.module, amount, group, rescale=rescale)
        return replace(
            network, module=module, name=f"{network.name} twin",
            description=f"{network.description}, {text}", checkpoint_sha256=None,
        )  # fmt: skip
    _refuse_computed(network)
    twin = copy.deepcopy(network)
    done: set[int] = set()
    for _, layer in _convolutions(twin):
        if id(layer.weight) not in done:  # weights that two layers share are averaged once
            done.add(id(layer.weight))
            with torch.no_grad():
                layer.weight.copy_(_towards(layer, amount, group, rescale))
    return twin


def symmetry_path(
    network: AnyNetwork,
    amounts: Iterable[float],
    group: Group = "rotations",
    *,
    rescale: bool = True,
) -> Iterator[tuple[float, AnyNetwork]]:
    """Networks on the way to the twin, as pairs (amount, network), one at a time.

    `amounts` lie within 0 (the network itself) … 1 (its twin); see `symmetrised`, of which
    `group` and `rescale` are the options. Raises ProbeError as it does, before the first network
    is made.

    Expected at 90°: the residual of `inverse` goes to 0 with the amount. For one convolution on
    white noise, without rescaling, it is (1 − t)²·‖a_h − a‖² / (‖s‖² + (1 − t)²·‖a‖²) with
    s = sym(w), a = w − s and a_h its turned copy, which only falls. Behind several layers it starts
    near the ceiling, stays there, and falls as t nears 1.
    """
    steps = [float(amount) for amount in amounts]
    for amount in steps:
        _check(amount, group)
    _refuse_computed(_module(network))
    return ((amount, symmetrised(network, amount, group, rescale=rescale)) for amount in steps)


def asymmetry(network: nn.Module | Network, group: Group = "rotations") -> dict[str, float]:
    """Share of each convolution's kernel energy outside the symmetric part, by layer name.

    ‖w − sym(w)‖² / ‖w‖², summed over the layer: 0 for symmetric kernels (all 1x1 ones), 1 for
    kernels whose average over the `group` vanishes (odd ones, such as derivatives). Independent
    random weights have 1 − m/k² on average, with m the number of orbits of the k² pixels under the
    group: about 3/4, or 7/8 with reflections (for 3x3 2/3, with reflections too). A layer whose
    weights are all 0 has none. The average is an orthogonal projection, so the shares inside and
    outside add to 1.

    Raises ProbeError as `symmetrised` does.

    >>> sobel = nn.Conv2d(1, 1, 3, bias=False)
    >>> sobel.weight.data = torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
    >>> asymmetry(nn.Sequential(sobel))
    {'0': 1.0}
    """
    _check(1.0, group)
    shares = {}
    for name, layer in _convolutions(_module(network)):
        weight = layer.weight.detach().double()
        outside = (weight - _average(weight, group)).square().sum()
        energy = float(weight.square().sum())
        shares[name] = float(outside) / energy if energy > 0 else 0.0
    return shares


def _average(weight: Tensor, group: Group) -> Tensor:
    """sym(w) of kernels (..., k, k), bit for bit unchanged by every member of the group."""
    half = weight + torch.rot90(weight, 2, (-2, -1))
    # Summed in pairs: the terms of a turned sum are the same, in an order that cannot matter.
    total = (half + torch.rot90(half, 1, (-2, -1))) / 4
    return total if group == "rotations" else (total + total.flip(-1)) / 2


def _towards(layer: Convolution, amount: float, group: Group, rescale: bool) -> Tensor:
    weight = layer.weight.detach().double()
    if layer.kernel_size == (1, 1):
        return weight
    mixed = torch.lerp(weight, _average(weight, group), amount)
    if not rescale:
        return mixed
    before, after = (_channel_norms(layer, w) for w in (weight, mixed))
    gone = after <= 1e-6 * before  # rounding is all that is left
    return mixed * torch.where(gone, 1.0, before / after.clamp(min=1e-300))


def _channel_norms(layer: Convolution, weight: Tensor) -> Tensor:
    """Norm of the kernel of each output channel, in a shape that broadcasts with the weights."""
    if isinstance(layer, nn.Conv2d):
        return weight.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
    # Transposed: (in, out / groups, k, k), where each group has its own inputs and outputs.
    grouped = weight.unflatten(0, (layer.groups, -1))
    norms = grouped.square().sum(dim=(1, 3, 4), keepdim=True).sqrt()
    return norms.expand(-1, grouped.shape[1], -1, 1, 1).flatten(0, 1)


def _convolutions(network: nn.Module) -> list[tuple[str, Convolution]]:
    """Every 2D convolution by name, checked."""
    found: list[tuple[str, Convolution]] = []
    for name, layer in network.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if isinstance(layer.weight, nn.UninitializedParameter):
            raise ProbeError(f"layer {name!r} has no weights yet; run the network once before")
        rows, columns = layer.kernel_size
        if rows != columns or layer.dilation[0] != layer.dilation[1]:
            shape = f"a {rows}x{columns} kernel"
            if rows == columns:
                shape += f" with dilation {tuple(layer.dilation)}"
            raise ProbeError(
                f"layer {name!r} has {shape}, whose quarter turn has another shape; only networks "
                "of square kernels have a symmetrised twin"
            )
        found.append((name, layer))
    return found


def _refuse_computed(network: nn.Module) -> None:
    """Before anything is copied: weights that are no parameters would be computed again."""
    for name, layer in _convolutions(network):
        if "weight" not in layer._parameters:
            raise ProbeError(
                f"the weights of layer {name!r} are computed in the forward pass; make them plain "
                "first, for example with torch.nn.utils.parametrize.remove_parametrizations"
            )


def _module(network: nn.Module | Network) -> nn.Module:
    return network.module if isinstance(network, Network) else network


def _check(amount: float, group: str) -> None:
    if not (math.isfinite(amount) and 0 <= amount <= 1):
        raise ProbeError(f"amount={amount!r} is out of range; give 0 (as it is) to 1 (symmetric)")
    if group not in _GROUPS:
        raise ProbeError(f"group={group!r} is not known; use {' or '.join(map(repr, _GROUPS))}")


def _words(group: Group) -> str:
    return group.replace("+", " and ")
