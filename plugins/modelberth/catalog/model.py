"""The keys of a file in ``models/``: where a model comes from, where it is kept, what it may be."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ByteSize, Field, model_validator

from modelberth.catalog.pieces import BucketUrl, ConnectionId, Label, Part, Policy
from modelberth.catalog.signature import PublisherSignature, Signature
from modelberth.catalog.sources import AnySource
from modelberth.core.content import OFF
from modelberth.core.prune import LEAST_GRACE
from modelberth.core.signature import PUBLISHER, REVISION


class Store(Part):
    """A prefix in a bucket, and the Airflow connection that may use it."""

    url: BucketUrl
    connection: ConnectionId

    @property
    def scheme(self) -> str:
        """``s3`` or ``gs``."""
        return self.url.partition("://")[0]

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.url.partition("://")[2].partition("/")[0]

    @property
    def prefix(self) -> str:
        """What every key begins with, without a ``/`` at its ends; empty at the root of the bucket."""
        return self.url.partition("://")[2].partition("/")[2]


class Refresh(Part):
    """How the model follows its source: whether at all, and how often at most (seconds; none: at every look)."""

    paused: bool = False
    every: Annotated[int, Field(ge=60)] | None = None


class Retention(Part):
    """What a prune keeps of the model besides all that is used.

    *keep_live* is how many of the last snapshots that were live at a service, *grace* how long (seconds) a snapshot
    that nothing uses stays condemned before it is deleted: at least an hour, for which a check before a rollout holds.
    """

    keep_live: Annotated[int, Field(ge=1)] = 3
    grace: Annotated[int, Field(ge=LEAST_GRACE)] = 7 * 86400


class Content(Part):
    """What of the model's content is looked at before the gate: *warn* shows what is found there, *require* refuses."""

    code: Policy = "warn"
    """Files that run code when they are loaded (pickles that import what is dangerous or unknown), and programs."""
    headers: Policy = "warn"
    """Headers of safetensors, GGUF and ONNX files."""
    licence: Policy = "off"
    """A LICENSE file, or a model card that names one."""


class Model(Part):
    """What is served: where its bytes come from, where they are kept, what it may be."""

    name: Label
    source: AnySource
    bucket: Store
    receipts: Store
    size_limit: Annotated[ByteSize, Field(gt=0)] | None = None
    content: Content = Content()
    signature: Signature | None = None
    publisher_signature: PublisherSignature | None = None
    refresh: Refresh = Refresh()
    retention: Retention = Retention()

    @property
    def signatures(self) -> dict[str, Signature]:
        """What is looked for, by kind, and whose it is to be; what is off is not looked for."""
        asked = {REVISION: self.signature, PUBLISHER: self.publisher_signature}
        return {kind: one for kind, one in asked.items() if one and one.policy != OFF}

    @property
    def signature_beside(self) -> str | None:
        """Where the publisher's bundle is among the files; None when nobody asks for it."""
        asked = self.publisher_signature
        return asked.file if asked and asked.policy != OFF else None

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        """Refuse what the receipts have beside the models' own."""
        if self.name in ("ledger", "inventory"):
            raise ValueError(f"no model can be called {self.name!r}: the receipts have a folder of that name")
        return self

    @model_validator(mode="after")
    def _receipts_apart(self) -> Self:
        """Pods may write below the bucket's URL, so the evidence about them must lie elsewhere."""
        if f"{self.receipts.url}/".startswith(f"{self.bucket.url}/"):
            raise ValueError(
                f"receipts.url {self.receipts.url!r} lies in bucket.url, where pods may write: choose another"
            )
        return self
