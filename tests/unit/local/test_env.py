"""``.local/env`` holds credentials, and says that the environment is up by being there."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from env import read_env, write_env
from problems import LocalError
from settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

VALUES = {"S3_ENDPOINT_URL": "http://10.87.0.2:8333", "S3_SECRET_KEY": "a=b=c"}


def test_reads_what_was_written(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    settings.state.mkdir()
    write_env(settings, VALUES)
    assert read_env(settings) == VALUES
    assert stat.S_IMODE(settings.env.stat().st_mode) == 0o600


def test_its_absence_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="make up"):
        read_env(Settings(tmp_path))
