"""A publisher's own signature of a model's files, and what is needed to judge it where the files are not.

    {"schema": 1, "bundle": "<base64>", "sha256": {"model.safetensors": "<64 hex>", ...}}

An upload leaves it in the bucket under its own digest (``layout.digests_key``), which is in the upload's result.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_PUBLISHED = 16 * 1024**2
"""Bytes of a publisher's bundle: it names every file, each in about 200."""

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle as it was among the files, and the SHA-256 of each file.

    :param bundle: None when it was too large to be one.
    :param sha256: 64 hex digits by path.
    """

    bundle: bytes | None
    sha256: Mapping[str, str]

    def dump(self) -> bytes:
        """Return the document."""
        bundle = None if self.bundle is None else base64.b64encode(self.bundle).decode()
        return canonical.dump({"schema": 1, "bundle": bundle, "sha256": dict(self.sha256)})

    @classmethod
    def parse(cls, data: bytes) -> Published:
        """Return what the document *data* holds.

        :raises ValueError: It is none.
        """
        document = canonical.load(data)
        if not isinstance(document, dict) or document.keys() != {"schema", "bundle", "sha256"}:
            raise ValueError("Not the digests of a model's files: it has other keys than schema, bundle, sha256.")
        bundle, sha256 = document["bundle"], document["sha256"]
        right = isinstance(sha256, dict) and all(_HEX.fullmatch(str(one)) for one in sha256.values())
        if document["schema"] != 1 or not right or not isinstance(bundle, str | None):
            raise ValueError("Not the digests of a model's files: it has values of another kind.")
        return cls(None if bundle is None else base64.b64decode(bundle, validate=True), sha256)
