"""One process, two or three, and any batch size: the same tables; and they end together."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import many
import pytest

from invariance_probe.probing import Result, load_result

RUN = """
from invariance_probe.probing import probe
from invariance_probe.running.processes import processes
{made}
with processes("cpu") as (group, device):
    for size in {sizes!r}:
        result = probe(network, ["0", "2"], moves, images, resamples=20, batch_size=size,
                       **{options!r})
        if group.main:
            result.save(f"{{sys.argv[1]}}/{world}-{{size}}")
        elif sys.argv[2:]:
            result.save(f"{{sys.argv[1]}}/other-{{group.rank}}")
"""


def run(folder: Path, world: int, sizes: tuple[int, ...], **options: Any) -> list[Result]:
    made = many.MADE.replace("NUMBER", "13")  # odd: the parts differ in length
    code = RUN.format(made=made, sizes=sizes, options=options, world=world)
    for code_of, _, said in many.ends(many.start(code, world, str(folder))):
        assert code_of == 0, said
    return [load_result(folder / f"{world}-{size}") for size in sizes]


def test_processes_and_batches_change_no_number(tmp_path: Path) -> None:
    options = {"weighting": "channel", "channels": True, "per_image": True}
    (alone,) = run(tmp_path, 1, (32,), **options)
    (two,) = run(tmp_path, 2, (3,), **options)
    assert many.same_tables(alone, two) == []
    assert two.axes == alone.axes
    assert (alone.provenance["numerics"]["processes"], two.provenance["numerics"]["processes"]) == (
        1, 2,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"weighting": "channel", "per_image": True}, {"channels": False}]
)
def test_the_whole_grid(tmp_path: Path, options: dict[str, Any]) -> None:
    sizes = (1, 7, 32)
    first, *others = [result for world in (1, 2, 3) for result in run(tmp_path, world, sizes,
                                                                      **options)]  # fmt: skip
    for other in others:
        assert many.same_tables(first, other) == []


FAILING = """
from invariance_probe.probing import probe
from invariance_probe.running.processes import processes
{made}
from invariance_probe.errors import ProbeError
with processes("cpu") as (group, device):
    def spoil(done, total, text):
        if group.rank == 1 and text.startswith("fit: rotation:90"):
            network[0].bias.data[0] = float("nan")
    try:
        probe(network, "0", moves, images, resamples=20, batch_size=4, progress=spoil)
    except ProbeError as error:
        print(error)
        sys.exit(2)
"""


def test_an_error_in_one_process_is_that_of_all() -> None:
    code = FAILING.format(made=many.MADE.replace("NUMBER", "24"))
    done = many.ends(many.start(code, 2))
    assert [code_of for code_of, _, _ in done] == [2, 2], done
    assert done[0][1] == done[1][1]
    assert len(done[0][1].splitlines()) == 1
    assert "layer '0' gives NaN for image" in done[0][1]


IMPURE = """
from invariance_probe.probing import probe
from invariance_probe.running.processes import processes
{made}
from invariance_probe.errors import ProbeError
class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)
noisy = nn.Sequential(network[0], Noise())
with processes("cpu"):
    print(probe(noisy, "1", moves, images, resamples=20, channels=False).warnings[0])
    try:
        probe(noisy, "1", moves, images, impure="refuse")
    except ProbeError as error:
        print(error)
        sys.exit(2)
"""


def test_all_processes_say_the_same_of_a_network_that_is_random() -> None:
    done = many.ends(many.start(IMPURE.format(made=many.MADE.replace("NUMBER", "24")), 2))
    assert [code_of for code_of, _, _ in done] == [2, 2], done
    assert done[0][1] == done[1][1]
    warning, refusal = done[0][1].splitlines()
    assert warning.startswith("purity: ") and "draws random numbers" in refusal


LOST = """
import time
from invariance_probe.probing import probe
from invariance_probe.running.processes import processes
{made}
from invariance_probe.errors import ProbeError
with processes("cpu") as (group, device):
    def tell(done, total, text):
        if text.startswith("fit: rotation:90"):
            print("here", flush=True)
            if group.rank == 1:
                time.sleep(60)
    try:
        probe(network, "0", moves, images, resamples=20, progress=tell)
    except ProbeError as error:
        print(error)
        sys.exit(2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_process_that_is_killed_leaves_no_other_hanging() -> None:
    started = many.start(LOST.format(made=many.MADE.replace("NUMBER", "12")), 2)
    assert started[1].stdout is not None
    assert started[1].stdout.readline() == "here\n"
    started[1].kill()
    begun = time.monotonic()
    (code, said, _), _ = many.ends(started, timeout=50)
    assert time.monotonic() - begun < 40
    assert code == 2
    assert "another process of this run has ended or cannot be reached" in said.splitlines()[-1]


def test_more_processes_than_images() -> None:
    from invariance_probe.errors import ProbeError
    from invariance_probe.probing.bench.plan import check_shares

    check_shares(6, 3)
    with pytest.raises(ProbeError, match="4 processes cannot share 3 images, half of 6; start few"):
        check_shares(6, 4)
