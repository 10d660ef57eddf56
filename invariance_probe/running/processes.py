"""Several processes as one, as torchrun starts them: what they share and how they end together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from ..errors import ProbeError
from .devices import find_device

T = TypeVar("T")


class LostProcess(ProbeError):
    """Another process of the run has gone: there is nobody left to agree with."""


class OwnError(ProbeError):
    """An error of one process alone, before there is a group: whichever it is, it says so."""

    own = True


@dataclass(frozen=True)
class Group:
    """The processes of a run, seen from one of them; rank 0 alone writes files and talks."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """Return this process' part of a batch's indices; parts differ by at most one in length."""
        return batch.tensor_split(self.world)[self.rank]

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this process' contiguous part; parts differ by at most one in length.

        >>> [Group(rank, 2).share("abcde") for rank in range(2)]
        [['a', 'b', 'c'], ['d', 'e']]
        """
        least, more = divmod(len(items), self.world)
        first = self.rank * least + min(self.rank, more)
        return list(items[first : first + least + (self.rank < more)])

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.world > 1:
            with _linked():
                distributed.all_reduce(values)
        return values

    def sums(self, values: Tensor) -> Tensor:
        """Return the float64 sum over all processes, wherever the backend has to take it."""
        return self.total(values.to(_place(), torch.float64, copy=True)).to(values.device)

    def highest(self, flags: Sequence[int]) -> list[int]:
        """Return, flag by flag, the largest over all processes."""
        if self.world == 1:
            return list(flags)
        held = torch.tensor(list(flags), device=_place())
        with _linked():
            distributed.all_reduce(held, op=distributed.ReduceOp.MAX)
        return [int(flag) for flag in held.tolist()]

    def objects(self, value: T) -> list[T]:
        """Return the value of every process, by rank."""
        if self.world == 1:
            return [value]
        held: list[Any] = [None] * self.world
        with _linked():
            distributed.all_gather_object(held, value)
        return held

    def from_one(self, value: T, source: int = 0) -> T:
        """Return the value of one process in all of them."""
        if self.world == 1:
            return value
        held: list[Any] = [value]
        with _linked():
            distributed.broadcast_object_list(held, src=source)
        return held[0]

    def from_main(self, task: Callable[[], T]) -> T:
        """Run a task in the first process only and return its result, or its error, in all."""
        if self.world == 1:
            return task()
        held: list[object] = [None, None]
        failure: Exception | None = None
        if self.main:
            try:
                held[0] = task()
            except Exception as error:
                held[1], failure = _told(error, self.rank), error
        held = self.from_one(held)
        if failure is not None and not isinstance(failure, ProbeError):
            raise failure
        if held[1] is not None:
            raise ProbeError(str(held[1])) from failure
        return held[0]  # type: ignore[return-value]

    def agree(self, error: Exception | None) -> None:
        """Raise in all processes what went wrong in any of them: the error of the lowest rank.

        A process whose error is no ProbeError, a bug, keeps it with its traceback.
        """
        if self.world == 1 or isinstance(error, LostProcess):
            if error is not None:
                raise error
            return
        told = self.objects(None if error is None else _told(error, self.rank))
        if error is not None and not isinstance(error, ProbeError):
            raise error
        first = next((text for text in told if text is not None), None)
        if first is not None:
            raise ProbeError(first) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that fails in all processes where it fails in one."""
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        self.agree(error)

    def spread(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network as it is trained: gradients averaged over the processes.

        Batch normalisation takes the statistics of each process' part of a batch.
        """
        if self.world == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        ids = [device.index or 0] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)


def current_group() -> Group:
    """Return the group that this process is part of; alone without one."""
    if not _joined():
        return Group()
    return Group(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def processes(device: torch.device | str = "cpu") -> Iterator[tuple[Group, torch.device]]:
    """Join the processes that torchrun started, for as long as the block runs.

    Gives the group and the device of this process: "cuda" becomes the GPU of its local rank. Uses
    NCCL on GPUs and Gloo elsewhere. Without torchrun it is a group of one. A group that is there
    already is used and left alone. Raises ProbeError for more processes than GPUs.
    """
    place = find_device(device) if device == "auto" else torch.device(device)
    device = place if device == "auto" else device
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and str(device) == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise OwnError(
                f"process {local} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start as many processes as there are GPUs"
            )
        place = torch.device("cuda", local)
    if world == 1 or _joined():
        yield current_group(), place
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    with _linked():
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield current_group(), place
    finally:
        distributed.destroy_process_group()


def _joined() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())


def _place() -> torch.device:
    """Where the backend takes tensors from."""
    if _joined() and distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _told(error: Exception, rank: int) -> str:
    """What the other processes say of an error."""
    if isinstance(error, ProbeError):
        return str(error)
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    return f"process {rank} failed ({type(error).__name__}: {reason}); its own message says where"


@contextmanager
def _linked() -> Iterator[None]:
    """What the network says when a process has ended, or cannot be reached in time, in one line."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LostProcess(
            f"another process of this run has ended or cannot be reached ({reason[:120]}); "
            "start all of them again"
        ) from error
