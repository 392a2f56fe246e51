"""What was proposed, found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.sources.protocol import Source, SourceVersion


def proposal(found: SourceVersion) -> dict[str, Any]:
    """Return what the receipt of a proposal says of *found*."""
    said = {"source_version": str(found.name), "files": found.files, "bytes": found.bytes}
    return said | ({"source_label": found.label} if found.label else {})


def require_proposed(model: str, source: Source, proposed: Mapping[str, Any]) -> SourceVersion:
    """Return what was proposed as the source has it now; an alias that moved on meanwhile does not matter.

    :param proposed: What ``proposal`` returned then.
    :raises Failure: The source does not have it any more.
    """
    found = source.resolve(proposed.get("source_label", ""))
    if str(found.name) == proposed["source_version"]:
        return found
    raise Failure(
        ExitCode.CHANGED,
        f"Source of model {model!r} moved on during the release: proposed was {proposed['source_version']}, it is now "
        f"at {found.name}. Nothing was staged. Start a new release; an upload of the same files is not repeated.",
    )
