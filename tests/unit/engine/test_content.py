"""What is found in a model's content without loading any of it."""

import json
import pickle
import struct

import pytest

from archives import zipped
from modelberth.core.content import CHECKS
from modelberth.engine.content import inspect
from modelberth.engine.describe import manifest_of
from unsafe import Evil, Odd

LICENCE = {"LICENSE": b"Apache-2.0"}


def safetensors(header, data=b"12345678"):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(first=0, last=8, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


def field(number, data):
    if isinstance(data, int):
        return bytes([number << 3, data])
    return bytes([number << 3 | 2, len(data)]) + data


def onnx(*locations):
    external = [field(13, field(1, b"location") + field(2, name)) for name in locations]
    return field(1, 8) + field(7, b"".join(field(5, field(8, b"w") + one) for one in external) + field(2, b"g"))


@pytest.fixture
def look(tmp_path, stop):
    def run(files, *checks):
        root = tmp_path / "files"
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return inspect(root, manifest_of(root, None, stop), checks or CHECKS, stop)

    return run


HARMLESS = {
    "a pickle of numbers": {"weights.pkl": pickle.dumps({"w": [1.0, 2.0]})},
    "a PyTorch archive": {"model.pt": zipped({"model/data": "{}", "m/data": pickle.dumps([1])})},
    "plain weights that are called .bin": {"weights.bin": bytes(range(256)) * 40},
    "an empty .bin": {"weights.bin": b""},
    "text that begins with PK": {"notes.txt": b"PK is not a zip"},
    "safetensors": {"m.safetensors": safetensors({"w": tensor(), "__metadata__": {"format": "pt"}})},
    "safetensors in any order": {
        "m.safetensors": safetensors({"b": tensor(4, 8, shape=(1,)), "a": tensor(0, 4, shape=(1,))})},
    "safetensors without a tensor": {"m.safetensors": safetensors({}, b"")},
    "safetensors of half bytes": {"m.safetensors": safetensors({"w": tensor(0, 8, "F4", (16,))})},
    "ONNX": {"m.onnx": onnx()},
    "ONNX with tensors beside it": {"sub/m.onnx": onnx(b"m.data"), "sub/m.data": b"x"},
    "ONNX with tensors above it": {"sub/m.onnx": onnx(b"../m.data"), "m.data": b"x"},
    "a file of no known format": {"tokenizer.json": b"{}"},
}  # fmt: skip


@pytest.mark.parametrize("files", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_is_not_named(look, files):
    assert look(files | LICENCE) == {"content": {"code": 0, "headers": 0, "licence": 0}, "findings": []}


EVIL = pickle.dumps(Evil())
CODE = {
    "a dangerous pickle": ({"m.pkl": EVIL}, "posix.system (dangerous)"),
    "under another name": ({"weights.dat2": EVIL}, "posix.system (dangerous)"),
    "of protocol 0": ({"m.pkl": pickle.dumps(Evil(), 0)}, "posix.system (dangerous)"),
    "in a PyTorch archive": ({"m.pt": zipped({"m/data/pkl": b"", "m/data.pkl": EVIL})}, "posix.system (dangerous)"),
    "in a zip of no known name": ({"m.xyz": zipped({"data.pkl": EVIL})}, "posix.system (dangerous)"),
    "an unknown import": ({"m.pkl": pickle.dumps(Odd())}, "json.decoder.JSONDecoder (unknown)"),
    "a pickle that is broken before it imports anything": ({"m.pkl": b"\x80\x04" + b"\xff" * 100}, "cannot be scanned"),
    "an archive that is no zip": ({"m.nemo": b"x"}, "cannot be looked into"),
    "a broken archive": ({"m.pt": b"PK\x03\x04" + b"x" * 100}, "cannot be scanned"),
    "a pickle that is broken behind an import": ({"m.pkl": EVIL[:-3] + b"\xff\xff"}, "posix.system (dangerous)"),
    "Python": ({"modeling_x.py": b"import os"}, "is a program"),
    "a library": ({"custom_op.so": b"\x7fELF"}, "is a program"),
}


@pytest.mark.parametrize(("files", "problem"), CODE.values(), ids=CODE)
def test_what_loading_would_run_is_named(look, files, problem):
    found = look(files, "code")
    assert found["content"] == {"code": 1}
    (finding,) = found["findings"]
    assert problem in finding
    assert next(iter(files)) in finding


def test_an_executable_file_is_a_program(look, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/llamafile").write_bytes(b"MZ")
    (tmp_path / "files/llamafile").chmod(0o755)
    assert look({}, "code")["findings"] == ["code: File 'llamafile' is a program."]


HEADERS = {
    "safetensors: no JSON": ("m.safetensors", safetensors(b"{no")),
    "safetensors: a list": ("m.safetensors", safetensors([])),
    "safetensors: a number for a tensor": ("m.safetensors", safetensors({"w": 1})),
    "safetensors: a header beyond its end": ("m.safetensors", struct.pack("<Q", 2**40) + b"{}"),
    "safetensors: 4 bytes": ("m.safetensors", b"1234"),
    "safetensors: HTML": ("m.safetensors", b"<!doctype html><html>Not found</html>"),
    "safetensors: an unknown type": ("m.safetensors", safetensors({"w": tensor(dtype="F1")})),
    "safetensors: a size that is not the shape's": ("m.safetensors", safetensors({"w": tensor(shape=(3,))})),
    "safetensors: a negative shape": ("m.safetensors", safetensors({"w": tensor(shape=(-2,))})),
    "safetensors: a shape of text": ("m.safetensors", safetensors({"w": tensor(shape="2")})),
    "safetensors: a hole": ("m.safetensors", safetensors({"w": tensor(4, 8, shape=(1,))})),
    "safetensors: tensors over each other": ("m.safetensors", safetensors({"a": tensor(), "b": tensor()})),
    "safetensors: cut": ("m.safetensors", safetensors({"w": tensor()}, b"1234")),
    "safetensors: bytes behind the last tensor": ("m.safetensors", safetensors({"w": tensor()}, b"1" * 9)),
    "safetensors: a repeated name": (
        "m.safetensors", safetensors(b'{"w":' + json.dumps(tensor()).encode() + b',"w":1}')),
    "safetensors: a deep nest": ("m.safetensors", safetensors(b"[" * 100_000)),
    "GGUF: HTML": ("m.gguf", b"<!doctype html>" * 9),
    "GGUF: of version 9": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 9, 0, 0)),
    "GGUF: cut": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 1)),
    "GGUF: too many pairs": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60)),
    "ONNX: HTML": ("m.onnx", b"<!doctype html>" * 9),
    "ONNX: empty": ("m.onnx", b""),
    "ONNX: without a graph": ("m.onnx", field(1, 8)),
    "ONNX: cut": ("m.onnx", onnx(b"m.data")[:-3]),
    "ONNX: tensors out of the model": ("m.onnx", onnx(b"../../etc/passwd")),
    "ONNX: tensors at an absolute path": ("m.onnx", onnx(b"/etc/passwd")),
    "ONNX: tensors that are missing": ("m.onnx", onnx(b"m.data")),
    "ONNX: tensors nowhere": ("m.onnx", onnx(b"")),
    "ONNX: a number without end": ("m.onnx", b"\xff" * 30),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_no_loader_can_use_is_named(look, name, data):
    found = look({name: data}, "headers")
    assert found["content"] == {"headers": 1}
    assert name in found["findings"][0]


LICENCES = {
    "LICENSE": ({"LICENSE": b"x"}, 0),
    "licence.txt": ({"licence.txt": b"x"}, 0),
    "LICENSE-APACHE": ({"LICENSE-APACHE": b"x"}, 0),
    "COPYING": ({"COPYING": b"x"}, 0),
    "a model card": ({"README.md": b"---\nlanguage: en\nlicense: apache-2.0\ntags: []\n---\n# Model\n"}, 0),
    "a model card of Windows": ({"README.md": b"---\r\nlicense: mit\r\n---\r\n"}, 0),
    "a licence in a folder": ({"vendor/LICENSE": b"x"}, 1),
    "a licensed word": ({"licensed_words.txt": b"x", "README.md": b"license: mit\n"}, 1),
    "a card that names none": ({"README.md": b"---\nlicense:\n---\nlicense: mit\n"}, 1),
    "nothing": ({"w.bin": b"x"}, 1),
}


@pytest.mark.parametrize(("files", "problems"), LICENCES.values(), ids=LICENCES)
def test_a_model_says_under_which_terms_it_may_be_used(look, files, problems):
    assert look(files, "licence")["content"] == {"licence": problems}


def test_of_many_findings_all_are_counted_and_the_first_are_named(look):
    found = look({f"{n:02}.py": b"x" for n in range(30)}, "code")
    assert found["content"] == {"code": 30}
    assert len(found["findings"]) == 10
