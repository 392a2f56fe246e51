"""A real MLflow tracking server whose artifacts may be in S3; asked by its own client, or over REST."""

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from real_servers import ENDS_WITH_US, free_port, started, stopped

PYTHON = Path(__file__).parents[2] / ".local/mlflow/bin/python"


@dataclass(frozen=True)
class Mlflow:
    """A tracking server and the environment of its client."""

    url: str
    environment: tuple[str, ...]

    @property
    def connection(self):
        """What an Airflow connection to it says."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return {"conn_type": "http", "schema": "http", "host": host, "port": int(port)}

    def client(self, script, *words):
        """Run *script* where MLflow's own client is; it finds the server's address first among its arguments."""
        command = [*ENDS_WITH_US, *self.environment, str(PYTHON), "-c", script, self.url, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def ask(self, path, method="POST", **body):
        """Do what a person does in the UI, such as ``registered-models/create``."""
        request = Request(f"{self.url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), method=method)  # noqa: S310 - our own
        request.add_header("Content-Type", "application/json")
        with urlopen(request) as answer:  # noqa: S310 - our own server
            return json.loads(answer.read() or b"{}")

    def register(self, model, tags=None):
        """Make a registered model."""
        self.ask("registered-models/create", name=model, tags=_pairs(tags or {}))

    def version(self, model, source, tags=None):
        """Make the model's next version, of what lies at *source*, and return its number."""
        made = self.ask("model-versions/create", name=model, source=source, tags=_pairs(tags or {}))
        return str(made["model_version"]["version"])

    def tag(self, model, key, value):
        """Set a tag of a registered model."""
        self.ask("registered-models/set-tag", name=model, key=key, value=value)


def _pairs(tags):
    return [{"key": key, "value": value} for key, value in tags.items()]


@contextmanager
def mlflow_server(home, s3_endpoint, keys):
    """Start a server whose own files are in *home*."""
    assert PYTHON.exists(), "no tracking server: run 'make .local/mlflow/.installed'"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    more = {**keys, "MLFLOW_S3_ENDPOINT_URL": s3_endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    more |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = ("env", *(f"{name}={value}" for name, value in more.items()))
    command = [*environment, str(PYTHON), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    stores = ["--backend-store-uri", f"sqlite:///{home}/db", "--artifacts-destination", str(home / "artifacts")]
    process = started([*command, "--workers", "1", *stores], f"{url}/health", home / "log", seconds=180)
    try:
        yield Mlflow(url, environment)
    finally:
        stopped(process)
