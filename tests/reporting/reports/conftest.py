"""A small real run, made once: a probe of two kinds and an oracle, saved to folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from invariance_probe.probing import Options, ProbeConfig, Result, oracle, run_config
from invariance_probe.probing.config import load_images, load_network

MOVES = "rotation:45 rotation:90 scaling:1.5 identity"


@pytest.fixture(scope="session")
def config() -> ProbeConfig:
    options = Options(resamples=50, batch_size=16)
    return ProbeConfig(layers=("conv1", "conv2"), transforms=MOVES, number=60, options=options)


@pytest.fixture(scope="session")
def probed(config: ProbeConfig) -> Result:
    return run_config(config)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, config: ProbeConfig, probed: Result) -> Path:
    """A folder with the sub-folders probe and oracle."""
    folder = tmp_path_factory.mktemp("runs")
    probed.save(folder / "probe")
    asked = replace(config, transforms="rotation:90")
    network = load_network(asked)
    oracle(
        network, asked.layers, asked.transforms, load_images(asked, network),
        options=asked.options, config=asked.to_dict(),
    ).save(folder / "oracle")  # fmt: skip
    return folder


class Tags(HTMLParser):
    """Start tags with their attributes, and what was not closed in order."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input", "base"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


@pytest.fixture
def read_tags() -> type[Tags]:
    return Tags
