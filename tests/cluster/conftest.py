"""A namespace, a claim and a receipts bucket of this session's own, on the environment that `make test` brings up."""

from __future__ import annotations

import base64
import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import serving
import yaml
from airflow.sdk import Variable
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from kubernetes import client, config
from settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from rollouts import Releases, Stand

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Make what the tests share, and take all of it away again."""
    settings, env = Settings(PROJECT), dict(os.environ)
    name = f"rollout-{uuid.uuid4().hex[:6]}"
    bucket = f"modelberth-receipts-{name}"
    s3 = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        aws_access_key_id=env["S3_ACCESS_KEY"],
        aws_secret_access_key=env["S3_SECRET_KEY"],
        region_name="us-east-1",
    )
    s3.create_bucket(Bucket=bucket)
    gcs = storage.Client("test", AnonymousCredentials(), client_options={"api_endpoint": env["GCS_ENDPOINT_URL"]})
    gcs_bucket = gcs.create_bucket(bucket)
    serving.serving_namespace(settings, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setattr(Variable, "keys", lambda **_: [])  # there is no Airflow to ask
        patch.setenv("STORAGE_EMULATOR_HOST", env["GCS_ENDPOINT_URL"])
        for key, connection in connections(env).items():
            patch.setenv(f"AIRFLOW_CONN_{key.upper()}", json.dumps(connection))
        try:
            apps = client.AppsV1Api(config.new_client_from_config(env["KUBECONFIG"]))
            claim = serving.volume_folder(settings, name)
            yield Stand(name, bucket, gcs_bucket.name, claim, env["SERVER_IMAGE"], apps, s3)
        finally:
            serving.delete_namespace(settings, name)
            for one in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=one["Key"])
            s3.delete_bucket(Bucket=bucket)
            gcs_bucket.delete(force=True)


def connections(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the connections of these tests; the cluster is used with Airflow's own rights."""
    endpoint = {"endpoint_url": env["S3_ENDPOINT_URL"], "region_name": "us-east-1"}
    keys = {"login": env["S3_ACCESS_KEY"], "password": env["S3_SECRET_KEY"]}
    silent = endpoint | {"endpoint_url": "http://127.0.0.1:9"}
    seed = base64.b64encode(os.urandom(32)).decode()
    return {
        "test_receipts": {"conn_type": "aws", **keys, "extra": json.dumps(endpoint)},
        "test_wrong": {"conn_type": "aws", "login": "me", "password": "wrong", "extra": json.dumps(endpoint)},
        "test_silent": {"conn_type": "aws", **keys, "extra": json.dumps(silent)},
        "test_gcs": {"conn_type": "google_cloud_platform", "extra": json.dumps({"is_anonymous": True, "project": "t"})},
        "test_kubernetes": {
            "conn_type": "kubernetes",
            "extra": json.dumps({"kube_config_path": env["AIRFLOW_KUBECONFIG"]}),
        },
        "test_nowhere": {"conn_type": "kubernetes", "extra": json.dumps({"kube_config": nowhere(env)})},
        "modelberth_signing": {"conn_type": "generic", "password": seed},
    }


def nowhere(env: dict[str, str]) -> str:
    """Return Airflow's kubeconfig with an address where nobody listens."""
    document = yaml.safe_load(Path(env["AIRFLOW_KUBECONFIG"]).read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    return json.dumps(document)


@pytest.fixture
def release(stand: Stand) -> Iterator[Releases]:
    """A maker of releases to a workload of the test's own."""
    made = Releases(stand, f"m-{uuid.uuid4().hex[:6]}")
    yield made
    stand.remove(made.name)
