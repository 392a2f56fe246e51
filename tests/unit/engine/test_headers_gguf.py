"""Whether a GGUF file holds the tensors that its header names: most that do not are half downloads."""

import io
import struct

import pytest

from modelberth.engine.headers import header_problem

F32, F16, Q4_0, Q4_K, UNKNOWN = 0, 1, 2, 12, 77
ALIGNED_TO_64 = struct.pack("<Q17sII", 17, b"general.alignment", 4, 64)


def tensor(shape, kind=F32, offset=0, name=b"w", dimensions=None):
    return (struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape) if dimensions is None else dimensions)
            + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset))  # fmt: skip


def gguf(*tensors, data=0, pairs=(), alignment=32):
    found = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    return found + bytes(-len(found) % alignment) + bytes(data)


def problem(data):
    return header_problem(io.BytesIO(data), "m.gguf", len(data), {"m.gguf"})


WHOLE = {
    "F32": gguf(tensor([2, 3]), data=24),
    "F16": gguf(tensor([2, 3], F16), data=12),
    "blocks of 32": gguf(tensor([64, 2], Q4_0), data=4 * 18),
    "blocks of 256": gguf(tensor([256, 3], Q4_K), data=3 * 144),
    "several": gguf(tensor([8]), tensor([8], F16, 32), tensor([32], Q4_0, 64), data=64 + 18),
    "in another order": gguf(tensor([8], F16, 32), tensor([8]), data=48),
    "the last one padded": gguf(tensor([2, 3]), data=32),
    "four dimensions": gguf(tensor([2, 2, 2, 2]), data=64),
    "a number": gguf(tensor([]), data=4),
    "no element": gguf(tensor([0])),
    "a type that we do not know": gguf(tensor([32], UNKNOWN), data=1),
    "an alignment of its own": gguf(tensor([2]), tensor([2], F32, 64), data=72, pairs=[ALIGNED_TO_64], alignment=64),
    "no tensor": gguf(),
}  # fmt: skip


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_whole_file_has_no_problem(data):
    assert problem(data) is None


CUT = {
    "no data": (gguf(tensor([10**9])), "'w' ends at"),
    "one byte of F32": (gguf(tensor([2, 3]), data=23), "'w' ends at"),
    "one byte of F16": (gguf(tensor([2, 3], F16), data=11), "'w' ends at"),
    "one byte of blocks": (gguf(tensor([256, 3], Q4_K), data=3 * 144 - 1), "'w' ends at"),
    "a tensor that is not the last": (gguf(tensor([8], F32, 64), tensor([8]), data=80), "'w' ends at"),
    "behind its own alignment": (
        gguf(tensor([2], F32, 64), data=71, pairs=[ALIGNED_TO_64], alignment=64), "'w' ends at"),
    "a type that we do not know": (gguf(tensor([32], UNKNOWN, 64), data=64), "'w' starts at"),
    "an offset of 2 ** 64": (gguf(tensor([1], F32, 2**64 - 1), data=64), "'w' ends at"),
    "elements of 2 ** 256": (gguf(tensor([2**64 - 1] * 4), data=64), "'w' ends at"),
    "five dimensions": (gguf(tensor([1] * 5), data=64), "'w' has 5 dimensions"),
    "4 * 10 ** 9 dimensions": (gguf(tensor([1] * 64, dimensions=4 * 10**9), data=64), "'w' has 4000000000 dimensions"),
    "in the tensors' list": (gguf(tensor([2, 3]), data=24)[:40], "header"),
    "in the padding before the data": (gguf(tensor([0]))[:-1], "header"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "said"), CUT.values(), ids=CUT)
def test_a_cut_file_is_named(data, said):
    assert said in (problem(data) or "")


def test_a_download_that_ended_early_is_named_wherever_it_ended():
    data = gguf(tensor([64]), tensor([8], F16, 256), data=272)
    assert problem(data) is None
    assert all(problem(data[:length]) for length in range(len(data)))
