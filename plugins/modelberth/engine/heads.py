"""Where tensor data starts in a safetensors or GGUF file. Anything odd has no head: it is only a better cut."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, Protocol

from modelberth.core.refusing import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 64 * 1024 * 1024
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _ARRAY = 8, 9
_MOST = 2_000_000
"""Pairs, tensors and strings in arrays together, read one by one in 2 s; vocabularies with merges have a million."""

_MOST_DIMENSIONS = 4
"""GGML_MAX_DIMS."""

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


class Tensor(NamedTuple):
    """What a GGUF file says of one of its tensors.

    :param kind: ggml's number for the type of its elements.
    :param offset: Bytes behind where tensor data starts.
    """

    name: bytes
    shape: tuple[int, ...]
    kind: int
    offset: int


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
        """Skip what is said of one tensor: name, dimensions, type, offset.

        What is odd must stay as it is: revisions have its heads in them.
        """
        self.text()
        self.skip(8 * min(self.number("<I"), 64) + 4 + 8)

    def described(self) -> Tensor:
        """Return what is said of the next tensor.

        :raises ValueError: It has more dimensions than ggml knows.
        """
        name, dimensions = self.text(), self.number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {quoted(name.decode(errors='replace'))} has {dimensions} dimensions")
        shape = tuple(self.number("<Q") for _ in range(dimensions))
        return Tensor(name, shape, self.number("<I"), self.number("<Q"))


def gguf_head(stream: BinaryIO) -> int:
    """Return where the tensor data of a GGUF file starts; 0 when it is none of a known version.

    :raises ValueError, struct.error: It is odd, or has more than is read.
    """
    gguf, tensors = _behind_pairs(stream)
    if not gguf:
        return 0
    for _ in range(tensors):
        gguf.tensor()
    return -(-stream.tell() // gguf.alignment) * gguf.alignment


def gguf_tensors(stream: BinaryIO) -> Iterator[Tensor]:
    """Yield what a GGUF file says of its tensors.

    :raises ValueError, struct.error: As :func:`gguf_head`; a tensor has more dimensions than ggml knows.
    """
    gguf, tensors = _behind_pairs(stream)
    if gguf:
        for _ in range(tensors):
            yield gguf.described()


def _behind_pairs(stream: BinaryIO) -> tuple[_Gguf | None, int]:
    """Return a reader that is where the tensors are described, and how many are; None when it is no known GGUF."""
    if stream.read(4) != b"GGUF":
        return None, 0
    gguf = _Gguf(stream)
    if gguf.number("<I") not in (2, 3):
        return None, 0
    tensors, pairs = gguf.count(), gguf.count()
    for _ in range(pairs):
        gguf.pair()
    return gguf, tensors
