"""AWS' own client: for writing, and for whatever of endpoints and credentials an environment alone does not say."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, HTTPClientError  # type: ignore[import-untyped]

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.sigv4 import Keys
from modelberth.engine.stores.s3_reading import region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_AWS = re.compile(r"s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?")


def new_client(env: Mapping[str, str] = os.environ, **settings: str) -> Any:
    """Return a client for the endpoint, region and credentials that environment and profile name.

    :param env: Another environment than this process' own says all there is to say, and no profile anything.
    :raises Failure: They name something that is not there.
    """
    with _refusing():
        if env is not os.environ:
            return _stated_client(env, _config(**settings))
        session = boto3.session.Session()
        name = region() or session.region_name or "us-east-1"
        return session.client("s3", region_name=name, config=_config(**settings))


def _stated_client(env: Mapping[str, str], config: Config) -> Any:
    keys = [env.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
    stated = config.merge(Config(ignore_configured_endpoint_urls=True))
    name, endpoint = region(env) or "us-east-1", env.get("AWS_ENDPOINT_URL")
    return boto3.session.Session(*keys).client("s3", region_name=name, endpoint_url=endpoint, config=stated)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ValueError) as error:
        raise Failure(ExitCode.REFUSED, f"No S3 client could be made of this environment: {error}.") from error


def base_url(client: Any, bucket: str, env: Mapping[str, str] = os.environ) -> str:
    """Return what the URL of every object begins with: the client knows path style, endpoints and regions.

    Left to itself it presigns for AWS' global endpoint, which sends requests for other regions elsewhere.
    """
    if _AWS.fullmatch(urlsplit(client.meta.endpoint_url).hostname or ""):
        client = new_client(env, addressing_style="virtual", us_east_1_regional_endpoint="regional")
    with _refusing():
        url = str(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}))
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url.partition('/')[0]} is neither http nor https")
    return url.partition("?")[0].removesuffix("k")


def credentials(client: Any, bucket: str) -> Callable[[], Keys]:
    """Return what yields the client's keys, renewed when they are about to expire.

    :raises Failure: It has none.
    """
    found = client._request_signer._credentials
    if found is None:
        raise no_credentials(repr(f"s3://{bucket}"))

    def keys() -> Keys:
        try:
            frozen = found.get_frozen_credentials()
        except (CredentialRetrievalError, HTTPClientError, OSError) as error:
            raise _no_keys(ExitCode.UNREACHABLE, bucket, error) from error
        except (BotoCoreError, ClientError) as error:
            raise _no_keys(ExitCode.DENIED, bucket, error) from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    return keys


def _no_keys(code: ExitCode, bucket: str, error: Exception) -> Failure:
    return Failure(
        code,
        f"No keys for {f's3://{bucket}'!r} could be had: {error} Check the role, the trust that it has in this service "
        "account, and the way to the service that hands out its keys.",
    )


def no_credentials(name: str) -> Failure:
    """Return the failure that says so.

    :param name: What they are needed for.
    """
    return Failure(
        ExitCode.DENIED,
        f"No credentials for {name}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. A pod gets "
        "them from the Secret that pods.bucket_secret of the service's file names, or from a workload identity "
        "of its service account: create the one or the other.",
    )


def _config(**settings: str) -> Config:
    return Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=64,
        # Every body carries a checksum in a signed header: hashing it once more for the signature would cost a core.
        s3={"payload_signing_enabled": False, **settings},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
