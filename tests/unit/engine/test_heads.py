import json
import struct
from pathlib import Path

import pytest

from modelberth.engine.heads import head_of


def safetensors(header, tensors=b"t" * 100):
    return struct.pack("<Q", len(header)) + header + tensors


def text(data):
    return struct.pack("<Q", len(data)) + data


def gguf(*pairs, tensors=1, alignment=32, version=3, data=b"t" * 100):
    body = b"GGUF" + struct.pack("<IQQ", version, tensors, len(pairs)) + b"".join(pairs)
    for n in range(tensors):
        body += text(b"blk.%d" % n) + struct.pack("<IQQIQ", 2, 4, 4, 0, 0)
    return body + b"\0" * (-len(body) % alignment) + data


STRING = text(b"general.name") + struct.pack("<I", 8) + text(b"m")
NUMBER = text(b"llama.block_count") + struct.pack("<II", 4, 7)
ARRAY = text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text(b"a") + text(b"b") + text(b"cc")
SCORES = text(b"tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 3) + b"\0" * 12
NESTED = text(b"nested") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 4, 2) + b"\0" * 8
ALIGNED = text(b"general.alignment") + struct.pack("<II", 4, 64)


def head(tmp_path, name, data):
    blob = tmp_path / "blob"  # as in Hugging Face's cache: the entry's path has the suffix, the file has none
    blob.write_bytes(data)
    return head_of(blob, Path(name).suffix, len(data))


def test_safetensors_data_starts_after_the_header(tmp_path):
    header = json.dumps({"w": {}}).encode()
    assert head(tmp_path, "m.safetensors", safetensors(header)) == 8 + len(header)


@pytest.mark.parametrize("version", [2, 3])
def test_gguf_data_starts_at_the_next_aligned_byte(tmp_path, version):
    data = gguf(STRING, NUMBER, ARRAY, SCORES, NESTED, version=version, tensors=3)
    assert head(tmp_path, "m.gguf", data) == len(data) - 100
    assert head(tmp_path, "M.GGUF", data) == len(data) - 100


def test_gguf_may_name_its_alignment(tmp_path):
    data = gguf(ALIGNED, STRING, alignment=64)
    assert head(tmp_path, "m.gguf", data) == len(data) - 100


ODD = {
    "another name": ("m.bin", safetensors(b"{}")),
    "an empty file": ("m.safetensors", b""),
    "no tensor": ("m.safetensors", safetensors(b"{}", b"")),
    "a header longer than the file": ("m.safetensors", struct.pack("<Q", 10**6) + b"{}" * 50),
    "a header of 2 ** 63": ("m.safetensors", struct.pack("<Q", 2**63) + b"{}" * 50),
    "no magic": ("m.gguf", b"GGML" + b"\0" * 100),
    "version 1": ("m.gguf", gguf(version=1)),
    "big endian": ("m.gguf", b"GGUF" + b"\0\0\0\3" + b"\0" * 100),
    "cut": ("m.gguf", gguf(STRING)[:40]),
    "only zeros": ("m.gguf", b"GGUF" + struct.pack("<I", 3) + b"\xff" * 100),
    "a string of 2 ** 63": ("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63) + b"\0" * 100),
    "an array of 2 ** 40": ("m.gguf", gguf(text(b"k") + struct.pack("<IIQ", 9, 4, 2**40))),
    "an unknown type": ("m.gguf", gguf(text(b"k") + struct.pack("<I", 77))),
    "arrays in arrays": ("m.gguf", gguf(text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000)),
}


@pytest.mark.parametrize(("name", "data"), ODD.values(), ids=ODD)
def test_anything_odd_has_no_head(tmp_path, name, data):
    assert head(tmp_path, name, data) == 0
