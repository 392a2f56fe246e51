"""Where tensor data starts in a safetensors or GGUF file. Anything odd has no head: it is only a better cut."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, Literal, Protocol

_LONGEST = 64 * 1024 * 1024
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _ARRAY = 8, 9
_MOST = 2_000_000
"""Pairs, tensors and strings in arrays together, read one by one in 2 s; vocabularies with merges have a million."""

_DEEPEST = 16
"""Arrays in arrays: no writer makes any, and a reader must not run out of stack."""


class Openable(Protocol):
    """A path, or what is opened as one is."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Return a stream of its bytes."""


def head_of(file: Openable, suffix: str, size: int) -> int:
    """Return where tensor data starts in *file*, 0 when that is unknown or not inside it.

    :param suffix: That of the path in the manifest; *file* may be a link's target with another name.
    """
    readers = {".safetensors": _safetensors, ".gguf": gguf_head}
    reader = readers.get(suffix.lower())
    if not reader or size < 16:
        return 0
    try:
        with file.open("rb") as stream:
            head = reader(stream)
    except (struct.error, ValueError, OverflowError, OSError):
        return 0
    return head if 0 < head < size and head <= _LONGEST else 0


def _safetensors(stream: BinaryIO) -> int:
    """8 bytes say how long the JSON header is that follows them."""
    (length,) = struct.unpack("<Q", stream.read(8))
    return 8 + int(length)


class _Gguf:
    """Little-endian GGUF of version 2 and 3: magic, counts, key-value pairs, tensor infos, padding, tensor data."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._counted = 0
        self.alignment = 32

    def number(self, form: str) -> int:
        """Return the next number, in ``struct``'s form."""
        (value,) = struct.unpack(form, self._stream.read(struct.calcsize(form)))
        return int(value)

    def skip(self, count: int) -> None:
        """Go on by *count* bytes."""
        if self._stream.seek(count, io.SEEK_CUR) > _LONGEST:
            raise ValueError

    def text(self) -> bytes:
        """Return the next string."""
        length = self.number("<Q")
        if length > _LONGEST:
            raise ValueError
        return self._stream.read(length)

    def count(self) -> int:
        """Return the next count of things that are read one by one."""
        count = self.number("<Q")
        self._counted += count
        if self._counted > _MOST:
            raise ValueError
        return count

    def value(self, kind: int, depth: int = 0) -> None:
        """Skip a value of *kind* that lies in *depth* arrays."""
        if depth > _DEEPEST:
            raise ValueError
        if kind == _TEXT:
            self.skip(self.number("<Q"))
        elif kind == _ARRAY:
            inner = self.number("<I")
            if inner in _FIXED:
                self.skip(_FIXED[inner] * self.number("<Q"))
            else:
                for _ in range(self.count()):
                    self.value(inner, depth + 1)
        else:
            self.skip(_FIXED.get(kind, _LONGEST))

    def pair(self) -> None:
        """Skip a key and its value, but for the alignment."""
        key, kind = self.text(), self.number("<I")
        if key == b"general.alignment" and kind == 4:
            self.alignment = self.number("<I") or 32
        else:
            self.value(kind)

    def tensor(self) -> None:
        """Skip what is said of one tensor: name, dimensions, type, offset."""
        self.text()
        self.skip(8 * min(self.number("<I"), 64) + 4 + 8)


def gguf_head(stream: BinaryIO) -> int:
    """Return where the tensor data of a GGUF file starts; 0 when it is none of a known version.

    :raises ValueError, struct.error: It is odd, or has more than is read.
    """
    if stream.read(4) != b"GGUF":
        return 0
    gguf = _Gguf(stream)
    if gguf.number("<I") not in (2, 3):
        return 0
    tensors, pairs = gguf.count(), gguf.count()
    for _ in range(pairs):
        gguf.pair()
    for _ in range(tensors):
        gguf.tensor()
    return -(-stream.tell() // gguf.alignment) * gguf.alignment
