"""The objects below a prefix of Google Cloud Storage."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelberth import clients
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import Wanted
from modelberth.sources.connections import connection
from modelberth.sources.objects import below, bucket_of, key_start
from modelberth.sources.protocol import SourceVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUTS = (5, 20)
"""Seconds to connect and to read."""


@dataclass(frozen=True, slots=True)
class GcsPrefix:
    """A model below *url*; its version is the digest of the listing: bucket, names, sizes, generations."""

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
        """Return the connection's key file."""
        return credentials(self.connection)


def credentials(name: str) -> Mapping[str, str]:
    """Return what a pod reads a source at Google with; nothing for a connection that is anonymous.

    :param name: The connection's.
    :raises Failure: The connection has no key: the worker's own identity cannot be given away.
    """
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

    if connection(name).extra_dejson.get("is_anonymous"):
        return {}
    with GoogleBaseHook(gcp_conn_id=name).provide_gcp_credential_file_as_context() as path:
        if path:
            return {"MODELBERTH_FETCH_GOOGLE_CREDENTIALS": Path(path).read_text()}
    text = f"Connection {name!r} has no key file: give it one, or the source a secret, or identity: true."
    raise Failure(ExitCode.DENIED, text)


def objects(url: str, name: str) -> Iterator[Wanted]:
    """Yield what lies below *url*, each with its name as path.

    :param name: The connection's.
    :raises Failure: It cannot be listed.
    """
    connection(name)
    bucket = bucket_of(url)
    with _telling(url, name):
        for blob in clients.gcs_client(name).list_blobs(bucket, prefix=key_start(url), timeout=TIMEOUTS):
            yield Wanted(blob.name, f"gs://{bucket}/{blob.name}", blob.size, version=str(blob.generation))


@contextmanager
def _telling(url: str, name: str) -> Iterator[None]:
    from google.api_core.exceptions import ClientError, GoogleAPIError, NotFound, TooManyRequests
    from google.auth.exceptions import GoogleAuthError, TransportError

    where = f"{url} (connection {name!r})"
    try:
        yield
    except NotFound as error:
        raise Failure(ExitCode.NOT_FOUND, f"No such bucket: {where}. Correct the URL.") from error
    except (TooManyRequests, TransportError) as error:
        raise _failed(ExitCode.UNREACHABLE, "failed", where, error) from error
    except (ClientError, GoogleAuthError) as error:
        raise _failed(ExitCode.DENIED, "refused", where, error) from error
    except (GoogleAPIError, OSError) as error:
        raise _failed(ExitCode.UNREACHABLE, "failed", where, error) from error


def _failed(code: ExitCode, verb: str, where: str, error: Any) -> Failure:
    hint = " Check the key and its right to list and read there." if code is ExitCode.DENIED else ""
    return Failure(code, f"Google Cloud Storage {verb} {where}: {type(error).__name__}.{hint}")
