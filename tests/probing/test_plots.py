"""What a result shows in a notebook, and its figures by attribute."""

from __future__ import annotations

import base64
import copy
import inspect
import pickle
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from invariance_probe import ProbeError, reporting
from invariance_probe.geometry import parse_transforms
from invariance_probe.probing import Options, OracleResult, Result
from invariance_probe.probing.ladder.assemble import described
from invariance_probe.probing.oracles.result import assemble_oracle
from invariance_probe.running import plots as _plots

RUNGS = ("unaligned", "inverse", "input_aligned", "other_image")
FIGURES = {
    "channel_shift", "composition", "ladder", "landscape", "ledger", "moved", "gain", "residuals",
    "spread", "tuning",
}  # fmt: skip


def make_result(
    layers: tuple[str, ...] = ("conv1", "conv2"), text: str = "rotation:0:90:45"
) -> Result:
    """Residuals 0.1·(rung + 1), but at the identity, where only the ceiling is left."""
    moves, images = parse_transforms(text), 4
    errors = np.ones((len(layers), len(moves), len(RUNGS), images))
    errors *= 0.1 * np.arange(1, len(RUNGS) + 1)[:, None]
    heads = [{"layer": n, **described(h)} for n in layers for h in moves]
    rows = [
        {**head, "rung": rung, "residual": value, "low": value, "high": value, "images": images}
        for head in heads
        for rung, value in zip(RUNGS, errors[0, 0, :, 0], strict=True)
    ]
    summary = [
        {**head, **dict(zip(RUNGS, errors[0, 0, :, 0], strict=True)), "recovered": 2 / 3}
        for head in heads
    ]
    return Result(
        residuals=pd.DataFrame(rows),
        summary=pd.DataFrame(summary),
        alignments=pd.DataFrame(heads),
        landscape=pd.DataFrame(heads),
        layers=pd.DataFrame({"layer": list(layers)}),
        errors=errors,
        variance=np.ones((len(layers), images)),
        axes={
            "layer": layers,
            "transform": tuple(move.text for move in moves),
            "rung": RUNGS,
            "image": tuple("abcd"),
        },
        provenance={"warnings": ["few <images>"]},
    )


def make_oracle(
    layers: tuple[str, ...] = ("conv1", "conv2"),
    labels: bool = True,
    text: str = "rotation:45:90:45",
) -> OracleResult:
    """Half of the images right, whatever is done to them."""
    moves = parse_transforms(text)
    shape = (len(moves), 2 + 3 * len(layers), 4)
    predictions = np.broadcast_to(np.array([0, 0, 1, 1], np.int32), shape).copy()
    return assemble_oracle(
        layers, moves, tuple("abcd"), np.zeros(4, np.int64) if labels else None, predictions,
        np.zeros(4, np.int64), np.ones(shape), np.ones(4), {}, Options(resamples=20), {},
    )  # fmt: skip


class Page(HTMLParser):
    """Elements and texts of a piece of HTML; every element that is opened must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        elif tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


# --- figures by attribute ----------------------------------------------------------------------


def test_a_result_has_every_figure_that_takes_one() -> None:
    result = make_result()
    assert {name for name in dir(result.plot) if not name.startswith("_")} == FIGURES
    assert {name for name in dir(make_oracle().plot) if not name.startswith("_")} == {"oracle"}
    for name in FIGURES:
        function = getattr(reporting, f"plot_{name}")
        bound = getattr(result.plot, name)
        assert bound.__doc__ == function.__doc__
        own = list(inspect.signature(function).parameters.values())[1:]
        assert list(inspect.signature(bound).parameters.values()) == own


def test_a_figure_takes_the_arguments_of_its_function() -> None:
    figure = make_result().plot.gain("rotation", layers="conv2")
    assert isinstance(figure, Figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["conv2"]
    with pytest.raises(ProbeError, match="no layer 'conv3'"):
        make_result().plot.gain(layers="conv3")
    assert isinstance(make_oracle().plot.oracle("agreement"), Figure)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("residual", "no figure 'residual' of a Result; did you mean residuals?"),
        ("plot_ladder", "no figure 'plot_ladder' of a Result; did you mean ladder?"),
        ("xyz", f"no figure 'xyz' of a Result; there are {', '.join(sorted(FIGURES))}"),
    ],
)
def test_an_unknown_figure_is_a_line_with_near_matches(name: str, said: str) -> None:
    with pytest.raises(ProbeError, match=f"^{re.escape(said)}$"):
        getattr(make_result().plot, name)
    assert not hasattr(make_result().plot, name)


def test_the_accessor_is_no_part_of_the_value() -> None:
    result = make_result()
    assert "plot" not in vars(result)
    assert "plot" not in Result.__dataclass_fields__
    assert replace(result).plot.gain is not None
    assert not isinstance(
        inspect.getattr_static(Result, "plot"), property
    )  # IPython would not look
    copied = pickle.loads(pickle.dumps(copy.deepcopy(result.plot)))
    assert dir(copied) == dir(result.plot)
    assert repr(result.plot).startswith("figures of Result(2 layers x 3 transforms")


# --- notebooks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [make_result(), make_oracle(), make_oracle(labels=False)])
def test_a_value_shows_a_table_and_a_figure(value: Result | OracleResult) -> None:
    html = value._repr_html_()
    page = Page(html)
    assert page.tags.count("table") == 1
    (picture,) = page.pictures
    head, _, data = (picture["src"] or "").partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG\r\n")
    assert "background: white" in (picture["style"] or "")
    assert picture["alt"]
    assert {"script", "style", "link"}.isdisjoint(page.tags)
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert {"conv1", "conv2"} <= set(page.texts)
    assert len(html) < 200_000


def test_the_table_holds_the_numbers() -> None:
    texts = Page(make_result()._repr_html_()).texts
    row = texts.index("conv2")
    assert [text for text in texts[row + 1 :] if text][:4] == ["0.10", "0.20", "0.30", "0.40"]
    assert "few <images>" in texts
    assert "1 warning" in texts
    shown = Page(make_oracle()._repr_html_()).texts
    assert any(text.startswith("Top-1 accuracy") for text in shown)
    assert "50.0%" in shown
    unlabelled = Page(make_oracle(labels=False)._repr_html_()).texts
    assert any(text.startswith("Top-1 agreement") for text in unlabelled)


def test_hostile_names_are_shown_not_run() -> None:
    name = "<script>alert(1)</script>&\"'"
    for value in (make_result(layers=(name, "b")), make_oracle(layers=(name, "b"))):
        page = Page(value._repr_html_())
        assert "script" not in page.tags
        assert name in page.texts


def test_many_layers_are_few_rows() -> None:
    layers = tuple(f"layer{n}" for n in range(300))
    html = make_result(layers=layers)._repr_html_()
    page = Page(html)
    assert page.tags.count("tr") < 20
    assert {"layer0", "layer299"} <= set(page.texts)
    assert len(page.pictures) == 1


@pytest.mark.parametrize("layers", [("conv1",), ("$x^{$", "b")], ids=["one", "no mathematics"])
@pytest.mark.parametrize("text", ["identity", "translation:3,0", "scaling:0.5:2:3"])
def test_it_never_raises(layers: tuple[str, ...], text: str) -> None:
    for value in (make_result(layers, text), make_oracle(layers, text=text)):
        assert "table" in Page(value._repr_html_()).tags


def test_without_plotting_the_table_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(_plots, "import_module", missing)
    page = Page(make_result()._repr_html_())
    assert page.pictures == []
    assert "table" in page.tags


def test_a_table_that_fails_leaves_the_name() -> None:
    def broken() -> pd.DataFrame:
        raise KeyError("residual")

    page = Page(_plots.as_html(make_result(), "caption", broken))
    assert "table" not in page.tags
    assert "Result(2 layers x 3 transforms, 4 evaluation images)" in page.texts


@pytest.mark.parametrize("value", [make_result(), make_oracle()])
def test_it_is_quick(value: Result | OracleResult) -> None:
    value._repr_html_()
    spent = []
    for _ in range(3):
        start = time.process_time()  # what others do on the machine does not count
        value._repr_html_()
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5
