"""Digests of chunks and checksums of objects; all release the GIL on large buffers."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Hasher(Protocol):
    """What hashlib and blake3 have in common."""

    def update(self, data: memoryview, /) -> object:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """Return the 32 bytes that stand for all that was taken in."""


def chunk_hasher(name: str) -> Callable[[], Hasher]:
    """Return what makes hashers for the manifest's ``chunk_digest``."""
    if name == "sha256":
        return hashlib.sha256
    from blake3 import blake3

    return blake3


class Checksum:
    """A store's checksum of a whole object, put together from those of its parts in any order of sending.

    :param name: ``crc64nvme`` (S3) or ``crc32c`` (GCS).
    """

    def __init__(self, name: str) -> None:
        from awscrt import checksums  # type: ignore[import-untyped]  # 40 GB/s, and joins the CRCs of neighbours

        self._of: Callable[[bytes], int] = getattr(checksums, name)
        self._join: Callable[[int, int, int], int] = getattr(checksums, f"combine_{name}")
        self._width = {"crc64nvme": 8, "crc32c": 4}[name]
        self._parts: dict[int, tuple[int, int]] = {}

    def add(self, position: int, data: bytes | bytearray | memoryview) -> None:
        """Take in the bytes at *position*; each byte of the object once."""
        self._parts[position] = (self._of(data), len(data))  # type: ignore[arg-type]

    def add_sum(self, position: int, value: int, length: int) -> None:
        """Take in bytes that were summed elsewhere."""
        self._parts[position] = (value, length)

    def text(self) -> str:
        """Return the checksum of all that was taken in, as the stores write it: base64 of the big-endian number."""
        value = 0
        for position in sorted(self._parts):
            part, length = self._parts[position]
            value = self._join(value, part, length)
        return self.encoded(value)

    def of(self, data: bytes | bytearray | memoryview) -> int:
        """Return the checksum of *data* as a number."""
        return self._of(data)  # type: ignore[arg-type]

    def encoded(self, value: int) -> str:
        """Return *value* as the stores write it."""
        return base64.b64encode(value.to_bytes(self._width, "big")).decode()
