"""The one JSON form that is hashed and signed: sorted keys, no spaces, UTF-8, no final newline."""

from __future__ import annotations

import json
from typing import Any


def dump(document: Any) -> bytes:
    """Return *document* in canonical form.

    :raises ValueError: It holds a NaN or an infinity, which JSON has no form for.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def load(data: bytes) -> Any:
    """Return the document whose canonical form is *data*.

    Reading is strict, since the digest of *data* is an identity: two spellings of one document would be two.

    :raises ValueError: *data* is not JSON in UTF-8, repeats a key, or is not in canonical form.
    """
    try:
        document = json.loads(data.decode(), object_pairs_hook=_once)
        same = dump(document) == data
    except RecursionError:
        raise ValueError("Not canonical JSON: nested too deeply.") from None
    if not same:
        raise ValueError("Not canonical JSON: written again it differs (order of keys, spaces, escapes or numbers).")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("Not canonical JSON: a key is repeated.")
    return document
