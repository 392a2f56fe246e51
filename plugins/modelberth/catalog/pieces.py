"""What the keys of several catalog files are made of: names, URLs, and the piece that all others are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core.core_schema import no_info_after_validator_function

from modelberth.core import paths
from modelberth.core.revision import MODEL_NAME

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

PROJECT = Path(__file__).parents[3]
"""Where ``dags/``, ``plugins/`` and ``include/`` lie; relative paths in the catalog start here."""


@dataclass(frozen=True, slots=True)
class Text:
    """Accepts what *pattern* matches and calls it *what*, in its refusal and in the schema that editors read."""

    pattern: str
    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return how a value is checked."""
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return how an editor checks it."""
        return handler(schema) | {"pattern": f"^({self.pattern})$", "description": f"Expected: {self.what}."}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"expected {self.what}")
        return value


def _relative(value: str) -> str:
    """Accept a path that a file of a model may have."""
    if why := paths.refusal(value):
        raise ValueError(f"expected a relative path, this one {why}")
    return value


_PREFIX = r"(/[A-Za-z0-9][A-Za-z0-9._=+-]*)*"
_BUCKET = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]" + _PREFIX

Label = Annotated[str, Text(MODEL_NAME.pattern, "a DNS label: 1 to 63 of a-z, 0-9 and '-', no '-' at an end")]
ObjectName = Annotated[
    str,
    Text(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a Kubernetes object's name: a-z, 0-9, '-', '.'"),
]
ConnectionId = Annotated[str, Text(r"[A-Za-z0-9_.-]{1,200}", "the id of an Airflow connection, never a secret itself")]
BucketUrl = Annotated[
    str,
    Text(
        rf"(s3|gs)://{_BUCKET}",
        "s3://bucket/prefix or gs://bucket/prefix, without credentials and without a final '/'",
    ),
]
S3Url = Annotated[str, Text(rf"s3://{_BUCKET}", "s3://bucket/prefix, without credentials and without a final '/'")]
GcsUrl = Annotated[str, Text(rf"gs://{_BUCKET}", "gs://bucket/prefix, without credentials and without a final '/'")]
WebUrl = Annotated[
    str,
    Text(r"https?://[^\s/@?#]+(/[^\s?#]*)?", "http(s)://host/path, without user, password, query and fragment"),
]
RelativePath = Annotated[str, AfterValidator(_relative)]
ArchiveName = Annotated[
    str,
    AfterValidator(_relative),
    Text(r".+\.(zip|tar|tgz|tar\.(gz|bz2|xz))", "an archive: .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz"),
]
RepositoryName = Annotated[
    str,
    Text(r"[\w.-]+(/[\w.-]+)?", "a repository's name, such as sentence-transformers/all-MiniLM-L6-v2"),
]
DriveId = Annotated[str, Text(r"[A-Za-z0-9_-]+", "an id or key as in an address of Drive, not the address itself")]
Reference = Annotated[
    str,
    Text(
        r"[A-Za-z0-9.\[\]:-]+(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})?",
        "registry/name:tag or registry/name@sha256:..., such as ghcr.io/org/minilm:v1",
    ),
]

Policy = Literal["off", "warn", "require"]
"""What follows from a finding: nothing, a line at the gate, or the end of the release before it."""


class Part(BaseModel):
    """A piece of a catalog file: unknown keys are refused, values are what YAML says and are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
