"""Programs are built once, and what is half built is never used. A program stands in for Go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from binaries import KUBERNETES, KWOK, TOXIPROXY
from problems import LocalError

if TYPE_CHECKING:
    from pathlib import Path

GO = """#!/bin/sh
echo "$@" >> {log}
while [ "$1" != -o ]; do shift; done
case "$2" in */) mkdir -p "$2"; touch "$2"kubelet ;; *) touch "$2" ;; esac
{then}
"""


@pytest.fixture
def go(programs: Path, tmp_path: Path) -> Path:
    """A Go that makes empty programs; its calls are a line each in the file returned."""
    calls = tmp_path / "calls"
    calls.touch()
    write(programs, GO.format(log=calls, then=""))
    return calls


def write(programs: Path, script: str) -> None:
    (programs / "go").write_text(script)
    (programs / "go").chmod(0o755)


def test_builds_once(go: Path, cache: Path, tmp_path: Path) -> None:
    folder = KUBERNETES.ensure(tmp_path / "log")
    assert {path.name for path in folder.iterdir()} == {"kubelet", "etcd", "pause"}
    built = go.read_text()
    assert KUBERNETES.ensure(tmp_path / "log") == folder
    assert go.read_text() == built


def test_half_built_is_not_used_and_is_replaced(go: Path, cache: Path, tmp_path: Path) -> None:
    half = KUBERNETES.folder().with_suffix(".building")
    half.mkdir(parents=True)
    (half / "kube-apiserver").write_text("half of it")
    folder = KUBERNETES.ensure(tmp_path / "log")
    assert not (folder / "kube-apiserver").exists()
    assert not half.exists()


def test_failed_build_leaves_nothing_to_use_and_says_why(programs: Path, cache: Path, tmp_path: Path) -> None:
    write(programs, GO.format(log="/dev/null", then="echo 'kubelet.go:1: no such thing'; exit 2"))
    with pytest.raises(LocalError, match=r"exit 2(.|\n)*no such thing"):
        KUBERNETES.ensure(tmp_path / "log")
    assert not KUBERNETES.folder().exists()


def test_without_go_says_what_to_install(programs: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"Install Go"):
        KUBERNETES.ensure(tmp_path / "log")


def test_other_flags_are_another_build(cache: Path) -> None:
    assert replace(KUBERNETES, stamp="").folder() != KUBERNETES.folder()


def test_each_module_has_a_folder_of_its_own(go: Path, cache: Path, tmp_path: Path) -> None:
    assert [path.name for path in TOXIPROXY.ensure(tmp_path / "log").iterdir()] == ["toxiproxy"]
    assert [path.name for path in KWOK.ensure(tmp_path / "log").iterdir()] == ["kwok"]
    assert len({one.folder() for one in (KUBERNETES, TOXIPROXY, KWOK)}) == 3
    assert go.read_text().count("toxiproxy/v2/cmd/server") == 1
