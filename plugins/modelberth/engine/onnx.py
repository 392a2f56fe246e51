"""Reads what an ONNX file says of itself, without its tensors: its fields, and the files that its tensors lie in.

It is one protocol buffer, ModelProto (onnx.proto3 of the ONNX project): tags with lengths, so what is large is skipped.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Kinds of field: a number, what has a length, and what has as many bytes."""

_IR_VERSION, _GRAPH = 1, 7
_EXTERNAL_DATA = 13
_KEY, _VALUE = 1, 2
_LONGEST_TEXT = 4096

_INNER = {
    "model": {_GRAPH: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}  # type: dict[str, dict[int, str]]
"""The fields of each message that lead to tensors."""

_DEEPEST = 100
"""Messages in messages: what protocol buffers' own parsers read."""

_MOST_FIELDS = 20_000_000
"""Of a model, read in half a minute; a graph of 50,000 nodes has a million."""


class NotOnnxError(ValueError):
    """The bytes are no ModelProto."""


def external_files(stream: BinaryIO, size: int) -> list[str]:
    """Return the paths of the files in which the model's tensors lie, wherever in it they are named.

    :raises NotOnnxError: *stream* has no ONNX model of *size* bytes.
    """
    reader = _Reader(stream)
    top = {(number, kind) for number, kind, _ in reader.fields(0, size)}
    if not top >= {(_IR_VERSION, _VARINT), (_GRAPH, _BYTES)}:
        raise NotOnnxError("it has no ir_version or no graph")
    return list(dict.fromkeys(_locations(reader, "model", (0, size), _DEEPEST)))


def _locations(reader: _Reader, message: str, place: tuple[int, int], deeper: int) -> Iterator[str]:
    """Yield what the tensors in a message name. A field that is there twice counts twice: parsers merge the two.

    :param deeper: How many messages more may lie in each other.
    """
    if not deeper:
        raise NotOnnxError(f"over {_DEEPEST} messages lie in each other")
    for number, kind, inside in reader.fields(*place):
        if kind == _BYTES and number in _INNER[message]:
            yield from _locations(reader, _INNER[message][number], inside, deeper - 1)
        elif kind == _BYTES and message == "tensor" and number == _EXTERNAL_DATA:
            pair = {key: reader.text(*where) for key, kind, where in reader.fields(*inside) if kind == _BYTES}
            if pair.get(_KEY) == "location":
                yield pair.get(_VALUE, "")


class _Reader:
    """Reads tags and lengths, and of the rest only texts."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._read = 0

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, tuple[int, int]]]:
        """Yield number and kind of each field of the message at [start, end), and where its content is."""
        at = start
        while at < end:
            self._read += 1
            if self._read > _MOST_FIELDS:
                raise NotOnnxError(f"it has more than {_MOST_FIELDS} fields")
            self._stream.seek(at)
            tag = _varint(self._stream)
            number, kind = tag >> 3, tag & 7
            length = self._length(kind)
            at = self._stream.tell()
            if not 0 < number < 2**29 or at + length > end:
                raise NotOnnxError(f"a field at byte {at} ends after {end}, or has no number")
            yield number, kind, (at, at + length)
            at += length

    def _length(self, kind: int) -> int:
        """Return how long the content is that follows."""
        if kind == _BYTES:
            return _varint(self._stream)
        if kind == _VARINT:
            _varint(self._stream)
            return 0
        if kind not in _FIXED:
            raise NotOnnxError(f"a field at byte {self._stream.tell()} is of no kind")
        return _FIXED[kind]

    def text(self, start: int, end: int) -> str:
        """Return the text at [start, end), if it is long only how it begins."""
        self._stream.seek(start, io.SEEK_SET)
        return self._stream.read(min(end - start, _LONGEST_TEXT)).decode(errors="replace")


def _varint(stream: BinaryIO) -> int:
    value = 0
    for place in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise NotOnnxError("it ends in the middle of a number")
        value |= (byte[0] & 0x7F) << place
        if byte[0] < 0x80:
            return value
    raise NotOnnxError("it has a number without end")
