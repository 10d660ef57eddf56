"""How much a small file may grow to on being read: one rule for all formats."""

from __future__ import annotations

from ...errors import ProbeError

RATIO, LARGE = 100, 1 << 30


def grows_too_much(expanded: int, stored: int) -> bool:
    """Whether `stored` bytes would become a hundred times as many, and more than 1 GB."""
    return expanded > LARGE and expanded > RATIO * stored


def check_expansion(expanded: int, stored: int, where: str, remedy: str) -> None:
    """Refuse, before anything is allocated, what would grow a hundredfold and beyond 1 GB."""
    if grows_too_much(expanded, stored):
        raise ProbeError(
            f"{where} would grow from {stored / 2**20:,.1f} to {expanded / 2**20:,.0f} MB; {remedy}"
        )


__all__ = ["LARGE", "RATIO", "check_expansion", "grows_too_much"]
