"""The key ``stage`` of a service's file: which registries name the models and versions that its claim is to hold.

    stage:
      registry: {type: mlflow, connection: mlflow, artifacts: mlflow_s3}      one, or a list of several
      bucket:   {url: s3://models/registry, connection: models_s3}            for models without a file of their own
      receipts: {url: s3://evidence/receipts, connection: evidence_s3}        what is known of staging; as a model's

docs/staging.md says what each registry names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from modelberth.catalog.model import Store
from modelberth.catalog.pieces import ConnectionId, GcsUrl, Part, S3Url, Text
from modelberth.catalog.sources import InDrive, RemoteSource

TagKey = Annotated[str, Text(r"[A-Za-z0-9_.-]+", "the key of a tag, such as service")]


class MlflowRegistry(RemoteSource):
    """Registered models and versions that have all *tags*: without any, ``service`` with the service's name."""

    type: Literal["mlflow"]
    connection: ConnectionId
    artifacts: ConnectionId | None = None
    tags: dict[TagKey, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)


class S3Registry(RemoteSource):
    """What lies at ``<url>/<service>/<model>/<version>/``."""

    type: Literal["s3"]
    url: S3Url
    connection: ConnectionId


class GcsRegistry(RemoteSource):
    """What lies at ``<url>/<service>/<model>/<version>/``."""

    type: Literal["gcs"]
    url: GcsUrl
    connection: ConnectionId


class DriveRegistry(InDrive):
    """The folders ``<service>/<model>/<version>`` in the folder *item*."""

    type: Literal["drive"]
    connection: ConnectionId


AnyRegistry = Annotated[
    MlflowRegistry | S3Registry | GcsRegistry | DriveRegistry,
    Field(discriminator="type"),
]


def _one_or_more(value: Any) -> Any:
    """Return *value* as a list: one of it needs no dash."""
    return value if isinstance(value, list) else [value]


class Stage(Part):
    """Which versions are brought onto the service's claim before anybody asks for them, and how often is looked."""

    registry: Annotated[
        list[AnyRegistry],
        Field(min_length=1),
        BeforeValidator(_one_or_more, json_schema_input_type=AnyRegistry | list[AnyRegistry]),
    ]
    bucket: Store
    receipts: Store
    every: Annotated[int, Field(ge=60, le=30 * 86400)] = 3600
    """Seconds between two looks."""

    @model_validator(mode="after")
    def _receipts_apart(self) -> Self:
        if f"{self.receipts.url}/".startswith(f"{self.bucket.url}/"):
            text = f"receipts.url {self.receipts.url!r} lies in bucket.url, where pods may write: choose another"
            raise ValueError(text)
        return self
