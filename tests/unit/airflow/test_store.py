"""The object store's client: built once for a connection, and again when the connection is another."""

import json

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from modelberth.receipts.store import open_store


@pytest.fixture
def connect(monkeypatch):
    """Gives the connection *kept* a login."""

    def give(login):
        extra = json.dumps({"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"})
        connection = {"conn_type": "aws", "login": login, "password": "secret-key", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_KEPT", json.dumps(connection))

    return give


def credentials():
    return open_store("s3://bucket/prefix", "kept")._client._request_signer._credentials.access_key


def test_stores_of_one_connection_share_a_client(connect):
    connect("first-key")
    assert open_store("s3://bucket/a", "kept")._client is open_store("s3://other/b", "kept")._client


def test_a_connection_that_was_changed_is_used_as_it_is_now(connect):
    connect("first-key")
    assert credentials() == "first-key"
    connect("second-key")
    assert credentials() == "second-key"


def test_a_connection_that_is_not_there_is_not_replaced_by_the_workers_own_rights():
    with pytest.raises(AirflowNotFoundException):
        open_store("s3://bucket/a", "nobody-made-it")
