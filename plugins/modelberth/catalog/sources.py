"""The kinds of ``source`` that a model's file may have; ``type`` says which. Secrets are never in them.

A source that is read over a network is read twice: Airflow looks what is there, with ``connection``, and a pod fetches
it. What the pod identifies itself with is one of three:

    secret: NAME        a Secret of the pod's namespace, made by whoever runs the cluster; docs/sources.md has its keys
    identity: true      nothing: the pod's service account (workload identity, IRSA), or the pods' bucket_secret
    neither             the connection's own credentials, in a Secret that is deleted with the pod
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from modelberth.catalog.pieces import (
    PROJECT,
    ArchiveName,
    ConnectionId,
    DriveId,
    GcsUrl,
    ObjectName,
    Part,
    Reference,
    RelativePath,
    RepositoryName,
    S3Url,
    WebUrl,
)

if TYPE_CHECKING:
    from pathlib import Path


class DirectorySource(Part):
    """A directory that every worker sees; a relative path starts at the project's root."""

    type: Literal["directory"]
    path: Annotated[str, Field(min_length=1)]

    @property
    def directory(self) -> Path:
        """The absolute directory, links left as they are."""
        return PROJECT / self.path


class RemoteSource(Part):
    """What is read over a network, and what it is read with."""

    secret: ObjectName | None = None
    identity: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.secret and self.identity:
            raise ValueError("secret and identity exclude each other: a pod reads with the one or as the other")
        return self


class S3Source(RemoteSource):
    """The objects below a prefix."""

    type: Literal["s3"]
    url: S3Url
    connection: ConnectionId


class GcsSource(RemoteSource):
    """The objects below a prefix."""

    type: Literal["gcs"]
    url: GcsUrl
    connection: ConnectionId


class HttpSource(RemoteSource):
    """Files of a web server below *url*: those that are listed, those of a checksums file, or those in an archive."""

    type: Literal["http"]
    url: WebUrl
    connection: ConnectionId | None = None
    files: Annotated[list[RelativePath], Field(min_length=1)] | None = None
    checksums: RelativePath | None = None
    archive: ArchiveName | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.files and self.archive:
            raise ValueError("files and archive exclude each other: name what lies there, or what holds it")
        if not (self.files or self.archive or self.checksums):
            raise ValueError("expected files, checksums or archive: a web server cannot be asked what it has")
        return self


class HuggingFaceSource(RemoteSource):
    """A repository of the Hugging Face Hub; the token is the connection's password, another Hub is its host."""

    type: Literal["huggingface"]
    repository: RepositoryName
    revision: Annotated[str, Field(min_length=1)] = "main"
    connection: ConnectionId | None = None
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)


class MlflowSource(RemoteSource):
    """A version of a registered model: by number, by alias, or the newest that has all tags."""

    type: Literal["mlflow"]
    model: Annotated[str, Field(min_length=1)]
    connection: ConnectionId
    artifacts: ConnectionId | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    alias: Annotated[str, Field(min_length=1)] | None = None
    tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if sum(map(bool, (self.version, self.alias, self.tags))) > 1:
            raise ValueError("version, alias and tags exclude each other: choose a version in one way")
        return self


class OciSource(RemoteSource):
    """An artifact of a container registry, as ModelPack or ORAS lays it out."""

    type: Literal["oci"]
    reference: Reference
    connection: ConnectionId | None = None


class InDrive(RemoteSource):
    """A folder or file of Google Drive."""

    item: DriveId
    resource_key: DriveId | None = None

    @model_validator(mode="after")
    def _no_identity(self) -> Self:
        if self.identity:
            raise ValueError("identity is not for Drive: no pod's own account has a token for it")
        return self


class DriveSource(InDrive):
    """A folder or file of Google Drive; without a connection a file that anybody with the link may have."""

    type: Literal["drive"]
    connection: ConnectionId | None = None


AnySource = Annotated[
    DirectorySource | S3Source | GcsSource | HttpSource | HuggingFaceSource | MlflowSource | OciSource | DriveSource,
    Field(discriminator="type"),
]
