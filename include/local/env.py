"""``.local/env``: addresses and credentials of what runs, as ``KEY=VALUE`` lines for people, tests and Airflow.

It is written when everything is ready and removed when it stops, so its presence says that the environment is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from problems import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settings import Settings


def write_env(settings: Settings, values: Mapping[str, object]) -> None:
    """Write all of it at once, readable by its owner only."""
    new = settings.env.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    new.rename(settings.env)


def read_env(settings: Settings) -> dict[str, str]:
    """Return what was written.

    :raises LocalError: The environment is not up.
    """
    try:
        lines = settings.env.read_text().splitlines()
    except FileNotFoundError as error:
        raise LocalError(
            f"The local environment is not up: {settings.env} is not there. Start it with: make up"
        ) from error
    return dict(line.split("=", 1) for line in lines if "=" in line)
