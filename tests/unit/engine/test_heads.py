import json
import random
import struct
import time
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


@pytest.mark.parametrize(("dimensions", "counted"), [(0, 0), (5, 5), (64, 64), (65, 64), (4 * 10**9, 64)])
def test_a_tensor_that_no_loader_reads_has_the_head_that_its_revision_was_made_with(tmp_path, dimensions, counted):
    start = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text(b"w") + struct.pack("<I", dimensions)
    data = start + bytes(2000)
    assert head(tmp_path, "m.gguf", data) == -(-(len(start) + 8 * counted + 12) // 32) * 32


def nested(levels):
    return struct.pack("<IQ", 9, 1) * levels + struct.pack("<IQ", 0, 1) + b"x"


def test_arrays_in_arrays_have_one_answer_however_deep_the_stack_is(tmp_path):
    def below(levels, data):
        return below(levels - 1, data) if levels else head(tmp_path, "m.gguf", data)

    for depth, known in ((16, True), (17, False), (500, False)):
        data = gguf(text(b"k") + struct.pack("<I", 9) + nested(depth))
        answers = {below(levels, data) for levels in (0, 100, 700)}
        assert answers == {len(data) - 100 if known else 0}


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
    "arrays in arrays, 17 deep": ("m.gguf", gguf(text(b"k") + struct.pack("<I", 9) + nested(17))),
    "arrays in arrays, 990 deep": ("m.gguf", gguf(text(b"k") + struct.pack("<I", 9) + nested(990))),
    "arrays in arrays": ("m.gguf", gguf(text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000)),
}


@pytest.mark.parametrize(("name", "data"), ODD.values(), ids=ODD)
def test_anything_odd_has_no_head(tmp_path, name, data):
    assert head(tmp_path, name, data) == 0


def counts(tensors, pairs, body):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + body


HUGE = {
    "tensors": counts(2**40, 0, b"\0" * 1000),
    "pairs": counts(0, 2**40, b"\0" * 1000),
    "strings": counts(0, 1, struct.pack("<QIIQ", 0, 9, 8, 2**40) + b"\0" * 1000),
    "numbers": counts(0, 1, struct.pack("<QIIQ", 0, 9, 12, 2**61) + b"\0" * 1000),
    "one pair over the bound": counts(0, 2_000_001, bytes(13 * 2_000_001 + 1000)),
    "one tensor over the bound": counts(2_000_001, 0, bytes(24 * 2_000_001 + 1000)),
    "pairs and tensors over the bound together": counts(1_000_000, 1_000_001, bytes(24 * 2_000_001 + 1000)),
    "arrays of arrays of nothing": counts(
        0, 1, struct.pack("<QIIQ", 0, 9, 9, 2_000_001) + bytes(12 * 2_000_001 + 1000)
    ),
    "a name of 64 MiB in each pair": counts(0, 1000, struct.pack("<Q", 2**26) + b"\0" * 1000),
}


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_huge_counts_are_given_up_at_once(tmp_path, data):
    began = time.process_time()
    assert head(tmp_path, "m.gguf", data) == 0
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["m.gguf", "m.safetensors"])
def test_random_bytes_and_cut_heads_never_raise(tmp_path, name):
    whole = gguf(STRING, NUMBER, ARRAY, SCORES, NESTED, ALIGNED, alignment=64, tensors=3)
    whole = whole if name == "m.gguf" else safetensors(b"{}" * 200)
    chance = random.Random(7)
    for n in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        data = bytes(data[: chance.randrange(len(data))] if n % 3 == 0 else data)
        found = head(tmp_path, name, data)
        assert found == 0 or 0 < found < len(data)
    for length in range(len(whole)):
        found = head(tmp_path, name, whole[:length])
        assert found in (0, len(whole) - 100)
        assert found < length or not found
