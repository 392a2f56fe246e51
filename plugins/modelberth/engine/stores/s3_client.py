"""AWS' own client: for writing, and for whatever of endpoints and credentials an environment alone does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.sigv4 import Keys
from modelberth.engine.stores.s3_reading import region

if TYPE_CHECKING:
    from collections.abc import Callable


def new_client() -> Any:
    """Return a client for the endpoint, region and credentials that environment and profile name.

    :raises Failure: They name something that is not there.
    """
    try:
        session = boto3.session.Session()
        return session.client("s3", region_name=region() or session.region_name or "us-east-1", config=_config())
    except (BotoCoreError, ValueError) as error:
        raise Failure(ExitCode.REFUSED, f"No S3 client could be made of this environment: {error}.") from error


def base_url(client: Any, bucket: str) -> str:
    """Return what the URL of every object begins with: the client knows path style, endpoints and regions."""
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    return str(url).partition("?")[0].removesuffix("k")


def credentials(client: Any, bucket: str) -> Callable[[], Keys]:
    """Return what yields the client's keys, renewed when they are about to expire.

    :raises Failure: It has none.
    """
    found = client._request_signer._credentials
    if found is None:
        raise no_credentials(repr(f"s3://{bucket}"))

    def keys() -> Keys:
        frozen = found.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    return keys


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


def _config() -> Config:
    return Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=64,
        # Every body carries a checksum in a signed header: hashing it once more for the signature would cost a core.
        s3={"payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
