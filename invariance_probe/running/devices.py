"""Where a network runs: names of devices, checked against what this machine has."""

from __future__ import annotations

import torch

from .._limits import quoted
from ..errors import ProbeError


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of a name: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest here.

    Raises ProbeError for a device that is not known, or that this machine does not have.

    >>> find_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device(there()[-1])
    try:
        place = torch.device(name)
        torch.empty(1, device=place).cpu()  # the device "meta" has no values to bring back
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise ProbeError(
            f"there is no device {quoted(str(name))} here; use {' or '.join(there())}, or auto"
        ) from None
    return place


def there() -> list[str]:
    """Names of the devices of this machine, the slowest first."""
    names = ["cpu"]
    if torch.backends.mps.is_available():
        names.append("mps")
    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    # "cuda" itself is last: under torchrun it is each process' own.
    names += [*(f"cuda:{index}" for index in range(number) if number > 1), *["cuda"][: number > 0]]
    return names


def home_of(place: torch.device) -> torch.device:
    """Return where maps are compared: on the network's device if that has float64, else the CPU."""
    return torch.device("cpu") if place.type == "mps" else place
