"""The one way to a cluster: requests with a time-out, through the client that the provider's hook builds.

Objects are plain JSON: what a JSON patch tests must be exactly what was read.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modelberth.core.confirm import LONGEST_ANSWER, Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 20
"""Seconds."""

Document = dict[str, Any]

_PLURAL = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
_LOADING = threading.Lock()
"""The hook loads a connection by way of the client library's global default: two clusters at once would mix."""


class ClusterUnreachableError(Exception):
    """The API server did not answer, or said that it cannot now. Trying again may help."""


class ClusterRefusedError(Exception):
    """The API server said no. Trying again does not help."""


class ForbiddenError(ClusterRefusedError):
    """The connection has not the right, or is not known. An API server that has just started says so of everybody."""


class ObjectMissingError(ClusterRefusedError):
    """There is no such object."""


class ObjectChangedError(Exception):
    """A patch's test failed, or its result is not allowed: look again at what is there."""


class Cluster:
    """One cluster, as one Airflow connection may use it."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self._client = _client(connection)

    def get(self, path: str) -> Document:
        """Return the object or list at *path*."""
        document: Document = json.loads(self._request("GET", path))
        return document

    def patch(self, path: str, operations: Sequence[Document]) -> Document:
        """Apply the JSON patch *operations* to the object at *path* and return it as it is then.

        :raises ObjectChangedError: A test among *operations* failed.
        """
        document: Document = json.loads(self._request("PATCH", path, list(operations)))
        return document

    def create(self, path: str, document: Document) -> Document:
        """Create *document* below *path* and return it as it is then.

        :raises ObjectChangedError: There is one of that name already.
        """
        made: Document = json.loads(self._request("POST", path, document))
        return made

    def delete(self, path: str) -> None:
        """Begin to delete the object at *path*, if it is there."""
        with suppress(ObjectMissingError):
            self._request("DELETE", path)

    def text(self, path: str) -> str:
        """Return the text at *path*, such as a pod's log."""
        return self._request("GET", path).decode(errors="replace")

    def ask(self, path: str, body: Any = None) -> Answer:
        """Return what a pod answers through the API server's proxy: POST with a *body*, GET without one.

        Of a longer answer no more than a little over ``LONGEST_ANSWER`` is read: it is not for us.
        """
        from kubernetes.client import ApiException  # type: ignore[import-untyped]
        from urllib3.exceptions import HTTPError

        try:
            return self._send("GET" if body is None else "POST", path, body, LONGEST_ANSWER + 1)
        except ApiException as error:
            if error.status == 403 and _is_status(error.body):
                raise _refusal(error, "GET", path, self.connection) from error
            return Answer(error.status or 0, str(error.body or error.reason).encode())
        except HTTPError as error:
            return Answer(0, type(error).__name__.encode())

    def _request(self, method: str, path: str, body: Any = None) -> bytes:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._send(method, path, body).body
        except ApiException as error:
            raise _refusal(error, method, path, self.connection) from error
        except HTTPError as error:
            raise ClusterUnreachableError(
                f"Cluster of connection {self.connection!r} did not answer: {type(error).__name__} on {method} {path}."
            ) from error

    def _send(self, method: str, path: str, body: Any, most: int | None = None) -> Answer:
        kind = "application/json-patch+json" if method == "PATCH" else "application/json"
        response = self._client.call_api(
            path,
            method,
            header_params={"Accept": "*/*", "Content-Type": kind},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
        )
        try:
            return Answer(response.status, response.read(most))
        finally:
            response.close()  # a connection whose answer was read to its end is kept by now


def workload_path(namespace: str, kind: str, name: str) -> str:
    """Return where the API server has a workload."""
    return f"/apis/apps/v1/namespaces/{namespace}/{_PLURAL[kind]}/{name}"


def _client(connection: str) -> Any:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    with _LOADING:
        return KubernetesHook(kubernetes_conn_id=connection).get_conn()


def _refusal(error: Any, method: str, path: str, connection: str) -> Exception:
    """Return what the API server's error means to us.

    status             | is
    -------------------+------------------------
    401, 403           | ForbiddenError
    404                | ObjectMissingError
    409, 422           | ObjectChangedError
    429, 500 and above | ClusterUnreachableError
    else               | ClusterRefusedError
    """
    said = f"{method} {path} with connection {connection!r}: {error.status} {error.reason}. {_message(error.body)}"
    if error.status == 404:
        return ObjectMissingError(f"Not found: {said}")
    if error.status in (401, 403):
        return ForbiddenError(f"Refused: {said}")
    if error.status in (409, 422):
        return ObjectChangedError(f"Not applied: {said}")
    if error.status == 429 or error.status >= 500:
        return ClusterUnreachableError(f"Not answered: {said}")
    return ClusterRefusedError(f"Refused: {said}")


def _message(body: str | None) -> str:
    """Return the API server's own sentence; of anything else nothing, since it may hold a secret."""
    try:
        status = json.loads(body or "")
    except ValueError:
        return ""
    return str(status.get("message", "")) if isinstance(status, dict) and status.get("kind") == "Status" else ""


def _is_status(body: str | None) -> bool:
    return bool(_message(body))
