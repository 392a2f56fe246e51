"""A revision names a model's bytes for ever; a snapshot is one copy of them on a claim."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelberth.core.digest import Digest

MODEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A model's name is a DNS label (RFC 1123): it becomes a directory, a key and part of an annotation."""

_SNAPSHOT = re.compile(r"([0-9a-f]{64})\.([1-9][0-9]{0,5})")


@dataclass(frozen=True, order=True, slots=True)
class Revision:
    """``<model>@sha256:<64 hex of the manifest>``: immutable."""

    model: str
    digest: Digest

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(self.model):
            raise ValueError(
                f"Not a model name: {self.model!r}; expected a DNS label: "
                "1 to 63 of a-z, 0-9 and '-', no '-' at an end."
            )

    @classmethod
    def parse(cls, text: str) -> Revision:
        """Return the revision that *text* names.

        :raises ValueError: *text* is not ``<model>@sha256:<64 hex>``.
        """
        model, at, digest = text.partition("@")
        if not at:
            raise ValueError(f"Not a revision: {text!r}; expected '<model>@sha256:<64 hex>'.")
        return cls(model, Digest.parse(digest))

    def __str__(self) -> str:
        return f"{self.model}@{self.digest}"

    @property
    def short(self) -> str:
        """``<model>@<12 hex>``: for display only, never for a comparison."""
        return f"{self.model}@{self.digest.short}"


@dataclass(frozen=True, order=True, slots=True)
class Snapshot:
    """``<64 hex>.<n>``: the n-th copy of a revision on a claim, the name of its directory."""

    digest: Digest
    copy: int

    def __post_init__(self) -> None:
        if not 1 <= self.copy <= 999_999:
            raise ValueError(f"Not a snapshot's number: {self.copy}; expected 1 to 999999.")

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Return the snapshot that *text* names.

        :raises ValueError: *text* is not ``<64 hex>.<n>`` with n from 1.
        """
        found = _SNAPSHOT.fullmatch(text)
        if not found:
            raise ValueError(f"Not a snapshot: {text!r}; expected '<64 hex>.<n>' with n from 1.")
        return cls(Digest(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.digest.hex}.{self.copy}"
