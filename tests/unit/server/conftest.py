"""Builders: the real model in both forms, snapshots of it, and the server as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest
from blake3 import blake3

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.ready import Ready
from modelberth.core.revision import Revision, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

LOADING = "The model is being loaded."
PROJECT = Path(__file__).parents[3]
SERVER = PROJECT / "include/images/server"

# Neither is a package of the project: one is an image's program, the other a script.
sys.path.extend([str(SERVER), str(PROJECT / "include/local")])


@pytest.fixture(scope="session")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _model(tmp_path_factory, "fp32")


@pytest.fixture(scope="session")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _model(tmp_path_factory, "int8")


def _model(factory: pytest.TempPathFactory, form: str) -> Path:
    import minilm

    directory = factory.mktemp("model") / form
    minilm.put_model(directory, form)
    return directory


def _publish(claim: Path, model: Path) -> Path:
    """Publish *model* on *claim* as the engine does; its files are links: replace them, never write into them."""
    files = [_entry(path, path.relative_to(model).as_posix()) for path in model.rglob("*") if path.is_file()]
    manifest = Manifest.of(files, empty_dirs=[])
    revision = Revision("minilm", manifest.digest)
    snapshot = claim / revision.model / str(Snapshot(revision.digest, 1))
    shutil.copytree(model, snapshot / "files", copy_function=os.link)
    (snapshot / "manifest.json").write_bytes(manifest.dump())
    (snapshot / "READY.json").write_bytes(Ready(revision, "0" * 32, "2026-01-01T00:00:00Z", {}).dump())
    return snapshot


def _entry(file: Path, path: str) -> Entry:
    data = file.read_bytes()
    chunks = (data[start : start + CHUNK_SIZE] for start in range(0, len(data), CHUNK_SIZE))
    return Entry(path, len(data), tuple(blake3(chunk).digest() for chunk in chunks))


@pytest.fixture
def snapshot(tmp_path: Path, fp32: Path) -> Path:
    return _publish(tmp_path / "claim", fp32)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, fp32: Path) -> Iterator[RunningServer]:
    """A server of the float32 form, ready, for all tests that only ask."""
    yield from _serve(tmp_path_factory.mktemp("server"), fp32)


@pytest.fixture(scope="session")
def int8_server(tmp_path_factory: pytest.TempPathFactory, int8: Path) -> Iterator[RunningServer]:
    """The same of the int8 form."""
    yield from _serve(tmp_path_factory.mktemp("server"), int8)


def _serve(directory: Path, model: Path) -> Iterator[RunningServer]:
    snapshot = _publish(directory / "claim", model)
    server = RunningServer({"MODEL_PATH": str(snapshot / "files")}, directory / "log")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.close()


class RunningServer:
    """A server process that listens on a port of its own choice."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._log = log
        defaults = {"PYTHONPATH": str(SERVER), "OPENBLAS_NUM_THREADS": "1", "HOST": "127.0.0.1", "PORT": "0"}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server"],
                env=defaults | {"DRAIN_SECONDS": "0"} | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @cached_property
    def url(self) -> str:
        """Where it listens, once it does."""
        return wait_for(self._listening)

    def _listening(self) -> str | None:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log())
        assert found or self.process.poll() is None, self.log()
        return found[0] if found else None

    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, Any]:
        answer = httpx.get(self.url + path)
        return answer.status_code, answer.json()

    def post(self, body: bytes) -> tuple[int, Any]:
        answer = httpx.post(f"{self.url}/embed", content=body, headers={"content-type": "application/json"})
        return answer.status_code, answer.json()

    def embed(self, text: str) -> tuple[int, Any]:
        return self.post(json.dumps({"text": text}).encode())

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.get("/healthz")[0] == 200)

    def wait_until_failed(self) -> str:
        """Return why the model was not loaded."""
        reason: str = wait_for(lambda: (said := self.get("/healthz")[1]["reason"]) != LOADING and said)
        return reason

    def wait_until_it_handles_sigterm(self) -> None:
        status = Path(f"/proc/{self.process.pid}/status")
        wait_for(lambda: int(re.search(r"SigCgt:\s+(\w+)", status.read_text())[1], 16) >> (signal.SIGTERM - 1) & 1)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_for(poll: Callable[[], T | None], timeout: float = 30) -> T:
    """Return what *poll* returns once it is true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if found := poll():
            return found
        time.sleep(0.02)
    raise TimeoutError(f"not true within {timeout} s")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers that end with the test; the arguments are their environment."""
    servers: list[RunningServer] = []

    def starter(**environment: str) -> RunningServer:
        servers.append(RunningServer(environment, tmp_path / f"server-{len(servers)}.log"))
        return servers[-1]

    yield starter
    for server in servers:
        server.close()
