"""The directory source: what its version follows, and what it refuses."""

import os
import shutil

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.sources.directory import Directory


@pytest.fixture
def model(tmp_path):
    """A model of two files, one below a folder."""
    root = tmp_path / "minilm"
    (root / "1").mkdir(parents=True)
    (root / "model.onnx").write_bytes(b"weights")
    (root / "1/config.json").write_text("{}")
    return root


def test_the_version_counts_files_and_bytes(model):
    version = Directory(model).resolve()
    assert (version.files, version.bytes) == (2, 9)


def test_the_version_stays_while_nothing_is_written(model):
    (model / "model.onnx").read_bytes()
    assert Directory(model).resolve() == Directory(model).resolve()


def rewritten(model):
    (model / "model.onnx").write_bytes(b"WEIGHTS")


def touched(model):
    os.utime(model / "model.onnx", ns=(1, 1))


def grown(model):
    with (model / "model.onnx").open("ab") as file:
        file.write(b"!")


def added(model):
    (model / "vocab.txt").touch()


def removed(model):
    (model / "1/config.json").unlink()


def renamed(model):
    (model / "model.onnx").rename(model / "other.onnx")


def made_executable(model):
    (model / "model.onnx").chmod(0o755)


def given_an_empty_folder(model):
    (model / "2").mkdir()


@pytest.mark.parametrize(
    "change", [rewritten, touched, grown, added, removed, renamed, made_executable, given_an_empty_folder]
)
def test_every_change_is_another_version(model, change):
    before = Directory(model).resolve()
    change(model)
    assert Directory(model).resolve().name != before.name


def test_a_copy_with_equal_times_is_another_version(model):
    copy = shutil.copytree(model, model.with_name("copy"), copy_function=shutil.copy2)
    assert Directory(copy).resolve().name != Directory(model).resolve().name


def test_a_link_that_leads_to_another_directory_is_another_version(model):
    copy = shutil.copytree(model, model.with_name("copy"), copy_function=shutil.copy2)
    current = model.with_name("current")
    current.symlink_to(model)
    before = Directory(current).resolve()
    current.unlink()
    current.symlink_to(copy)
    assert Directory(current).resolve().name != before.name


def test_a_link_inside_is_what_it_points_to(model):
    (model / "latest.onnx").symlink_to("model.onnx")
    assert Directory(model).resolve().files == 3


def out(model):
    (model / "passwd").symlink_to("/etc/passwd")


def nowhere(model):
    (model / "gone").symlink_to("nothing")


def in_a_circle(model):
    (model / "1/up").symlink_to("..")


def pipe(model):
    os.mkfifo(model / "pipe")


def hostile_name(model):
    (model / "a\nb").touch()


@pytest.mark.parametrize("damage", [out, nowhere, in_a_circle, pipe, hostile_name])
def test_what_the_engine_would_refuse_is_refused_here_already(model, damage):
    damage(model)
    with pytest.raises(Failure) as raised:
        Directory(model).resolve()
    assert raised.value.code is ExitCode.REFUSED


def test_all_refusals_are_said_at_once(model):
    out(model)
    pipe(model)
    with pytest.raises(Failure) as raised:
        Directory(model).resolve()
    assert len(raised.value.problems) == 2


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(Failure, match=r"No directory '.*/nothing'") as raised:
        Directory(tmp_path / "nothing").resolve()
    assert raised.value.code is ExitCode.NOT_FOUND


def test_a_directory_without_a_file_is_no_model(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(Failure, match="holds no file"):
        Directory(tmp_path).resolve()
