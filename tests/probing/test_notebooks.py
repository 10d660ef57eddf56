"""Progress below the cell of a notebook: there alone, and gone at the end."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from invariance_probe import embedded_digits, oracle, probe
from invariance_probe.networks import build_network
from invariance_probe.probing.bench import notebooks


class Kernel(ModuleType):
    """IPython as a kernel has it: what is displayed, text by text."""

    def __init__(self, kernel: object) -> None:
        super().__init__("IPython")
        self.kernel, self.texts = kernel, []  # type: ignore[var-annotated]
        self.display = SimpleNamespace(display=self._show)

    def get_ipython(self) -> SimpleNamespace:
        return SimpleNamespace(kernel=self.kernel)

    def _show(self, data: dict[str, str], **how: Any) -> SimpleNamespace:
        assert how == {"raw": True, "display_id": True}
        self.texts.append(data["text/plain"])
        return SimpleNamespace(update=lambda d, raw: self.texts.append(d["text/plain"]))


def started(monkeypatch: pytest.MonkeyPatch, kernel: object) -> Kernel:
    made = Kernel(kernel)
    monkeypatch.setitem(sys.modules, "IPython", made)
    return made


def test_work_is_shown_in_a_notebook_and_the_line_is_empty_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notebooks, "_EVERY", 0.0)
    network, images = build_network("mnist_cnn"), embedded_digits(12)
    options: dict[str, Any] = {"resamples": 20}
    for work in (probe, oracle):
        kernel = started(monkeypatch, object())
        work(network, ["conv2"], "rotation:90", images, **options)
        assert len(kernel.texts) > 2 and "%" in kernel.texts[0]
        assert kernel.texts[-1] == ""
    told: list[int] = []
    probe(network, "conv2", "rotation:90", images, progress=lambda *at: told.append(at[0]),
          **options)  # fmt: skip
    assert told and len(kernel.texts) == len([text for text in kernel.texts if text]) + 1


def test_a_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = started(monkeypatch, None)
    assert notebooks.listener(None) is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert notebooks.listener(None) is None and not kernel.texts


def test_texts_come_no_more_often_than_they_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = started(monkeypatch, object())
    line = notebooks.listener(None)
    assert line is not None
    for done in range(1000):
        line(done, 1000, "probing")
    line(1000, 1000, "probing")
    assert kernel.texts[0] == "0 %  probing" and len(kernel.texts) < 20
    assert kernel.texts[-1] == ""
