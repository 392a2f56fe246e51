"""Catalogs of many models: their sources on real servers, and the connections to them."""

from __future__ import annotations

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import yaml
from peers import RCLONE
from servers import KEY, SECRET, served

PROJECT = Path(__file__).parents[2]
sys.path.append(str(PROJECT / "tests/support"))

from mlflow_server import mlflow_server  # noqa: E402
from real_servers import free_port, started, stopped  # noqa: E402
from store_servers import gcs_server  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Server

    from mlflow_server import Mlflow

    Source = dict[str, Any]
    Put = Callable[[str], Source]
    """Brings the files of a model to a server, and returns the model's ``source``."""

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{}"}
RAW, RECEIPTS = "raw", "receipts"


def written(root: Path, sources: dict[str, Source]) -> Path:
    """Write a catalog of models by name, each with a service of its own."""
    model = yaml.safe_load((PROJECT / "include/models/minilm.yaml").read_text())
    service = yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text())
    model["receipts"]["url"] = f"s3://{RECEIPTS}/receipts"
    for folder in ("models", "services"):
        (root / folder).mkdir(parents=True)
    for name, source in sources.items():
        theirs = {
            "workload": {"kind": "Deployment", "name": name},
            "bindings": [service["bindings"][0] | {"model": name}],
        }
        (root / f"models/{name}.yaml").write_text(yaml.safe_dump(model | {"source": source}))
        (root / f"services/{name}.yaml").write_text(yaml.safe_dump(service | theirs))
    return root


@contextmanager
def places(home: Path) -> Iterator[tuple[list[Put], dict[str, str]]]:
    """Run servers that models come from: of ten, seven from S3, one each from GCS, the web, and MLflow with S3.

    :returns: What brings a model to each, and the Airflow connections as environment.
    """
    for folder in ("gcs", "web", "mlflow"):
        (home / folder).mkdir(parents=True)
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with (
        served(home / "s3") as s3,
        gcs_server(home / "gcs") as gcs,
        _web(home) as web,
        mlflow_server(home / "mlflow", s3.http, keys) as mlflow,
    ):
        for bucket in (RAW, RECEIPTS):
            s3.create_bucket(bucket)
        _posted(f"{gcs}/storage/v1/b?project=bench", json.dumps({"name": RAW}).encode())
        others = [partial(_in_gcs, gcs), partial(_on_the_web, web, home / "web"), partial(_in_mlflow, s3, mlflow)]
        yield [partial(_in_s3, s3)] * 7 + others, _connections(s3, mlflow) | {"STORAGE_EMULATOR_HOST": gcs}


def put(puts: list[Put], count: int) -> dict[str, Source]:
    """Bring *count* models to their places; return their sources by name."""
    names = [f"model-{number:04}" for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        sources = pool.map(lambda number: puts[number % len(puts)](names[number]), range(count))
        return dict(zip(names, sources, strict=True))


@contextmanager
def _web(home: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    words = [
        str(RCLONE),
        "serve",
        "http",
        str(home / "web"),
        "--dir-cache-time",
        "0s",
        "--addr",
        url.removeprefix("http://"),
    ]
    process = started(words, url, home / "web.log")
    yield url
    stopped(process)


def _in_s3(server: Server, name: str) -> Source:
    for path, data in FILES.items():
        server.client().put_object(Bucket=RAW, Key=f"{name}/{path}", Body=data)
    return {"type": "s3", "url": f"s3://{RAW}/{name}", "connection": "raw_s3"}


def _in_gcs(url: str, name: str) -> Source:
    for path, data in FILES.items():
        _posted(f"{url}/upload/storage/v1/b/{RAW}/o?uploadType=media&name={name}/{path}", data)
    return {"type": "gcs", "url": f"gs://{RAW}/{name}", "connection": "raw_gcs"}


def _on_the_web(url: str, folder: Path, name: str) -> Source:
    (folder / name).mkdir()
    for path, data in FILES.items():
        (folder / name / path).write_bytes(data)
    return {"type": "http", "url": f"{url}/{name}", "files": list(FILES)}


def _in_mlflow(server: Server, mlflow: Mlflow, name: str) -> Source:
    mlflow.register(name)
    mlflow.version(name, _in_s3(server, name)["url"])
    return {"type": "mlflow", "model": name, "connection": "tracking", "artifacts": "raw_s3"}


def _posted(url: str, data: bytes) -> None:
    urlopen(Request(url, data, {"Content-Type": "application/json"})).close()  # noqa: S310 - a server of ours


def _connections(s3: Server, mlflow: Mlflow) -> dict[str, str]:
    """Return the connections as Airflow reads them from the environment."""
    extra = {"endpoint_url": s3.http, "region_name": "us-east-1"}
    aws = {"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra}
    said = {
        **dict.fromkeys(("raw_s3", "modelberth_s3", "modelberth_receipts"), aws),
        "raw_gcs": {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "bench"}},
        "tracking": mlflow.connection,
        "modelberth_signing": {"conn_type": "generic", "password": base64.b64encode(bytes(32)).decode()},
    }
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(one) for name, one in said.items()}
