"""The key ``stage`` of a service's file: what it may say, and what is said of what it may not."""

import shutil
from pathlib import Path

import pytest
import yaml

from modelberth.catalog import load

PROJECT = Path(__file__).parents[3]
STAGE = {
    "registry": {"type": "mlflow", "connection": "mlflow"},
    "bucket": {"url": "s3://models/registry", "connection": "s3"},
    "receipts": {"url": "s3://evidence/receipts", "connection": "receipts"},
}


@pytest.fixture
def service(tmp_path):
    """Writes the project's service with a changed ``stage``; returns the catalog."""
    for folder in ("models", "services"):
        shutil.copytree(PROJECT / "include" / folder, tmp_path / folder)
    path = tmp_path / "services/embedder.yaml"
    ours = yaml.safe_load(path.read_text())

    def make(**changes):
        stage = {key: value for key, value in (STAGE | changes).items() if value is not None}
        path.write_text(yaml.safe_dump(ours | {"stage": stage}))
        return load(tmp_path)

    return make


def test_one_registry_needs_no_list_and_the_interval_has_a_default(service):
    stage = service().services["embedder"].stage
    assert [one.type for one in stage.registry] == ["mlflow"]
    assert stage.every == 3600


def test_a_service_may_have_several_registries_of_all_kinds(service):
    kinds = [
        {"type": "mlflow", "connection": "m", "artifacts": "a", "tags": {"service": "chat"}, "secret": "reader"},
        {"type": "s3", "url": "s3://bucket/registry", "connection": "s3", "identity": True},
        {"type": "gcs", "url": "gs://bucket/registry", "connection": "google"},
        {"type": "drive", "item": "1AbC", "connection": "drive", "resource_key": "0-k"},
    ]
    stage = service(registry=kinds).services["embedder"].stage
    assert [one.type for one in stage.registry] == ["mlflow", "s3", "gcs", "drive"]


def test_staging_is_nothing_that_a_service_must_have(service):
    service()
    assert load(PROJECT / "include").services["embedder"].stage is None


REFUSED = {
    "no registry": ({"registry": None}, "stage.registry: the key 'registry' is missing"),
    "an empty list": ({"registry": []}, "stage.registry"),
    "an unknown kind": ({"registry": {"type": "ftp"}}, "expected one of: mlflow, s3, gcs, drive; got 'ftp'"),
    "no connection": ({"registry": {"type": "mlflow"}}, "connection"),
    "a tag that is none": (
        {"registry": {"type": "mlflow", "connection": "m", "tags": {"a b": "c"}}},
        "expected the key of a tag, such as service; got 'a b'",
    ),
    "another store's URL": (
        {"registry": {"type": "s3", "url": "gs://bucket", "connection": "c"}},
        "expected s3://bucket/prefix",
    ),
    "Drive as the pod itself": (
        {"registry": {"type": "drive", "item": "x", "connection": "c", "identity": True}},
        "identity is not for Drive",
    ),
    "receipts where pods write": (
        {"receipts": {"url": "s3://models/registry/receipts", "connection": "c"}},
        "lies in bucket.url, where pods may write",
    ),
    "an interval of seconds": ({"every": 1}, "stage.every"),
    "an unknown key": ({"paused": True}, "unknown key 'paused'; expected one of: registry, bucket, receipts, every"),
}


@pytest.mark.parametrize(("changes", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_said_with_its_line(service, changes, problem):
    [said] = service(**changes).problems["embedder"]
    assert said.partition(": ")[0].startswith(f"{Path(said.split()[0])} line")
    assert problem in said
