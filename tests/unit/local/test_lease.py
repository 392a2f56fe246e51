"""The last one out stops the environment, and no sooner."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import lease
import pytest
from settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path)


def test_is_wanted_while_somebody_uses_it(settings: Settings) -> None:
    with lease.used(settings):
        with lease.used(settings):
            assert lease.wanted(settings)
        assert lease.wanted(settings)
    assert not lease.wanted(settings)


def test_is_wanted_when_it_is_kept(settings: Settings) -> None:
    settings.state.mkdir()
    lease.keep(settings)
    assert lease.wanted(settings)


@pytest.mark.parametrize(
    ("program", "code"),
    [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_exit_code_is_the_commands_as_a_shell_says_it(program: str, code: int) -> None:
    assert lease.run([sys.executable, "-c", program], {}) == code


def test_command_sees_the_environment() -> None:
    program = "import os; raise SystemExit(0 if os.environ['S3_ENDPOINT_URL'] == 'http://x' else 1)"
    assert lease.run([sys.executable, "-c", program], {"S3_ENDPOINT_URL": "http://x"}) == 0
