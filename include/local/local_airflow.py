"""Airflow on this machine: its configuration, its database, its connections, its users.

One state folder (``home``) is one Airflow, so the demo's and each test run's stand beside each other::

    <home>/airflow.db, airflow.cfg, logs/
    <home>/passwords.json          the users' passwords, made here
    <home>/connections.json        what was imported last, to import again only when it changed
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervise import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parents[2]
PROCESSES = {
    "scheduler": ("scheduler", "--skip-serve-logs"),  # logs are read from the disk; no port is open beyond this machine
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "api-server": ("api-server",),  # last: it knows whether the others work
}
"""What ``airflow standalone`` starts, one by one: it neither notices the death of one of them nor ends them all."""

USERS = {"admin": "admin", "alice": "user", "bob": "user", "vera": "viewer"}
"""Name to role. Alice approves (include/services/embedder.yaml), Bob may answer other gates, Vera looks."""

SETTINGS: Mapping[str, object] = {
    "CORE__LOAD_EXAMPLES": False,
    "CORE__EXECUTOR": "LocalExecutor",
    "CORE__PARALLELISM": 8,
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
    "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
    "API__HOST": "127.0.0.1",
    "API__WORKERS": 1,
    "LOGGING__COLORED_CONSOLE_LOG": False,
    # Idle sleep and intervals are what a small chain mostly waits for: docs/benchmarks.md.
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
    # A worker may notice the end of a deferred leg this much too late. When the next leg has begun by then,
    # the scheduler takes it for lost and tries again: pods as short as ours meet that at the default of 5 s.
    "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
    "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 5,
}
"""What every Airflow of this machine has in its configuration, by section and key."""

BUCKET_CONNECTIONS = {"s3": "modelberth_s3", "gs": "modelberth_gcs"}
"""By the scheme of its URL, the connection that may use the models' bucket."""

REGION = "us-east-1"


@dataclass(frozen=True)
class LocalAirflow:
    """One Airflow of this machine.

    :param home: Its state folder.
    :param port: Where its API server and UI listen, on 127.0.0.1.
    :param catalog: The folder that holds ``models/`` and ``services/``.
    :param more: What is added to the environment of its processes, such as ``clouds`` returns.
    """

    home: Path
    port: int
    catalog: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Root of the UI and the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each of USERS."""
        return dict(json.loads((self.home / "passwords.json").read_text()))

    def environment(self) -> dict[str, str]:
        """Return the environment that makes any ``airflow`` command speak of this Airflow."""
        settings = {
            **SETTINGS,
            "CORE__DAGS_FOLDER": PROJECT / "dags",
            "CORE__PLUGINS_FOLDER": PROJECT / "plugins",
            # SQLite has one writer at a time: at its default of 5 s, who waits longer on a busy machine dies of it.
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home.absolute()}/airflow.db?timeout=60",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.home / "passwords.json",
            "API__PORT": self.port,
            "API__BASE_URL": self.url,
        }
        return {
            **self.more,
            **{f"AIRFLOW__{key}": str(value) for key, value in settings.items()},
            "AIRFLOW_HOME": str(self.home),
            "MODELBERTH_CATALOG": str(self.catalog),
            # The programs call each other by name, and a task starts `modelberth`.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def prepare(self, connections: dict[str, dict[str, Any]]) -> None:
        """Bring database, users and connections into being; quick when they are."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._keep_passwords()
        if not (self.home / "airflow.db").exists():
            self._run("db", "migrate")
        imported = self.home / "connections.json"
        text = json.dumps(connections, indent=1, sort_keys=True)
        if not imported.exists() or imported.read_text() != text:
            wanted = _private(imported.with_name("connections.wanted.json"), text)
            self._run("connections", "import", "--overwrite", str(wanted))
            wanted.replace(imported)

    def parts(self) -> list[Part]:
        """Return the processes to supervise, in the order of their start."""
        program = str(Path(sys.executable).with_name("airflow"))
        answers = (sys.executable, str(Path(__file__).with_name("airflow_ready.py")), self.url)
        return [
            Part(
                name=f"airflow-{name}",
                command=(program, *words),
                ready=answers if name == "api-server" else ("true",),
                within=120,
                environment=self.environment(),
                folder=PROJECT,
            )
            for name, words in PROCESSES.items()
        ]

    def _keep_passwords(self) -> None:
        if not (self.home / "passwords.json").exists():
            _private(self.home / "passwords.json", json.dumps({name: secrets.token_urlsafe(9) for name in USERS}))

    def _run(self, *words: str) -> None:
        env = os.environ | self.environment()
        done = subprocess.run(["airflow", *words], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(
                f"'airflow {' '.join(words[:2])}' failed for {self.home} (exit {done.returncode}): {said}"
            )


def connections(env: dict[str, str], signing_seed: bytes) -> dict[str, dict[str, Any]]:
    """Return the connections that the catalog names, for the servers that *env* (.local/env) names.

    :param signing_seed: The 32 bytes of the Ed25519 key that receipts are signed with.
    """
    kube_config = Path(env["AIRFLOW_KUBECONFIG"]).read_text()
    return {
        BUCKET_CONNECTIONS[scheme(env["BUCKET_URL"])]: store_connection(env["BUCKET_URL"], env),
        "modelberth_receipts": store_connection(env["RECEIPTS_URL"], env),
        "modelberth_kubernetes": {"conn_type": "kubernetes", "extra": json.dumps({"kube_config": kube_config})},
        "modelberth_signing": {"conn_type": "generic", "password": base64.b64encode(signing_seed).decode()},
    }


def store_connection(url: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the connection that reaches *url* with what *env* gives.

    url     | endpoint given | connection
    --------+----------------+---------------------------------------------------------------
    s3://   | yes            | aws, the keys, that endpoint
    s3://   | no             | aws, the keys, AWS' own endpoint
    gs://   | yes            | google, without credentials: an emulator, found by ``clouds``
    gs://   | no             | google, with the application default credentials of this machine
    """
    if scheme(url) == "gs":
        extra: dict[str, Any] = {"is_anonymous": True, "project": "modelberth"} if "GCS_ENDPOINT_URL" in env else {}
        return {"conn_type": "google_cloud_platform", "extra": json.dumps(extra)}
    endpoint = {"endpoint_url": env["S3_ENDPOINT_URL"]} if "S3_ENDPOINT_URL" in env else {}
    return {
        "conn_type": "aws",
        "login": env["S3_ACCESS_KEY"],
        "password": env["S3_SECRET_KEY"],
        "extra": json.dumps({**endpoint, "region_name": env.get("AWS_REGION", REGION)}),
    }


def clouds(env: Mapping[str, str]) -> dict[str, str]:
    """Return what Airflow's processes need in their environment for the buckets of *env*: nothing for S3."""
    if "gs" not in (scheme(env["BUCKET_URL"]), scheme(env["RECEIPTS_URL"])):
        return {}
    same = "GOOGLE_APPLICATION_CREDENTIALS"
    names = {"STORAGE_EMULATOR_HOST": "GCS_ENDPOINT_URL", same: same}
    return {variable: env[name] for variable, name in names.items() if name in env}


def scheme(url: str) -> str:
    """Return ``s3`` or ``gs``."""
    return url.partition("://")[0]


def signing_seed(path: Path) -> bytes:
    """Return the signing key kept at *path*; made there when there is none."""
    if not path.exists():
        _private(path, secrets.token_hex(32))
    return bytes.fromhex(path.read_text())


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
    return path
