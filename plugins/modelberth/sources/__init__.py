"""Where models come from: each kind of source is a module here, and all of them look the same from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from modelberth.catalog import (
    DirectorySource,
    DriveSource,
    GcsSource,
    HttpSource,
    HuggingFaceSource,
    MlflowSource,
    OciSource,
    S3Source,
)
from modelberth.sources.directory import Directory
from modelberth.sources.drive import DriveFiles
from modelberth.sources.drive_link import PublicDriveFile
from modelberth.sources.gcs import GcsPrefix
from modelberth.sources.http import HttpFiles
from modelberth.sources.huggingface import HubRepository
from modelberth.sources.mlflow import RegisteredModel
from modelberth.sources.objects import bucket_of
from modelberth.sources.oci import OciArtifact
from modelberth.sources.proposal import proposal, require_proposed
from modelberth.sources.protocol import Source, SourceVersion
from modelberth.sources.s3 import S3Prefix

if TYPE_CHECKING:
    from modelberth.catalog import Model

__all__ = ["Source", "SourceVersion", "place_of", "proposal", "require_proposed", "source_of"]


def source_of(model: Model) -> Source:
    """Return the source of *model*."""
    match model.source:
        case DirectorySource() as source:
            return Directory(source.directory)
        case S3Source() as source:
            return S3Prefix(source.url, source.connection)
        case GcsSource() as source:
            return GcsPrefix(source.url, source.connection)
        case HttpSource() as source:
            named = tuple(source.files or ()), source.checksums or "", source.archive or ""
            return HttpFiles(source.url, source.connection, *named, model.size_limit)
        case HuggingFaceSource() as source:
            patterns = tuple(source.include), tuple(source.exclude)
            return HubRepository(source.repository, source.revision, source.connection, *patterns)
        case MlflowSource() as source:
            chosen = str(source.version or ""), source.alias or "", tuple(sorted(source.tags.items()))
            return RegisteredModel(source.model, source.connection, source.artifacts, *chosen)
        case DriveSource(connection=None) as source:
            return PublicDriveFile(source.item, source.resource_key or "")
        case DriveSource() as source:
            return DriveFiles(source.item, str(source.connection), source.resource_key or "")
        case OciSource() as source:
            return OciArtifact(source.reference, source.connection, model.size_limit)


def place_of(model: Model) -> str:
    """Return whom the source of *model* is asked of: sources of one place are down together."""
    match model.source:
        case DirectorySource() as source:
            return f"directory {str(source.directory.parent)!r}"
        case S3Source() | GcsSource() as source:
            return f"{bucket_of(source.url)!r} (connection {source.connection!r})"
        case HttpSource() as source:
            return str(urlsplit(source.url).netloc)
        case HuggingFaceSource() as source:
            return f"the Hub (connection {source.connection!r})"
        case MlflowSource() as source:
            return f"MLflow (connection {source.connection!r})"
        case OciSource() as source:
            return source.reference.partition("/")[0]
        case DriveSource():
            return "Drive"
