"""Results of strangers: nothing that they name is called or read unless the reader says so."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from typer.testing import CliRunner

from invariance_probe import cli
from invariance_probe.errors import ProbeError
from invariance_probe.networks import build_network
from invariance_probe.networks.building.factories import is_own_network
from invariance_probe.probing import (  # fmt: skip
    Options,
    ProbeConfig,
    Untrusted,
    load_result,
    pictures_of,
    replay,
    run_config,
)
from invariance_probe.probing.verification.trust import allowing, stored_config, untrusted
from invariance_probe.probing.verification.verify import verify

STRANGER = """
from pathlib import Path
from torch import nn
Path("imported").touch()

def build(mark="called", width=1):
    Path(mark).touch()
    conv = nn.Conv2d(1, int(width), 3, padding=1)
    nn.init.constant_(conv.weight, 0.1)
    return nn.Sequential(conv, nn.ReLU())
"""
HOSTILE: tuple[dict[str, Any], ...] = (
    {"network": "os:system", "arguments": {"command": "touch called"}},
    {"network": "stranger:build"},
    {"network": "symmetrised:stranger:build"},
    {"network": "os:getpid"},
    {"network": "model.safetensors"},
    {"network": "model.index.json"},
    {"network": "torchvision.models:resnet18"},
    {"network": "invariance_probe.cli:main"},
    {"network": "resnet18", "arguments": {"weights": "DEFAULT"}},
    {"network": "resnet18", "arguments": {"width_per_group": 10**9}},
    {"network": "mnist_cnn", "arguments": {"canvas": [1]}},
    {"checkpoint": "weights.pt"},
    {"checkpoint": r"\\host\share\weights.safetensors"},
    {"images": "/dev/zero"},
    {"images": "file:///etc/passwd"},
    {"images": r"\\host\share"},
    {"images": "mnist", "data_root": "/srv/data"},
    {"canvas": [4096, 4096]},
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ProbeConfig(
        layers=("conv2",), transforms="rotation:90", number=8,
        options=Options(resamples=10, channels=False),
    )  # fmt: skip
    return run_config(config).save(tmp_path_factory.mktemp("measured") / "run")


@pytest.fixture
def here(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stranger's module and result in it, in which the reader works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    Path("stranger.py").write_text(STRANGER, encoding="utf-8")
    shutil.copytree(measured, "run")
    return tmp_path


def alter(**values: Any) -> None:
    """Write values into the configuration of the result."""
    path = Path("run/provenance.json")
    held = json.loads(path.read_text(encoding="utf-8"))
    held["config"] |= values
    path.write_text(json.dumps(held), encoding="utf-8")


def run(line: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, line.split())
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join((done.stdout + done.stderr).split())


def unfinished() -> None:
    """The result's configuration as that of an unfinished probe."""
    held = json.loads(Path("run/provenance.json").read_text(encoding="utf-8"))
    Path("out.unfinished").mkdir()
    identity = {"config": held["config"], "options": held["options"]}
    about = {
        "kind": "invariance_probe unfinished probe", "number": 1, "identity": identity,
        "seen": {}, "note": {},
    }  # fmt: skip
    Path("out.unfinished/state.json").write_text(json.dumps(about), encoding="utf-8")


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: str(one)[:50])
def test_no_command_calls_or_reads_what_a_result_names(
    hostile: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    for name in ("load_network", "load_images"):
        for module in ("config", "verification.replay", "pictures.taking"):
            place = f"invariance_probe.probing.{module}.{name}"
            monkeypatch.setattr(place, lambda *a, **k: opened.append(a))
    alter(**hostile)
    unfinished()
    before = sorted(path.name for path in here.iterdir())
    for line, expected in (
        ("verify run", None),
        ("verify run --full", None),
        ("animate run --html page.html", 2),
        ("probe --config run --out out --overwrite --no-figures", 2),
        ("probe --resume --out out --no-figures", 2),
    ):
        code, said = run(line)
        assert expected in (None, code), f"{line}: {said}"
        if code == 2:
            assert "--trust" in said, f"{line}: {said}"
        assert sorted(path.name for path in here.iterdir()) == before, line
    with pytest.raises(Untrusted):
        replay(load_result("run"))
    assert not opened and "stranger" not in sys.modules


def test_a_report_without_trust_says_what_it_lacks_and_how_to_get_it(here: Path) -> None:
    alter(network="stranger:build", arguments={"width": 2})
    code, said = run("report run --out report")
    assert code == 0, said
    assert "no pictures of run" in said and "would call stranger:build(width=2)" in said
    assert "--network stranger:build --network-arg width=2" in said
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "There are no pictures of this run" in page and not Path("imported").exists()


def test_what_is_repeated_on_the_command_line_is_called(here: Path) -> None:
    line = "probe --network stranger:build --network-arg width=2 --transforms rotation:90"
    code, said = run(f"{line} --layers 0 --number 8 --resamples 10 --no-figures --out mine")
    assert code == 0, said
    Path("called").unlink()
    code, said = run("verify mine --images 1")
    assert "would call stranger:build(width=2)" in said and not Path("called").exists()
    allowed = "--network stranger:build --network-arg width=2"
    for options, calls in (
        ("--network stranger:build", False),  # its arguments are a stranger's still
        ("--network stranger:other --network-arg width=2", False),
        (allowed, True),
        ("--trust", True),
    ):
        code, said = run(f"verify mine --images 1 {options}")
        assert code == 0 and Path("called").exists() == calls, f"{options}: {said}"
        Path("called").unlink(missing_ok=True)
    code, said = run(f"animate mine --html page.html {allowed}")
    assert code == 0 and Path("page.html").exists(), said
    code, said = run(f"probe --config mine {allowed} --no-figures --out again")
    assert code == 0, said
    assert load_result("again").content_hash == load_result("mine").content_hash
    trusted = {"network": "stranger:build", "arguments": {"width": 2}}
    assert pictures_of(load_result("mine"), trust=trusted)
    with pytest.raises(Untrusted, match="trust=True"):
        pictures_of(load_result("mine"))
    assert verify("mine", images=1, trust=True)[-1].holds


def test_the_own_networks_and_digits_need_no_word(here: Path) -> None:
    code, said = run("verify run --images 1")
    assert code == 0 and "replay of a sample: holds" in said, said
    assert replay(load_result("run")).content_hash == load_result("run").content_hash


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("mnist_cnn", True), ("resnet18", True), ("torchvision:resnet18", True),
        ("timm:resnet18.a1_in1k", True), ("classifier:STN-C1", True), ("controls:pointwise", True),
        ("symmetrised:timm:resnet18", True), ("os:system", False), ("timm.models:resnet18", False),
        ("a.safetensors", False), ("symmetrised:os:system", False), ("torchvision:a:b", False),
        ("classifier:os:system", False), (":system", False), ("symmetrised:a.safetensors", False),
        ("./torchvision:x", False), ("controls.x:pointwise", False), ("", False),
        ("a.index.json", False), ("/srv/net.pt2", False), ("net.pt", False),
    ],
)  # fmt: skip
def test_which_networks_are_the_packages_own(name: str, own: bool) -> None:
    assert is_own_network(name) is own


def test_a_repeated_path_may_be_written_in_another_way(here: Path) -> None:
    config = ProbeConfig(checkpoint=str(here / "w.safetensors"), images="photos/")
    assert set(untrusted(config, {})) == {"checkpoint", "images"}
    assert untrusted(config, {"checkpoint": "w.safetensors", "images": "photos"}) == {}
    assert set(untrusted(config, {"checkpoint": "v.safetensors"})) == {"checkpoint", "images"}
    assert allowing(ProbeConfig(images="a b")) == " --image-set 'a b'"
    assert allowing(ProbeConfig()) == ""
    assert allowing(ProbeConfig(checkpoint="w" * 300)) == " --trust"  # not a part of the name


def test_the_refusal_is_one_printable_line(here: Path) -> None:
    with pytest.raises(Untrusted) as caught:
        stored_config({"network": "a:\x1b[31m\n" + "b" * 5000})
    assert len(str(caught.value)) < 700 and str(caught.value).isprintable()
    for wrong in ([], "mnist_cnn", None, 3):
        with pytest.raises(ProbeError, match="is no object"):
            stored_config(wrong)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("os:system", "not a function or class written in Python"),
        ("stranger:Path", "is a class of Path, not of networks"),
        ("stranger:nn.Conv2d", r"lies in the module torch\.nn; name it as"),
        ("stranger:nothing", "has no 'nothing'"),
        ("json:dumps", "returned|raised"),
    ],
)
def test_a_factory_is_a_function_or_class_of_networks(spec: str, message: str, here: Path) -> None:
    with pytest.raises(ProbeError, match=message):
        build_network(spec)
    assert isinstance(build_network("stranger:build").module, nn.Module)
