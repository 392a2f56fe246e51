"""What a source was found to be before: then nothing of it is read, if the bucket has it whole."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.bucket import find_location, read_manifest

if TYPE_CHECKING:
    from modelberth.core.location import Location
    from modelberth.core.revision import Revision
    from modelberth.engine.stores import Reader

log = logging.getLogger(__name__)

_ASK_AGAIN = (ExitCode.DENIED, ExitCode.UNREACHABLE)


def known_location(store: Reader, revision: Revision) -> Location | None:
    """Return where all bytes of *revision* are in the bucket, as they were uploaded; None if they are not.

    :raises Failure: The bucket cannot be asked.
    """
    try:
        location = find_location(store, revision, read_manifest(store, revision))
    except Failure as failure:
        if failure.code in _ASK_AGAIN:
            raise
        log.warning("Revision %s: known, but not usable as it lies in the bucket: it is read again.", revision)
        return None
    log.info("Revision %s: known, and already uploaded as %s.", revision, location.upload)
    return location
