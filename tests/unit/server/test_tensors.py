"""The safetensors reader, against files that the format's own library wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file


@pytest.fixture(scope="module")
def read():
    from server.tensors import read

    return read


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_it_reads_what_the_library_reads(read, form, request):
    path = request.getfixturevalue(form) / "model.safetensors"
    ours, theirs = read(path), load_file(path)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        np.testing.assert_array_equal(ours[name], tensor)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_shapes(read, tmp_path, shape):
    save_file({"a": np.ones(shape, np.float32)}, tmp_path / "t")
    assert read(tmp_path / "t")["a"].shape == shape


def _file(header: object, data: bytes = b"") -> bytes:
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def _tensor(**changes: object) -> bytes:
    return _file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}, bytes(8))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        (2**63).to_bytes(8, "little"),
        _file([]),
        _file({"a": 1}),
        _file({"a": {}}),
        _tensor(dtype="BF16"),
        _tensor(shape=[3]),
        _tensor(shape=[-2]),
        _tensor(data_offsets=[0, 4]),
        _tensor(data_offsets=[4, 12]),
        _tensor(data_offsets=[-8, 0]),
        _tensor(data_offsets=[8]),
        _tensor(extra=1),
        save({"a": np.ones(9, np.float32)})[:-1],
    ],
)
def test_what_is_no_such_file_is_refused(read, tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match="Not a safetensors file of F32, I8 and I64 tensors"):
        read(tmp_path / "t")
