"""The programs of the local Kubernetes, built once from their Go modules into a cache that all checkouts share.

<cache>/kubernetes-<digest of sources and flags>/    kube-apiserver, kubelet, etcd, pause, ...
<cache>/kubernetes-<digest>.building/                being built: never used, renamed when complete
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from problems import LocalError
from settings import cache, one_builder

MODULE = Path(__file__).parent / "kubernetes"
VERSION = "v1.34.3"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
# gitVersion is what the API server reports; without it clients read "v0.0.0-master" and refuse or guess.
STAMP = f"-X k8s.io/component-base/version.gitVersion={VERSION}"
FLAGS = (
    "-trimpath",
    "-ldflags",
    f"-s -w {STAMP} {STAMP.split('.git')[0]}.gitMajor=1 {STAMP.split('.git')[0]}.gitMinor=34",
)
BUILDS = (
    ("./", *(f"k8s.io/kubernetes/cmd/{program}" for program in PROGRAMS)),
    ("./etcd", "go.etcd.io/etcd/server/v3"),
    ("./pause", "./pause"),
)
"""Each: where ``go build -o`` puts it, below the folder, and the packages."""


def key() -> str:
    """Return the digest of all that decides what is built."""
    sources = [*MODULE.glob("go.*"), *MODULE.rglob("*.go")]
    digests = {path.relative_to(MODULE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}
    return hashlib.sha256(json.dumps([digests, FLAGS, BUILDS], sort_keys=True).encode()).hexdigest()[:12]


def folder() -> Path:
    """Return where the programs are, or will be when they are built."""
    return cache() / f"kubernetes-{key()}"


def ensure(log: Path) -> Path:
    """Return the folder of the programs, building them first when this machine has not yet.

    :param log: Where the compiler's output goes.
    :raises LocalError: No Go, or the build failed.
    """
    complete = folder()
    if complete.exists():
        return complete
    with one_builder("kubernetes"):
        if not complete.exists():  # another checkout may have built it while we waited
            building = complete.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            build(building, log)
            building.rename(complete)
    return complete


def build(target: Path, log: Path) -> None:
    """Compile everything into ``target``."""
    if not shutil.which("go"):
        raise LocalError("Cannot build Kubernetes: 'go' is not on PATH. Install Go 1.24 or newer (https://go.dev/dl/).")
    print(
        f"building Kubernetes {VERSION} into {target.parent} (about 7 minutes the first time); log: {log}", flush=True
    )
    target.mkdir(parents=True)
    with log.open("w") as out:
        for where, *packages in BUILDS:
            command = ["go", "build", *FLAGS, "-o", f"{target}/{where.removeprefix('./')}", *packages]
            environment = {**os.environ, "CGO_ENABLED": "0"}
            done = subprocess.run(
                command, cwd=MODULE, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
            )
            if done.returncode:
                raise LocalError(
                    f"go build {' '.join(packages)} failed (exit {done.returncode}).\nLast lines of {log}:\n{tail(log)}"
                )


def tail(log: Path, lines: int = 15) -> str:
    """Return a log's last lines."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
