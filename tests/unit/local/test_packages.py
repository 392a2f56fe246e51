"""Only what is missing is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import packages
import pytest
from problems import LocalError

if TYPE_CHECKING:
    from pathlib import Path

DPKG = """#!/bin/sh
echo 'containerd install ok installed'
echo 'buildah deinstall ok config-files'
"""


@pytest.fixture
def debian(programs: Path, tmp_path: Path) -> Path:
    """A Debian on which containerd is installed; what apt-get was asked for is in the file returned."""
    calls = tmp_path / "calls"
    for name, script in (("dpkg-query", DPKG), ("apt-get", f'#!/bin/sh\necho "$@" >> {calls}\n')):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    return calls


def test_missing_is_what_is_not_installed(debian: Path) -> None:
    assert packages.missing(["containerd", "buildah", "runc"]) == ["buildah", "runc"]


def test_installs_only_what_is_missing(debian: Path, tmp_path: Path) -> None:
    packages.ensure(tmp_path / "log", ["containerd", "runc"])
    assert debian.read_text().splitlines() == ["update", "install --yes --no-install-recommends runc"]


def test_nothing_missing_touches_nothing(debian: Path, tmp_path: Path) -> None:
    packages.ensure(tmp_path / "log", ["containerd"])
    assert not debian.exists()


def test_failure_says_the_last_lines(debian: Path, programs: Path, tmp_path: Path) -> None:
    (programs / "apt-get").write_text("#!/bin/sh\necho 'E: no network'; exit 100\n")
    with pytest.raises(LocalError, match=r"exit 100(.|\n)*no network"):
        packages.ensure(tmp_path / "log", ["runc"])
