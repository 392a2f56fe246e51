"""What the prefixes of S3 and GCS have in common: a listing becomes a fetch list."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from modelberth.core import paths
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList, Wanted
from modelberth.core.manifest import MOST_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable


def below(url: str, objects: Iterable[Wanted]) -> FetchList:
    """Return the list of what lies below *url*.

    :param objects: Each with its key as ``path``. An empty one whose key ends in ``/`` is a directory, as the stores'
        consoles make them.
    :raises Failure: There is nothing, or something that is refused.
    """
    listed = islice(objects, MOST_FILES + 1)  # one more is refused: the rest need not be listed
    found = [replace(item, path=item.path.removeprefix(key_start(url))) for item in listed]
    files = [item for item in found if item.size or not item.path.endswith("/")]
    if not any(item.path for item in files):
        raise Failure(ExitCode.NOT_FOUND, f"No object lies below {url!r}: correct the URL, or bring the model there.")
    dirs = {item.path.removesuffix("/") for item in found if item.path.endswith("/") and not item.size}
    above = {parent for path in (*dirs, *(file.path for file in files)) for parent in paths.parents(path)}
    return FetchList.of([file for file in files if file.path], sorted(dirs - above))


def key_start(url: str) -> str:
    """Return what the keys below *url* begin with; empty for a whole bucket."""
    prefix = url.partition("://")[2].partition("/")[2]
    return f"{prefix}/" if prefix else ""


def bucket_of(url: str) -> str:
    """Return the bucket's name."""
    return url.partition("://")[2].partition("/")[0]
