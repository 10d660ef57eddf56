"""Examples and networks for tests of training; loaded by path, also in other processes."""

from __future__ import annotations

import torch
from torch import nn

from invariance_probe.data.examples.examples import Batch


class Bars:
    """Noisy images with a bar in one of `classes` rows, shifted anew in every draw.

    With `positions` above 1 the image holds as many such images side by side.
    """

    mean, std, background = (0.25,), (0.5,), (-0.5,)
    channels = 1

    def __init__(self, number=64, classes=4, positions=1, fresh=True, size=8, device="cpu"):
        self.number, self.classes, self.positions = number, classes, positions
        self.fresh, self.size, self.device = fresh, size, device
        self.description = f"{number} bars"
        self.sha256 = f"{number}-{classes}-{positions}-{size}".ljust(64, "0")
        maker = torch.Generator().manual_seed(7)
        shape = (number, positions)
        self.labels = torch.randint(classes, shape, generator=maker)

    @property
    def canvas(self):
        return self.size, self.size * self.positions

    def __len__(self):
        return self.number

    def to(self, device):
        return Bars(
            self.number, self.classes, self.positions, self.fresh, self.size, torch.device(device)
        )

    def draw(self, seed):
        return Drawn(self, seed if self.fresh else 0)


class Drawn:
    def __init__(self, bars, seed):
        maker = torch.Generator().manual_seed(seed)
        self.bars = bars
        shape = (bars.number, bars.positions, bars.size, bars.size)
        self.pixels = 0.3 * torch.rand(shape, generator=maker)
        rows = torch.arange(bars.size) // 2 % bars.classes
        self.pixels += 0.7 * (rows[:, None] == bars.labels[..., None, None])
        self.shift = torch.randint(-2, 3, (bars.number,), generator=maker)

    def batch(self, indices):
        asked = torch.as_tensor(list(indices), dtype=torch.int64)
        tiles = self.pixels[asked]
        images = tiles.transpose(1, 2).flatten(2)[:, None]
        images = torch.stack(
            [torch.roll(i, int(s), -1) for i, s in zip(images, self.shift[asked], strict=True)]
        )
        labels = self.bars.labels[asked]
        targets = labels if self.bars.positions > 1 else labels[:, 0]
        return Batch(((images - 0.25) / 0.5).to(self.bars.device), targets.to(self.bars.device))


class Net(nn.Module):
    """Two convolutions, dropout and a head; the second convolution counts as localising."""

    def __init__(self, classes=4, positions=1, dropout=0.2, size=8):
        super().__init__()
        self.classes, self.positions = classes, positions
        with torch.random.fork_rng([]):
            torch.manual_seed(5)
            self.first = nn.Conv2d(1, 4, 3)
            self.second = nn.Conv2d(4, 8, 3)
            self.drop = nn.Dropout(dropout)
            width = 8 * (size - 4) * (size * positions - 4)
            self.head = nn.Linear(width, positions * classes)

    def localisation_parameters(self):
        return list(self.second.parameters())

    def forward(self, images):
        maps = self.second(self.first(images).relu()).relu()
        logits = self.head(self.drop(maps.flatten(1)))
        return logits if self.positions == 1 else logits.unflatten(1, (self.positions, -1))


def same(a, b):
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
