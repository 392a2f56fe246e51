"""Bytes and seconds as people read them."""

from __future__ import annotations


def human(count: float) -> str:
    """Return *count* bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def span(seconds: float) -> str:
    """Return *seconds* as people read them.

    | seconds | is |
    |---|---|
    | below 90 | ``46 s`` |
    | below 90 minutes | ``12 min`` |
    | below 2 days | ``3.5 h`` |
    | more | ``7.0 days`` |
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
