"""Where models come from: each kind of source is a module here, and all of them look the same from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.sources.directory import Directory
from modelberth.sources.protocol import Source, SourceVersion

if TYPE_CHECKING:
    from modelberth.catalog import Model

__all__ = ["Source", "SourceVersion", "source_of"]


def source_of(model: Model) -> Source:
    """Return the source of *model*."""
    return Directory(model.source.directory)
