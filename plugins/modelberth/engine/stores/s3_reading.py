"""Reads from S3: where a bucket answers, with which keys, and what it says there.

An environment that names keys and endpoint, as a pod's does, says everything. Anything else (roles, profiles, AWS'
own endpoints and regions) is asked of botocore, whose import and set-up cost 0.3 s.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.http import Get
from modelberth.engine.sigv4 import Keys, Signer, query
from modelberth.engine.stores import Stored
from modelberth.engine.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modelberth.core.layout import BucketUrl
    from modelberth.core.location import Place
    from modelberth.engine.stopping import Stop

_LARGEST_PAGE = 16 * 1024 * 1024
_LARGEST_ERROR = 64 * 1024
_DENIED = {"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken"}


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is read.

    :param base: What the URL of every object begins with.
    """

    base: str
    signer: Signer


class S3Reader:
    """One bucket of an S3 server, for reading: a right to list is needed by who lists, and nobody else."""

    def __init__(self, url: BucketUrl, stop: Stop, environ: Mapping[str, str] = os.environ) -> None:
        self.url = url
        self._transport = Transport(stop)
        self._access = _access(url.bucket, environ)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects whose keys begin with *prefix*."""
        more: dict[str, str] = {}
        while True:
            page = self._page({"prefix": prefix} | more)
            try:
                yield from _listed(page)
            except (KeyError, ValueError) as error:
                raise self._no_list(prefix) from error
            token = _text(page, "NextContinuationToken")
            if _text(page, "IsTruncated") != "true" or not token:
                return
            if more == {"continuation-token": token}:
                raise self._no_list(prefix)  # or it would be asked for the same page for ever
            more = {"continuation-token": token}

    def ask(self) -> None:
        """Ask for the bucket.

        :raises Failure: There is none, or it does not answer.
        """
        self._page({"prefix": self.url.key(""), "max-keys": "1"})

    def _page(self, values: Mapping[str, str]) -> ElementTree.Element:
        words = query(dict(values) | {"list-type": "2", "encoding-type": "url"})
        what = f"the list of {self.name(values['prefix'])}"
        status, headers, data = self._small(f"{self._access.base}?{words}", what, _LARGEST_PAGE)
        if status != 200:
            raise self._refused(status, headers, data, values["prefix"])
        try:
            page = ElementTree.fromstring(data)  # noqa: S314 - expat bounds what entities expand to
        except ElementTree.ParseError as error:
            raise self._no_list(values["prefix"]) from error
        if not page.tag.endswith("ListBucketResult"):
            raise self._no_list(values["prefix"])
        return page

    def _no_list(self, prefix: str) -> Failure:
        return Failure(
            ExitCode.UNREACHABLE,
            f"Could not read the list of {self.name(prefix)}: the answer is none. "
            "Is AWS_ENDPOINT_URL the address of an S3 server?",
        )

    def read(self, key: str, most: int) -> bytes | None:
        """Return a small object's bytes, None when there is none.

        :raises Failure: It has over *most* bytes, or cannot be read.
        """
        status, headers, data = self._small(self._object(key), f"object {self.name(key)}", most)
        if status == 200:
            if len(data) > most:
                raise Failure(ExitCode.REFUSED, f"Object {self.name(key)} has over {most} bytes: it was not read.")
            return data
        if status == 404 and _code(data) != "NoSuchBucket":
            return None
        raise self._refused(status, headers, data, key)

    def _small(self, url: str, what: str, most: int) -> tuple[int, Mapping[str, str], bytes]:
        def sign() -> Get:
            return Get(url, what, self._access.signer.headers(url))

        return self._transport.small(sign, max(most, _LARGEST_ERROR))

    def _object(self, key: str) -> str:
        return self._access.base + quote(key, safe="/~")

    def sign(self, place: Place) -> Get:
        """Return a signed request for an object; If-Match makes it fail when the object was replaced."""
        url = self._object(place.key)
        if place.version:
            url += f"?{query({'versionId': place.version})}"
        headers = self._access.signer.headers(url)
        if place.etag:
            headers["If-Match"] = place.etag
        return Get(url, f"object {self.name(place.key)}", headers)

    def name(self, key: str) -> str:
        """Return how messages name an object."""
        return repr(f"s3://{self.url.bucket}/{key}")

    def _refused(self, status: int, headers: Mapping[str, str], data: bytes, key: str) -> Failure:
        region = headers.get("x-amz-bucket-region", "")
        if status in (301, 307, 400) and region not in ("", self._access.signer.region):
            return Failure(
                ExitCode.REFUSED,
                f"Bucket {self.url.bucket!r} is in region {region!r}, and was asked for in "
                f"{self._access.signer.region!r}: set AWS_REGION={region}.",
            )
        return self.refused(_code(data), status, key)

    def refused(self, code: str, status: int, key: str) -> Failure:
        """Return what an error of the server means.

        :param code: S3's own, empty where the server did not say.
        """
        said = code or f"HTTP status {status}"
        if code in ("NoSuchBucket", "InvalidBucketName"):
            return Failure(ExitCode.NOT_FOUND, f"No bucket {self.url.bucket!r}: create it or correct the URL.")
        if code in _DENIED or status in (401, 403):
            return Failure(
                ExitCode.DENIED,
                f"Access to {self.name(key)} was denied ({said}): check the credentials and their rights there.",
            )
        if code == "BadDigest":
            return Failure(ExitCode.UNREACHABLE, f"Bytes of {self.name(key)} changed on their way: run the same again.")
        if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout", "NoSuchUpload"):
            return Failure(
                ExitCode.UNREACHABLE, f"The store could not serve {self.name(key)} ({said}): run the same again."
            )
        return Failure(ExitCode.REFUSED, f"The store refused {self.name(key)}: {said}.")


def _namespace(page: ElementTree.Element) -> str:
    """Return what the names of *page* begin with: searching for any costs half of a listing's time."""
    before, brace, _ = page.tag.rpartition("}")
    return before + brace


def _listed(page: ElementTree.Element) -> Iterator[Stored]:
    # A server that knows no encoding-type leaves keys as they are, and does not say that it encoded them.
    plain = unquote_plus if _text(page, "EncodingType") == "url" else str
    for item in page.iterfind(f"{_namespace(page)}Contents"):
        said = {field.tag.rpartition("}")[2]: field.text or "" for field in item}
        yield Stored(plain(said["Key"]), int(said["Size"]), said.get("ETag", ""))


def _text(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}", "")


def _code(data: bytes) -> str:
    """Return the code of an error's document."""
    try:
        return _text(ElementTree.fromstring(data), "Code")  # noqa: S314 - expat bounds what entities expand to
    except ElementTree.ParseError:
        return ""


def region(environ: Mapping[str, str] = os.environ) -> str:
    """Return the region that the environment names.

    botocore itself reads only AWS_DEFAULT_REGION; pods and the SDKs for other languages have AWS_REGION.
    """
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""


def _access(bucket: str, env: Mapping[str, str] = os.environ) -> Access:
    return _from_environment(bucket, env) or _from_botocore(bucket, env)


def _from_environment(bucket: str, env: Mapping[str, str]) -> Access | None:
    """Return what the environment says, if it says everything and no file could say otherwise."""
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL", "")
    access, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    other = ("AWS_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    if not (_is_url(endpoint) and access and secret) or any(map(env.get, other)) or _has_config(env):
        return None
    keys = Keys(access, secret, env.get("AWS_SESSION_TOKEN", ""))
    return Access(f"{endpoint.rstrip('/')}/{bucket}/", Signer(lambda: keys, region(env) or "us-east-1"))


def _has_config(env: Mapping[str, str]) -> bool:
    """Say whether a region or an endpoint may stand in a file; whoever names /dev/null has none."""
    named = env.get("AWS_CONFIG_FILE") or "~/.aws/config"
    path = Path(os.path.expandvars(named)).expanduser()  # as botocore does
    return path.exists() and path != Path(os.devnull)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _from_botocore(bucket: str, env: Mapping[str, str]) -> Access:
    from modelberth.engine.stores.s3_client import base_url, credentials, new_client

    client = new_client(env)
    keys = credentials(client, bucket)
    return Access(base_url(client, bucket, env), Signer(keys, client.meta.region_name))
