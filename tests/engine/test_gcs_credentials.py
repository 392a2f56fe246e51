"""Who asks Google's store: the credentials that a machine or a person has, and what their end is told as."""

import json

import google.oauth2.credentials
import pytest

from drive_server import Drive
from modelberth.engine.stores.gcs import GcsStore


@pytest.fixture
def tokens(monkeypatch):
    """A server that hands out tokens, or refuses them with what ``refusal`` says."""
    server = Drive()
    given = server.token

    def token():
        status, said = server.refusal or (200, "")
        return given() if status == 200 else (status, {"Content-Type": "application/json"}, json.dumps(said).encode())

    server.refusal, server.token = None, token
    monkeypatch.setattr(google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{server.url}/token")
    yield server
    server.web.close()


@pytest.fixture
def asked(modelberth, tmp_path, bucket):
    """Runs ``list`` with the credentials of a file, against the real server of GCS."""

    def run(credentials):
        path = tmp_path / "credentials.json"
        path.write_text(json.dumps(credentials))
        modelberth.env = {"MODELBERTH_TERMINATION_LOG": str(tmp_path / "absent")}
        where = {
            "GOOGLE_APPLICATION_CREDENTIALS": str(path),
            "API_ENDPOINT_OVERRIDE": bucket.env["STORAGE_EMULATOR_HOST"],
        }
        return modelberth("list", bucket.url, **where)

    return run


pytestmark = pytest.mark.parametrize("bucket", ["gcs"], indirect=True)

PERSON = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "1//token"}


def test_a_persons_credentials_need_name_no_project(asked, tokens, bucket):
    ran = asked(PERSON)
    assert (ran.code, ran.result.get("problems")) == (0, None)
    assert tokens.tokens  # they were used


REFUSALS = {
    "an account that is gone": (
        400,
        {"error": "invalid_grant", "error_description": "Account not found"},
        25,
        "denied",
    ),
    "a client that is not known": (401, {"error": "invalid_client"}, 25, "denied"),
    "a server that is busy": (503, {"error": "server_error"}, 14, "unreachable"),
}


@pytest.mark.parametrize("who", ["a person", "a service account"])
@pytest.mark.parametrize(("status", "said", "code", "outcome"), REFUSALS.values(), ids=REFUSALS)
def test_a_token_that_is_refused_is_denied_and_one_that_cannot_be_had_now_is_not(
    asked, tokens, bucket, who, status, said, code, outcome
):
    tokens.refusal = (status, said)
    ran = asked(PERSON if who == "a person" else tokens.key())
    assert (ran.code, ran.result["outcome"]) == (code, outcome), ran.problem
    assert said["error"] in ran.problem


def test_a_metadata_server_that_does_not_answer_is_no_refusal(bucket):
    from google.auth.exceptions import RefreshError, TransportError

    from modelberth.core.failure import ExitCode, Failure

    store = GcsStore.__new__(GcsStore)
    store.url = bucket.parsed
    with pytest.raises(Failure) as raised, store.translated("k"):
        raise RefreshError("no") from TransportError("compute metadata")
    assert raised.value.code is ExitCode.UNREACHABLE
