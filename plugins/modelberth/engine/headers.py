"""Whether the header of a safetensors, GGUF or ONNX file is one that a loader can use."""

from __future__ import annotations

import json
import math
import posixpath
import struct
from typing import TYPE_CHECKING, Any

from modelberth.core.refusing import quoted
from modelberth.engine import onnx
from modelberth.engine.heads import gguf_head, gguf_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import BinaryIO

LONGEST = 100_000_000
"""Bytes of a safetensors header: what its own library accepts."""

_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_BITS |= {"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32}
_BITS |= {"U64": 64, "I64": 64, "F64": 64, "C64": 64}
"""Of one element (safetensors, "Format")."""


_QUANTISED = {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 20: 18, 39: 17}
_SUPER = {10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 15: 292, 16: 66, 17: 74, 18: 98, 19: 50}
_SUPER |= {21: 110, 22: 82, 23: 136, 29: 56, 34: 54, 35: 66}
_BLOCKS = {0: (1, 4), 1: (1, 2), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}
_BLOCKS |= {kind: (32, size) for kind, size in _QUANTISED.items()}
_BLOCKS |= {kind: (256, size) for kind, size in _SUPER.items()}
"""Elements and bytes of a block, by ggml's number for the type; not those that forks number otherwise (40 and on)."""


def header_problem(stream: BinaryIO, path: str, size: int, there: Collection[str]) -> str | None:
    """Return why a loader cannot use the file at *path* of a model, None if it can or has no header that we know.

    :param size: Of the file, bytes.
    :param there: The paths of all of the model's files.
    """
    readers: dict[str, Callable[[], str | None]] = {
        "safetensors": lambda: _safetensors(stream, size),
        "gguf": lambda: _gguf(stream, size),
        "onnx": lambda: _onnx(stream, path, size, there),
    }
    reader = readers.get(path.rpartition(".")[2].lower())
    try:
        return reader() if reader else None
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, struct.error) as error:
        return f"its header cannot be read: {error or type(error).__name__}"


def _safetensors(stream: BinaryIO, size: int) -> str | None:
    """Judge by the rules of the safetensors format: 8 bytes of length, JSON, tensors that fill the rest exactly."""
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > min(LONGEST, size - 8):
        return f"its header should have {length} bytes, its file has {size}"
    header = json.loads(stream.read(length), object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise ValueError("it is no object")
    tensors = {name: one for name, one in header.items() if name != "__metadata__"}
    end = 0
    for name, one in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = one["data_offsets"]
        if first != end or last - first != _bytes(one):
            return f"tensor {quoted(name)} is at {first} to {last}; expected {end} to {end + _bytes(one)}"
        end = last
    return None if end == size - 8 - length else f"its tensors end at {end}, its data at {size - 8 - length}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _bytes(tensor: dict[str, Any]) -> int:
    shape = tensor["shape"]
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"a shape is {quoted(shape)}")
    bits: int = math.prod(shape) * _BITS[tensor["dtype"]]
    return -(-bits // 8)


def _gguf(stream: BinaryIO, size: int) -> str | None:
    """Judge that each tensor lies in the file, of a type that we do not know that it starts there."""
    head = gguf_head(stream)
    if not head:
        return "it is no GGUF of version 2 or 3"
    if head > size:
        return f"its header ends at {head}, its file at {size}"
    stream.seek(0)
    for name, shape, kind, offset in gguf_tensors(stream):
        elements, each = _BLOCKS.get(kind, (1, 0))
        start = head + offset
        end = start - (-math.prod(shape) // elements) * each
        if kind not in _BLOCKS and start >= size:
            return f"tensor {quoted(name.decode(errors='replace'))} starts at {start}, its file ends at {size}"
        if end > size:
            return f"tensor {quoted(name.decode(errors='replace'))} ends at {end}, its file at {size}"
    return None


def _onnx(stream: BinaryIO, path: str, size: int, there: Collection[str]) -> str | None:
    """Judge the model and where its tensors are: a loader would follow a path out of the model's directory."""
    for name in onnx.external_files(stream, size):
        if posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) not in there:
            return f"its tensors lie in {quoted(name)}, which is no file of the model"
    return None
