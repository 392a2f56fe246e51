"""What the readers of hostile documents have in common: bounds before parsing, and errors that name all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST = 64 * 1024 * 1024
"""Bytes of a document."""

_SHOWN = 20


def size_problems(data: bytes, bounds: Mapping[bytes, int]) -> list[str]:
    """Bound by counting bytes, since a parser would turn 64 MiB of ``{}`` into gigabytes of objects.

    :param bounds: How often a sign may occur at most; in names, too.
    """
    if len(data) > LARGEST:
        return [f"It has {len(data)} bytes; at most {LARGEST} are accepted."]
    return [f"It has over {most} {sign.decode()!r}." for sign, most in bounds.items() if data.count(sign) > most]


def refuse_any(what: str, problems: Sequence[str]) -> None:
    """Refuse a document that has problems; of very many the first 20 and their number are said.

    :param what: The document's kind: ``manifest``.
    :raises Failure: It has.
    """
    if problems:
        more = [f"{len(problems) - _SHOWN} more."] if len(problems) > _SHOWN else []
        raise Failure(ExitCode.REFUSED, *(f"The {what} was refused: {text}" for text in [*problems[:_SHOWN], *more]))


def quoted(value: Any) -> str:
    """Return *value* as an error names it: not longer than a person reads."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
