"""Reads what an ONNX file says of itself, without its tensors: its fields, and the files that its tensors lie in.

It is one protocol buffer, ModelProto (onnx.proto3 of the ONNX project): tags with lengths, so what is large is skipped.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_IR_VERSION, _GRAPH = 1, 7
_INITIALIZER, _EXTERNAL_DATA = 5, 13
_KEY, _VALUE = 1, 2
_LONGEST_TEXT = 4096


class NotOnnxError(ValueError):
    """The bytes are no ModelProto."""


def external_files(stream: BinaryIO, size: int) -> list[str]:
    """Return the paths of the files in which the model's tensors lie.

    :raises NotOnnxError: *stream* has no ONNX model of *size* bytes.
    """
    top = dict(_fields(stream, 0, size))
    if _IR_VERSION not in top or _GRAPH not in top:
        raise NotOnnxError("it has no ir_version or no graph")
    found: dict[str, None] = {}
    for number, (start, end) in _fields(stream, *top[_GRAPH]):
        if number == _INITIALIZER:
            found |= dict.fromkeys(_locations(stream, start, end))
    return list(found)


def _locations(stream: BinaryIO, start: int, end: int) -> Iterator[str]:
    for number, place in _fields(stream, start, end):
        if number == _EXTERNAL_DATA:
            pair = {key: _text(stream, *where) for key, where in _fields(stream, *place) if key in (_KEY, _VALUE)}
            if pair.get(_KEY) == "location":
                yield pair.get(_VALUE, "")


def _fields(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the number of each field of the message at [start, end), and where its content is."""
    at = start
    while at < end:
        stream.seek(at)
        tag = _varint(stream)
        at = stream.tell()
        kind = tag & 7
        if kind == _BYTES:
            length = _varint(stream)
            at = stream.tell()
        elif kind == _VARINT:
            length = len(_varint_bytes(stream))
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise NotOnnxError(f"a field at byte {at} is of no kind")
        if not tag >> 3 or at + length > end:
            raise NotOnnxError(f"a field at byte {at} ends after {end}, where it should have ended")
        yield tag >> 3, (at, at + length)
        at += length


def _text(stream: BinaryIO, start: int, end: int) -> str:
    stream.seek(start, io.SEEK_SET)
    return stream.read(min(end - start, _LONGEST_TEXT)).decode(errors="replace")


def _varint(stream: BinaryIO) -> int:
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(_varint_bytes(stream)))


def _varint_bytes(stream: BinaryIO) -> bytes:
    found = b""
    while len(found) < 10:
        byte = stream.read(1)
        if not byte:
            raise NotOnnxError("it ends in the middle of a number")
        found += byte
        if byte[0] < 0x80:
            return found
    raise NotOnnxError("it has a number without end")
