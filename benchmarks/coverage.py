"""How often intervals hold the truth: a result's evaluation images as the population, drawn from.

    python benchmarks/coverage.py figures/oracle_stn/probe --draws 2000

prints, for each quantity and number of images, the share of draws whose 95 % interval holds the
population's value (mean over layers and transformations, least of them in brackets), then the
same for proportions, and the share of comparisons of a network with itself on other images in
which any row is called different at 5 % (family-wise, by sign flips).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from invariance_probe.alignment import interval, proportion_interval
from invariance_probe.probing import Result, load_result
from invariance_probe.probing.comparison.paired_differences import _flips, _pseudo, _studentised
from invariance_probe.probing.ladder.shares import read_off, readable

NUMBERS = (20, 50, 100, 400)
SHARES = (0.01, 0.05, 0.2, 0.5, 0.9, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="a folder that probe wrote, of many images")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    result = load_result(asked.result)
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
