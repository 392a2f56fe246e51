"""The S3 server that all contenders use, over HTTP and TLS, on loopback or behind a link of a known rate."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from collections.abc import Iterator

WEED = Path(sys.executable).with_name("weed")
LOOPBACK = "127.0.0.1"
KEY, SECRET = "bench", "bench-secret"
LINK_RATE = 400_000_000
"""Bytes a second, headers of Ethernet, IP and TCP included."""

_ORPHANS_DIE = ("setpriv", "--pdeathsig", "KILL")  # even when this program is killed
_NAMESPACE = "modelberth-bench-"
_HERE, _THERE = "10.231.77.1", "10.231.77.2"


@dataclass(frozen=True)
class Server:
    """A running SeaweedFS.

    :param http: Its URL. :param https: The same over TLS, with a certificate of its own.
    :param home: Where its data and its certificate are.
    """

    http: str
    https: str
    home: Path
    pid: int

    def env(self, url: str) -> dict[str, str]:
        """Return what tells a contender where *url* is, and to trust it."""
        certificate = str(self.home / "tls.crt")
        return {
            "AWS_ENDPOINT_URL": url,
            "S3_ENDPOINT_URL": url,  # s5cmd knows only this name
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CA_BUNDLE": certificate,
            "SSL_CERT_FILE": certificate,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "*",
        }

    def cpu(self) -> float:
        """Return the seconds of processor time that it took so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def create_bucket(self, name: str) -> None:
        """Make a bucket, and let the server make its volumes now: else the first upload waits for that, up to 5 s."""
        self.client().create_bucket(Bucket=name)
        self.client().put_object(Bucket=name, Key="first", Body=b"first")

    def empty_bucket(self, name: str) -> None:
        """Delete a bucket with what is in it, which frees its memory at once, and make it again."""
        self.client().delete_bucket(Bucket=name)
        self.create_bucket(name)

    def refuse_less(self, name: str, size: int) -> None:
        """:raises RuntimeError: A bucket holds fewer bytes: a contender said that it did what it did not."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=name)
        if (found := sum(item["Size"] for page in pages for item in page.get("Contents", []))) < size:
            raise RuntimeError(f"Bucket {name!r} should hold {size} bytes, but has {found}.")

    def client(self):
        """Return a new client of it."""
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.http, **keys)


@contextmanager
def served(home: Path, address: str = LOOPBACK, before: tuple[str, ...] = ()) -> Iterator[Server]:
    """Run a server with its data in *home*, reached at *address*.

    :param before: Words before its own: what enters another network namespace.
    """
    home.mkdir(parents=True)
    _make_certificate(home, address)
    identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
    (home / "s3.json").write_text(
        json.dumps({"identities": [identity | {"actions": ["Admin", "Read", "Write", "List"]}]})
    )
    ports = {name: _free_port() for name in ("master", "volume", "filer", "s3", "s3.port.https")}
    words = [
        *_ORPHANS_DIE, *before, WEED, "server", f"-dir={home}", f"-ip={address}", f"-ip.bind={address}", "-filer",
        "-s3", f"-s3.config={home / 's3.json'}",
        f"-s3.cert.file={home / 'tls.crt'}", f"-s3.key.file={home / 'tls.key'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-master.electionTimeout=1s",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0",
        *(f"-{name}={port}" if "." in name else f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    server = Server(f"http://{address}:{ports['s3']}", f"https://{address}:{ports['s3.port.https']}", home, process.pid)
    try:
        _wait_for(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGKILL)  # SeaweedFS takes its time to end; nothing of it is kept
        process.wait()
        subprocess.run(["rm", "-rf", home], check=True)


@contextmanager
def served_over_link(home: Path) -> Iterator[Server]:
    """Run a server that sends at most LINK_RATE: in a network namespace, behind a token bucket.

    A bucket of 1 MiB lets whole segments pass; the queue is long enough (20 ms) that nothing is dropped in between.
    """
    name = f"{_NAMESPACE}{os.getpid()}"
    for left in Path("/run/netns").glob(f"{_NAMESPACE}*"):  # of runs that were killed
        if not Path("/proc", left.name.removeprefix(_NAMESPACE)).exists():
            _ip("netns", "delete", left.name)
    inside = ("ip", "netns", "exec", name)
    pair = ("link", "add", f"berth{os.getpid()}", "type", "veth", "peer", "name", "far", "netns", name)
    _ip("netns", "add", name)
    try:
        _ip(*pair)
        _ip("addr", "add", f"{_HERE}/30", "dev", pair[2])
        _ip("link", "set", pair[2], "up")
        _ip("-n", name, "addr", "add", f"{_THERE}/30", "dev", "far")
        _ip("-n", name, "link", "set", "far", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        shape = ("rate", f"{LINK_RATE * 8}bit", "burst", "1mb", "latency", "20ms")
        subprocess.run([*inside, "tc", "qdisc", "add", "dev", "far", "root", "tbf", *shape], check=True)
        with served(home, _THERE, inside) as server:
            yield server
    finally:
        _ip("netns", "delete", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{server.http}/healthz", timeout=1)  # noqa: S310 - the server that was just started
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not start: {(server.home / 'log').read_text()[-2000:]}")


def _make_certificate(home: Path, address: str) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=modelberth-bench", "-addext", f"subjectAltName=IP:{address}",
             "-keyout", home / "tls.key", "-out", home / "tls.crt"]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)


def _free_port() -> int:
    """Return a free port whose 10,000th neighbour, which SeaweedFS takes as well, is free too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind((LOOPBACK, 0))
            port: int = one.getsockname()[1]
            try:
                other.bind((LOOPBACK, port + 10_000))
            except (OSError, OverflowError):
                continue
            return port
