"""Training in several processes, as torchrun starts them: one batch shared, gradients averaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import ProbeError

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen from one of them; rank 0 alone writes files."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """Return this process' part of a batch's indices; parts differ by at most one in length."""
        return batch.tensor_split(self.world)[self.rank]

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def from_main(self, task: Callable[[], T]) -> T:
        """Run a task in the first process only and return its result, or its error, in all."""
        if self.world == 1:
            return task()
        held: list[object] = [None, None]
        if self.main:
            try:
                held[0] = task()
            except ProbeError as error:
                held[1] = str(error)
        distributed.broadcast_object_list(held, src=0)
        if held[1] is not None:
            raise ProbeError(str(held[1]))
        return held[0]  # type: ignore[return-value]

    def spread(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network as it is trained: gradients averaged over the processes.

        Batch normalisation takes the statistics of each process' part of a batch.
        """
        if self.world == 1:
            return network
        ids = [device.index or 0] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)


def current_group() -> Group:
    """Return the group that this process is part of; alone without one."""
    if not _joined():
        return Group()
    return Group(distributed.get_rank(), distributed.get_world_size())


def _joined() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())


@contextmanager
def processes(device: torch.device | str = "cpu") -> Iterator[tuple[Group, torch.device]]:
    """Join the processes that torchrun started, for as long as the block runs.

    Gives the group and the device of this process: "cuda" becomes the GPU of its local rank. Uses
    NCCL on GPUs and Gloo elsewhere. Without torchrun it is a group of one. A group that is there
    already is used and left alone. Raises ProbeError for more processes than GPUs.
    """
    place = torch.device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and str(device) == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ProbeError(
                f"process {local} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start as many processes as there are GPUs"
            )
        place = torch.device("cuda", local)
    if world == 1 or _joined():
        yield current_group(), place
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield current_group(), place
    finally:
        distributed.destroy_process_group()
