"""What the keys of several catalog files are made of: names, URLs, and the piece that all others are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from modelberth.core import paths
from modelberth.core.revision import MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[3]
"""Where ``dags/``, ``plugins/`` and ``include/`` lie; relative paths in the catalog start here."""


def text(pattern: str, what: str) -> Callable[[str], str]:
    """Return a validator that accepts what *pattern* matches and calls it *what* in its refusal."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {what}")
        return value

    return check


def _relative(value: str) -> str:
    """Accept a path that a file of a model may have."""
    if why := paths.refusal(value):
        raise ValueError(f"expected a relative path, this one {why}")
    return value


_PREFIX = r"(/[A-Za-z0-9][A-Za-z0-9._=+-]*)*"
_BUCKET = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]" + _PREFIX

Label = Annotated[
    str, AfterValidator(text(MODEL_NAME.pattern, "a DNS label: 1 to 63 of a-z, 0-9 and '-', no '-' at an end"))
]
ObjectName = Annotated[
    str,
    AfterValidator(text(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a Kubernetes object's name: a-z, 0-9, '-', '.'")),
]
ConnectionId = Annotated[
    str, AfterValidator(text(r"[A-Za-z0-9_.-]{1,200}", "the id of an Airflow connection, never a secret itself"))
]
BucketUrl = Annotated[
    str,
    AfterValidator(
        text(
            rf"(s3|gs)://{_BUCKET}",
            "s3://bucket/prefix or gs://bucket/prefix, without credentials and without a final '/'",
        )
    ),
]
S3Url = Annotated[
    str, AfterValidator(text(rf"s3://{_BUCKET}", "s3://bucket/prefix, without credentials and without a final '/'"))
]
GcsUrl = Annotated[
    str, AfterValidator(text(rf"gs://{_BUCKET}", "gs://bucket/prefix, without credentials and without a final '/'"))
]
WebUrl = Annotated[
    str,
    AfterValidator(
        text(r"https?://[^\s/@?#]+(/[^\s?#]*)?", "http(s)://host/path, without user, password, query and fragment")
    ),
]
RelativePath = Annotated[str, AfterValidator(_relative)]
ArchiveName = Annotated[
    str,
    AfterValidator(_relative),
    AfterValidator(
        text(r".+\.(zip|tar|tgz|tar\.(gz|bz2|xz))", "an archive: .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz")
    ),
]
RepositoryName = Annotated[
    str,
    AfterValidator(text(r"[\w.-]+(/[\w.-]+)?", "a repository's name, such as sentence-transformers/all-MiniLM-L6-v2")),
]


class Part(BaseModel):
    """A piece of a catalog file: unknown keys are refused, values are what YAML says and are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
