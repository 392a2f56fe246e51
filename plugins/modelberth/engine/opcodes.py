"""The opcodes of a pickle, one after the other, each with what matters of its argument; nothing is kept.

``pickletools`` says how long an argument is, what an opcode takes from the stack and what it leaves there. Its own
reader is not used: it keeps every argument, and gives up at numbers that an unpickler takes (``I0x10``).
"""

from __future__ import annotations

import codecs
import io
import pickletools
import re
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
NO_TEXT = str(object())
"""Stands, by its identity, for what is surely no text: an unpickler imports nothing by it."""

MOST = 20_000_000
"""Read in half a minute."""

_LONGEST_NAME = 150
"""Of a string so much is kept: no name that is known to be harmless is as long."""

_LONGEST_LINE = 64 * 1024
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_KEYS = {"GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT"}
_IMPORTS = {"GLOBAL", "INST"}
_CHANGING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_QUOTED = re.compile(rb"(['\"]).*\1\n", re.DOTALL)


class BrokenError(ValueError):
    """An unpickler ends here as well, with an error."""


class TooLargeError(ValueError):
    """There is more than is followed."""


class Opcode(NamedTuple):
    """What an opcode does to the stack.

    :param to_mark: It takes all down to the last mark, and then *takes* more.
    :param changes: How many below these it needs and changes; what is no container and gets nothing stays as it is.
    :param leaves: None for what may be any object.
    """

    name: str
    argument: pickletools.ArgumentDescriptor | None
    to_mark: bool
    takes: int
    changes: int
    leaves: tuple[str | None, ...]


def _opcode(info: pickletools.OpcodeInfo) -> Opcode:
    before, changes = info.stack_before, int(info.name in _CHANGING)
    to_mark = pickletools.markobject in before
    takes = (before.index(pickletools.markobject) if to_mark else len(before)) - changes
    leaves = (None if one is pickletools.anyobject else NO_TEXT for one in info.stack_after[changes:])
    return Opcode(info.name, info.arg, to_mark, takes, changes, tuple(leaves))


OPCODES = {info.code.encode("latin-1"): _opcode(info) for info in pickletools.opcodes}


def opcodes(stream: BinaryIO, size: int) -> Iterator[tuple[Opcode, Any]]:
    """Yield each opcode, and of its argument module and name, a string, a number in the memo; None of all else.

    :param size: Where *stream* ends.
    :raises BrokenError: What follows is no opcode, or not whole.
    :raises TooLargeError: There are more than are read.
    """
    reader = _Arguments(stream, size)
    for _ in range(MOST):
        opcode = OPCODES.get(stream.read(1))
        if not opcode:
            raise BrokenError
        yield opcode, reader.read(opcode.name, opcode.argument) if opcode.argument else None
    raise TooLargeError


class _Arguments:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size

    def read(self, name: str, argument: pickletools.ArgumentDescriptor) -> Any:
        if argument.n == pickletools.UP_TO_NEWLINE:
            return (self._name(), self._name()) if name in _IMPORTS else _of_line(name, argument, self._line())
        if argument.n >= 0:
            data = self._bytes(argument.n)
            return int.from_bytes(data, "little") if name in _KEYS else None
        form = _LENGTHS[argument.n]
        (length,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        if not 0 <= length <= self._size - self._stream.tell():
            raise BrokenError
        kept = self._bytes(min(length, _LONGEST_NAME)) if name in STRINGS else b""
        self._stream.seek(length - len(kept), io.SEEK_CUR)
        return _decoded(kept, whole=len(kept) == length) if name in STRINGS else None

    def _name(self) -> str:
        line = self._line()
        whole = line.endswith(b"\n")
        name = _decoded(line.removesuffix(b"\n"), whole=whole)
        if not name:
            raise BrokenError
        return name[:_LONGEST_NAME]

    def _line(self) -> bytes:
        """Return the rest of the line, as far as it matters; only a whole one ends with its end."""
        line = rest = self._stream.readline(_LONGEST_LINE)
        while rest and not rest.endswith(b"\n"):
            rest = self._stream.readline(_LONGEST_LINE)
        if not rest:
            raise BrokenError
        return line

    def _bytes(self, length: int) -> bytes:
        data = self._stream.read(length)
        if len(data) < length:
            raise BrokenError
        return data


def _of_line(name: str, argument: pickletools.ArgumentDescriptor, line: bytes) -> Any:
    whole = line.endswith(b"\n")
    if name in _KEYS:
        return _key(line, whole=whole)
    if (name == "STRING" and whole and not _QUOTED.fullmatch(line)) or (name == "PERSID" and not line.isascii()):
        raise BrokenError
    try:
        return argument.reader(io.BytesIO(line))[:_LONGEST_NAME] if name in STRINGS else None
    except ValueError:
        return None


def _key(line: bytes, *, whole: bool) -> int:
    if not whole:
        raise TooLargeError
    try:
        return int(line)
    except ValueError as error:
        raise BrokenError from error


def _decoded(data: bytes, *, whole: bool) -> str | None:
    try:
        return codecs.utf_8_decode(data, "strict", whole)[0]
    except UnicodeDecodeError:
        return None
