"""How wide a task may be mapped."""

from __future__ import annotations

from airflow.sdk.configuration import conf

MOST = 1000
"""What one run takes on. Airflow maps a task no wider than ``[core] max_map_length``, 1,024 by default."""


def widest() -> int:
    """Return how many tasks one task is mapped to at most; what is more waits for the next run."""
    return min(MOST, conf.getint("core", "max_map_length"))
