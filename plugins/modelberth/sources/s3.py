"""The objects below a prefix of S3, or of a store that speaks its language."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth import clients
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import Wanted
from modelberth.sources.connections import connection
from modelberth.sources.objects import below, bucket_of, key_start
from modelberth.sources.protocol import SourceVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class S3Prefix:
    """A model below *url*; its version is the digest of the listing: bucket, keys, sizes and ETags."""

    url: str
    connection: str

    def versions(self) -> Mapping[str, str]:
        """Return none: a prefix holds what it holds."""
        return {}

    def resolve(self, version: str = "") -> SourceVersion:  # noqa: ARG002 - there is one
        """Return the listing.

        :raises Failure: It cannot be had, is empty, or names what is refused.
        """
        return SourceVersion.listed(below(self.url, objects(self.url, self.connection)))

    def credentials(self) -> Mapping[str, str]:
        """Return the connection's keys, and where its store is."""
        return credentials(self.connection)


def objects(url: str, name: str) -> Iterator[Wanted]:
    """Yield what lies below *url*, each with its key as path.

    :param name: The connection's.
    :raises Failure: It cannot be listed.
    """
    bucket = bucket_of(url)
    connection(name)
    with _telling(url, name):
        pages = clients.s3_client(name).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key_start(url))
        for page in pages:
            for item in page.get("Contents", []):
                key = item["Key"]
                yield Wanted(key, f"s3://{bucket}/{key}", item["Size"], etag=item["ETag"].strip('"'))


def credentials(name: str) -> Mapping[str, str]:
    """Return what a pod reads a source in S3 with.

    :param name: The connection's.
    :raises Failure: The connection has no keys.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    connection(name)
    hook = S3Hook(aws_conn_id=name)
    with _telling("the connection's keys", name):
        keys = hook.get_credentials()
    if not keys:
        text = f"Connection {name!r} has no AWS keys: give it some, or the source a secret, or identity: true."
        raise Failure(ExitCode.DENIED, text)
    said = {
        "ACCESS_KEY_ID": keys.access_key,
        "SECRET_ACCESS_KEY": keys.secret_key,
        "SESSION_TOKEN": keys.token,
        "ENDPOINT_URL": hook.conn_config.get_service_endpoint_url("s3"),
        "REGION": hook.region_name,
    }
    return {f"MODELBERTH_FETCH_AWS_{key}": value for key, value in said.items() if value}


@contextmanager
def _telling(what: str, name: str) -> Iterator[None]:
    from botocore.exceptions import (  # type: ignore[import-untyped]
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
    )

    where = f"{what} (connection {name!r})"
    try:
        yield
    except ClientError as error:
        raise _refused(where, error) from error
    except (BotoCoreError, OSError) as error:
        passing = isinstance(error, ConnectionError | HTTPClientError | OSError)
        code = ExitCode.UNREACHABLE if passing else ExitCode.DENIED
        raise Failure(code, f"S3 could not be asked for {where}: {type(error).__name__}.") from error


def _refused(where: str, error: Any) -> Failure:
    """Return what an answer of the store means.

    | answer | code |
    |---|---|
    | NoSuchBucket | not found |
    | 5xx, 409, 429, SlowDown | unreachable |
    | any other | denied |
    """
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = error.response["Error"]["Code"]
    if said == "NoSuchBucket":
        return Failure(ExitCode.NOT_FOUND, f"No such bucket: {where}. Correct the URL.")
    if status >= 500 or status in (409, 429) or said == "SlowDown":
        return Failure(ExitCode.UNREACHABLE, f"S3 failed for {where}: {status} {said}.")
    text = f"S3 refused {where}: {status} {said}. Check the keys and their right to list and read there."
    return Failure(ExitCode.DENIED, text)
