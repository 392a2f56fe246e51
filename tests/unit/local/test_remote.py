"""The user's own cluster is touched only when it is named, everything is known, and the user agrees."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING

import pytest
import remote
from problems import LocalError
from settings import Settings

import images

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = {
    "CLUSTER": "production",
    "STORAGE_CLASS": "efs",
    "BUCKET_URL": "s3://models/here",
    "RECEIPTS_URL": "s3://receipts/here",
    "S3_ACCESS_KEY": "a",
    "S3_SECRET_KEY": "b",
    "S3_PODS_ACCESS_KEY": "c",
    "S3_PODS_SECRET_KEY": "d",
    "IMAGE_REGISTRY": "registry.example/team",
}
READY_MADE = {"MODELSYNC_IMAGE": "r/modelsync:1", "SERVER_IMAGE": "r/server:1"}


def test_what_is_given_is_taken_and_nothing_else() -> None:
    assert remote.parameters({**GIVEN, "HOME": "/root"}) == GIVEN


@pytest.mark.parametrize(
    ("without", "with_", "complaint"),
    [
        (["STORAGE_CLASS", "BUCKET_URL"], {}, "STORAGE_CLASS, BUCKET_URL not given"),
        (["RECEIPTS_URL"], {}, "RECEIPTS_URL not given"),
        (["S3_PODS_SECRET_KEY"], {}, "S3_PODS_SECRET_KEY not given"),
        (["IMAGE_REGISTRY"], {}, "no way for images to get there"),
        (["IMAGE_REGISTRY"], {"SERVER_IMAGE": "r/server:1"}, "no way for images to get there"),
        (["STORAGE_CLASS", "IMAGE_REGISTRY"], {}, "STORAGE_CLASS not given; no way for images"),
    ],
)
def test_everything_that_is_missing_is_said_at_once(without: list[str], with_: dict[str, str], complaint: str) -> None:
    given = {name: value for name, value in GIVEN.items() if name not in without} | with_
    with pytest.raises(LocalError, match=re.escape(complaint)):
        remote.parameters(given)


@pytest.mark.parametrize(
    "given",
    [
        {**GIVEN, "CLUSTER": "kind-berth", "IMAGE_REGISTRY": ""},
        {**GIVEN, **READY_MADE, "IMAGE_REGISTRY": ""},
        {name: value for name, value in GIVEN.items() if not name.startswith("S3_")}
        | {"BUCKET_URL": "gs://models/here", "RECEIPTS_URL": "gs://receipts/here"},
    ],
    ids=["kind", "images ready made", "GCS with workload identity"],
)
def test_complete_parameters(given: dict[str, str]) -> None:
    assert remote.parameters(given)["CLUSTER"] == given["CLUSTER"]


def test_what_will_be_names_each_kind_of_object() -> None:
    text = "\n".join(remote.what_will_be(GIVEN))
    for word in (
        "'production'",
        "modelberth-system",
        "Secret",
        "Role",
        "efs",
        "registry.example/team",
        "s3://models/here",
    ):
        assert word in text


def test_without_a_terminal_and_without_yes_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YES", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(LocalError, match=r"YES=1"):
        remote.agree("this is done", print)


def test_yes_in_the_environment_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YES", "1")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    shown: list[str] = []
    remote.agree("this is done", shown.append)
    assert shown == ["this is done"]


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("YES", True), ("", False), ("n", False)])
def test_answer_at_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.delenv("YES", raising=False)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    if agreed:
        remote.agree("this is done", print)
    else:
        with pytest.raises(LocalError, match="Nothing was created"):
            remote.agree("this is done", print)


def test_ready_made_images_are_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "build_all", lambda *_: pytest.fail("built"))
    assert remote.deliver(Settings(tmp_path), GIVEN | READY_MADE, print) == {
        "modelsync": "r/modelsync:1",
        "server": "r/server:1",
    }


@pytest.fixture
def calls(programs: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that only write down how they are called, and one image that is already built."""
    cache.mkdir(parents=True)
    (tmp_path / ".local/log").mkdir(parents=True)
    for name in ("buildah", "kind"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n')
        (programs / name).chmod(0o755)
    monkeypatch.setattr(remote.packages, "ensure", lambda *_: None)
    monkeypatch.setattr(images, "build_all", lambda *_: {"server": "modelberth/server:1"})
    assert os.environ["PATH"].startswith(str(programs))
    return tmp_path / "calls"


def test_images_are_pushed_to_the_registry(calls: Path, tmp_path: Path) -> None:
    references = remote.deliver(Settings(tmp_path), GIVEN, print)
    assert references == {"server": "registry.example/team/modelberth/server:1"}
    assert "push modelberth/server:1 docker://registry.example/team/modelberth/server:1" in calls.read_text()


def test_images_are_loaded_into_kind(calls: Path, tmp_path: Path) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "IMAGE_REGISTRY"} | {"CLUSTER": "kind-berth"}
    references = remote.deliver(Settings(tmp_path), given, print)
    assert references == {"server": "docker.io/modelberth/server:1"}
    assert re.search(r"kind load image-archive \S+/image.tar --name berth$", calls.read_text(), re.MULTILINE)
