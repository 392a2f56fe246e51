"""An Airflow connection as the environment that the clouds' own tools, and our program, read."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelberth.catalog import Store

_OURS = ("AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "AIRFLOW")


@contextmanager
def environment(store: Store) -> Iterator[dict[str, str]]:
    """Yield the environment in which a child process may use *store*.

    It holds the credentials of the store's connection and no others, and nothing of Airflow's own configuration,
    which has secrets of its own. A file in it exists until the block ends.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    provide = {"s3": _aws, "gs": _google}[store.scheme]
    with provide(store.connection) as credentials:
        yield inherited | {name: value for name, value in credentials.items() if value}


@contextmanager
def _aws(connection: str) -> Iterator[dict[str, str | None]]:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook(aws_conn_id=connection)
    keys = hook.get_credentials()
    yield {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
        "AWS_ENDPOINT_URL": hook.conn_config.get_service_endpoint_url("s3"),
        "AWS_REGION": hook.region_name,
    }


@contextmanager
def _google(connection: str) -> Iterator[dict[str, str | None]]:
    from airflow.providers.google.cloud.hooks.gcs import GCSHook

    with GCSHook(gcp_conn_id=connection).provide_gcp_credential_file_as_context() as path:
        yield {
            "GOOGLE_APPLICATION_CREDENTIALS": path or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"),
            "STORAGE_EMULATOR_HOST": os.environ.get("STORAGE_EMULATOR_HOST"),
        }
