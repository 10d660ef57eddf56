"""How often intervals hold the truth: a result's evaluation images as the population, drawn from.

    python benchmarks/coverage.py figures/oracle_stn/probe --draws 2000
    python benchmarks/coverage.py figures/oracle_stn/probe --draws 1000 --maps relu1 conv2 relu2

The second is about what follows from maps, not from sums an image: the ceiling over all pairs of
images, and the correlations about mean maps. It shows the network the images of the result again.

The first prints, for each quantity and number of images, the share of draws whose 95 % interval
holds the population's value (mean over layers and transformations, least of them in brackets),
then the same for proportions, and the share of comparisons of a network with itself on other
images in which any row is called different at 5 % (family-wise, by sign flips).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from invariance_probe.alignment import interval, proportion_interval
from invariance_probe.geometry import parse_transforms, valid_cells
from invariance_probe.networks import Activations, framed_layers
from invariance_probe.networks.network import resolved
from invariance_probe.probing import ProbeConfig, Result, load_result
from invariance_probe.probing.bench.inputs import Inputs
from invariance_probe.probing.comparison.paired_differences import _flips, _pseudo, _studentised
from invariance_probe.probing.config import load_images, load_network
from invariance_probe.probing.ladder.compared import Compared
from invariance_probe.probing.ladder.correlation_state import correlation
from invariance_probe.probing.ladder.shares import read_off, readable

NUMBERS = (20, 50, 100, 400)
SHARES = (0.01, 0.05, 0.2, 0.5, 0.9, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="a folder that probe wrote, of many images")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--maps", nargs="+", metavar="LAYER", help="of these layers' maps alone")
    parser.add_argument("--transform", help="of the maps; the result's first unless given")
    asked = parser.parse_args()
    result = load_result(asked.result)
    if asked.maps:
        move = asked.transform or result.axes["transform"][0]
        of_maps(result, asked.maps, move, asked.draws, asked.seed)
        return
    images = len(result.axes["image"])
    print(f"population: {images} evaluation images of {asked.result}; {asked.draws} draws\n")
    covered(result, asked.draws, asked.seed)
    proportions(asked.draws, asked.seed)
    family(result, asked.draws, asked.seed)


def covered(result: Result, draws: int, seed: int) -> None:
    """Coverage of every rung and of what is read off, over all layers and transformations."""
    rungs = result.axes["rung"]
    names = [*rungs, *readable(rungs)]

    def statistic(errors: np.ndarray, energy: np.ndarray) -> np.ndarray:
        values = np.moveaxis(errors / energy, -2, -1)
        read = [read_off(values, rungs, name)[..., None] for name in readable(rungs)]
        return np.moveaxis(np.concatenate([values, *read], -1), -1, -2)

    print("| quantity |" + "".join(f" n = {n} |" for n in NUMBERS))
    print("|---|" + "---:|" * len(NUMBERS))
    hits = {n: np.zeros((*result.errors.shape[:2], len(names))) for n in NUMBERS}
    for layer, (errors, variance) in enumerate(zip(result.errors, result.variance, strict=True)):
        truth = statistic(errors.sum(-1)[..., None], variance.sum(keepdims=True))[..., 0]
        for n in NUMBERS:
            random = np.random.default_rng((seed, n))
            for _ in range(draws):
                chosen = random.integers(len(variance), size=n)
                low, high = interval(statistic, errors[..., chosen], variance[chosen])
                hits[n][layer] += (low <= truth) & (truth <= high)
    for place, name in enumerate(names):
        cells = [hits[n][..., place] / draws for n in NUMBERS]
        print(f"| `{name}` |" + "".join(f" {c.mean():.1%} ({c.min():.1%}) |" for c in cells))
    print()


def of_maps(result: Result, layers: list[str], move: str, draws: int, seed: int) -> None:
    """Coverage of ceiling, ρ and ρ of the aligned input, over layers, under a transformation."""
    numbers = NUMBERS[:3]
    hits = np.zeros((len(numbers), len(layers), 3))
    for place, layer in enumerate(layers):
        population = _Population(result, layer, move)
        for row, n in enumerate(numbers):
            random = np.random.default_rng((seed, n))
            for _ in range(draws):
                chosen = random.integers(population.number, size=(2, n))
                ends, truth = population.intervals(*chosen), population.truth
                hits[row, place] += [
                    low <= t <= high for (low, high), t in zip(ends, truth, strict=True)
                ]
    print("| quantity |" + "".join(f" n = {n} |" for n in numbers))
    print("|---|" + "---:|" * len(numbers))
    for number, name in enumerate(("other_image", "rho", "rho_input")):
        cells = [hits[row, :, number] / draws for row in range(len(numbers))]
        print(f"| `{name}` |" + "".join(f" {c.mean():.1%} ({c.min():.1%}) |" for c in cells))


class _Population:
    """Inner products of a layer's maps of all evaluation images, from which draws are computed.

    x are maps moved back and those of the aligned input, y the originals'.
    """

    def __init__(self, result: Result, layer: str, move: str) -> None:
        x, aligned, y = _maps(result, layer, move)  # (N, C, V)
        self.number, self.cells = len(y), y.shape[2]
        centre = y.mean((0, 2), keepdims=True)
        self.means = (y - centre).mean(2)
        flat = [(of - centre).reshape(self.number, -1) for of in (x, aligned, y)]
        self.grams = {(a, b): flat[a] @ flat[b].T
                      for a, b in ((0, 0), (0, 2), (1, 1), (1, 2), (2, 2))}  # fmt: skip
        whole = np.arange(self.number)
        self.truth = (
            self._ceiling(whole, whole)[0],
            *(self._rho(k, whole, whole)[0] for k in (0, 1)),
        )

    def intervals(self, drawn: np.ndarray, fitted: np.ndarray) -> list[tuple[float, float]]:
        """Of the ceiling and both correlations, for the images of the two halves."""
        found = [self._ceiling(drawn, fitted), *(self._rho(k, drawn, fitted) for k in (0, 1))]
        return [(low, high) for _, low, high in found]

    def _ceiling(self, drawn: np.ndarray, fitted: np.ndarray) -> tuple[float, float, float]:
        n, (own, spread) = len(drawn), self._products(2, 2, drawn, fitted)
        errors = own * 2 * n / (n - 1) * (1 - n * spread / own.sum())
        means = self.means[drawn]
        mean = means.mean(0)
        energy = np.diag(self.grams[2, 2])[drawn] + self.cells * (mean**2).sum()
        energy -= 2 * self.cells * means @ mean
        low, high = interval(lambda e, v: e / v, errors[None], energy)
        return errors.sum() / energy.sum(), low[0], high[0]

    def _rho(self, kind: int, drawn: np.ndarray, fitted: np.ndarray) -> tuple[float, float, float]:
        pairs = ((kind, kind), (kind, 2), (2, 2))
        products = [self._products(a, b, drawn, fitted) for a, b in pairs]
        sums = np.stack([own - spread for own, spread in products])
        low, high = interval(lambda s, _: correlation(s), sums, np.ones(len(drawn)))
        return float(correlation(sums.sum(-1, keepdims=True))[0]), float(low), float(high)

    def _products(
        self, a: int, b: int, drawn: np.ndarray, fitted: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Each image's product about the mean maps of the other half, and that of the means."""
        gram = self.grams[a, b]
        over = gram[np.ix_(fitted, fitted)].mean()
        own = gram[drawn, drawn] - gram[np.ix_(drawn, fitted)].mean(1)
        own = own - gram[np.ix_(fitted, drawn)].mean(0) + over
        spread = gram[np.ix_(drawn, drawn)].mean() - gram[np.ix_(drawn, fitted)].mean()
        return own, spread - gram[np.ix_(fitted, drawn)].mean() + over


def _maps(result: Result, layer: str, text: str) -> list[np.ndarray]:
    """Maps (N, C, V) moved back, of the aligned input, and of the originals."""
    config = ProbeConfig.from_dict(result.provenance["config"])
    network = load_network(config)
    images = load_images(config, network)
    module, mean, std = resolved(network, config.mean, config.std)
    inputs = Inputs(images, mean, std, config.options.image_interpolation, torch.device("cpu"),
                    torch.float32)  # fmt: skip
    (frame,) = framed_layers(module, [layer], inputs.original(inputs.load([0])))[0].values()
    (move,) = parse_transforms(text)
    compared = Compared(frame, valid_cells(frame, [move], images.canvas), "bilinear")
    inside = compared.mask(torch.zeros(1)).bool()
    places = [images.names.index(name) for name in result.axes["image"]]
    found: list[list[torch.Tensor]] = [[], [], []]
    with torch.inference_mode(), Activations(module.eval(), [layer]) as look:
        for first in range(0, len(places), 250):
            source = inputs.load(places[first : first + 250])
            canvas = inputs.transformed(source, move)
            shown = (canvas, inputs.undone(canvas, move), inputs.original(source))
            moved, aligned, own = (look(inputs.normalise(one))[layer] for one in shown)
            moved = compared.moved(moved, move.inverse())
            for held, maps in zip(
                found, (moved, compared.take(aligned), compared.take(own)), strict=True
            ):
                held.append(maps[..., inside])
    return [torch.cat(held).double().numpy() for held in found]


def proportions(draws: int, seed: int) -> None:
    """Coverage of Wilson's intervals of Bernoulli draws."""
    print("| proportion |" + "".join(f" n = {n} |" for n in NUMBERS))
    print("|---|" + "---:|" * len(NUMBERS))
    random = np.random.default_rng(seed)
    for share in SHARES:
        held = []
        for n in NUMBERS:
            low, high = proportion_interval((random.random((10 * draws, n)) < share).astype(float))
            held.append(np.mean((low <= share) & (share <= high)))
        print(f"| {share:g} |" + "".join(f" {value:.1%} |" for value in held))
    print()


def family(result: Result, draws: int, seed: int) -> None:
    """False claims among all layers and rungs where two networks differ in nothing but images."""
    print("| family-wise, 5 % asked |" + "".join(f" n = {n} |" for n in NUMBERS[:3]))
    print("|---|" + "---:|" * 3)
    ratio = result.errors[:, 0] / result.variance.mean(-1)[:, None, None]  # (layers, rungs, N)
    wrong = []
    for n in NUMBERS[:3]:
        random, found = np.random.default_rng((seed, n)), 0
        (signs,) = _flips(seed, 999, n)
        for _ in range(draws):
            one, other = random.integers(ratio.shape[-1], size=(2, n))
            apart = ratio[..., one] - ratio[..., other]
            rest = (apart.sum(-1, keepdims=True) - apart) / (n - 1)
            values = np.concatenate([apart.mean(-1, keepdims=True), rest], axis=-1)
            pseudo = _pseudo(values)
            seen = _studentised(pseudo, np.ones((1, n))).max()
            found += np.mean(_studentised(pseudo, signs).max(axis=(0, 1)) >= seen) <= 0.05
        wrong.append(found / draws)
    print("| false claims |" + "".join(f" {value:.1%} |" for value in wrong))


if __name__ == "__main__":
    main()
