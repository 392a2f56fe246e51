"""The digest: ``sha256:<64 hex>``, the name of bytes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_FORM = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """The SHA-256 of some bytes; ``parse`` and ``str`` round-trip."""

    hex: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.hex):
            raise ValueError(f"Not a digest: {self.hex!r}; expected 64 lower-case hex digits.")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that *text* names.

        :raises ValueError: *text* is not ``sha256:`` and 64 lower-case hex digits.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise ValueError(f"Not a digest: {text!r}; expected 'sha256:' and 64 lower-case hex digits.")
        return cls(found[1])

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the digest of *data*."""
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 hex digits: for display only, never for a comparison."""
        return self.hex[:12]
