"""An image's tag is the digest of what goes into it, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import base_image
import pytest
from problems import LocalError

import images

DOCKERFILE = """\
ARG BASE_IMAGE=x
FROM ${BASE_IMAGE}
# COPY nothing /here
COPY requirements.txt /opt/
COPY --chown=1:1 src \\
     more /opt/app/
COPY --from=build /bin/x /bin/x
"""


@pytest.fixture
def image(tmp_path: Path) -> images.Image:
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    for name in ("requirements.txt", "src/a.py", "more", "unused"):
        (context / name).write_text(name)
    (context / "Dockerfile").write_text(DOCKERFILE)
    return images.Image("server", context / "Dockerfile", context, "base:1")


def test_copied_is_what_the_copy_lines_take() -> None:
    assert images.copied(DOCKERFILE) == ["requirements.txt", "src", "more"]


def test_reference_is_name_and_digest(image: images.Image) -> None:
    name, _, tag = image.reference.partition(":")
    assert name == "modelberth/server"
    assert len(tag) == 12


@pytest.mark.parametrize(
    ("changed", "another"),
    [("src/a.py", True), ("src/new.py", True), ("more", True), ("Dockerfile", True), ("unused", False)],
)
def test_another_tag_only_for_what_goes_in(image: images.Image, changed: str, another: bool) -> None:
    before = image.reference
    path = image.context / changed
    path.write_text(f"{path.read_text() if path.exists() else ''}\n# changed")
    assert (image.reference != before) is another


def test_compiled_python_does_not_go_in(image: images.Image) -> None:
    before = image.reference
    (image.context / "src/__pycache__").mkdir()
    (image.context / "src/__pycache__/a.pyc").write_text("x")
    assert image.reference == before


def test_another_base_is_another_tag(image: images.Image) -> None:
    other = images.Image(image.name, image.dockerfile, image.context, "base:2")
    assert other.reference != image.reference


def test_missing_source_is_named(image: images.Image) -> None:
    (image.context / "more").unlink()
    with pytest.raises(LocalError, match=r"copies 'more', which is not there"):
        _ = image.reference


def test_given_base_image_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BASE_IMAGE", "registry.example/python:3.11")
    assert base_image.ensure_base(tmp_path / "log") == "registry.example/python:3.11"


def test_pip_settings_of_this_machine_are_mounted_and_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example/simple")
    with images.pip_configuration() as options:
        mounted = next(option for option in options if option.endswith(":/etc/pip.conf:ro"))
        text = Path(mounted.partition(":")[0]).read_text()
    assert "index-url = https://pypi.example/simple" in text
    assert not Path(mounted.partition(":")[0]).exists()


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("modelberth/server:1", "docker.io/modelberth/server:1"),
        ("docker.io/modelberth/pause:local", "docker.io/modelberth/pause:local"),
        ("localhost/modelberth/base:1", "localhost/modelberth/base:1"),
    ],
)
def test_full_references(reference: str, full: str) -> None:
    assert images.full_reference(reference) == full


def test_every_dockerfile_of_the_project_takes_a_base_image() -> None:
    found = images.project_images(Path(__file__).parents[3], "base:1")
    assert {image.name for image in found} >= {"modelsync", "server"}
    for image in found:
        assert (
            "ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm\nFROM ${BASE_IMAGE}"
            in image.dockerfile.read_text()
        )
        assert image.reference
