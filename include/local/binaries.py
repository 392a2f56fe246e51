"""Programs that are built once, from Go modules of our own that require them, into a cache that all checkouts share.

<cache>/kubernetes-<digest of sources and flags>/    kube-apiserver, kubelet, etcd, pause, ...
<cache>/kubernetes-<digest>.building/                being built: never used, renamed when complete
<cache>/toxiproxy-<digest of sources and flags>/     toxiproxy
<cache>/kwok-<digest of sources and flags>/          kwok
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from problems import LocalError
from settings import cache, one_builder

VERSION = "v1.34.3"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
# gitVersion is what the API server reports; without it clients read "v0.0.0-master" and refuse or guess.
STAMP = f"-X k8s.io/component-base/version.gitVersion={VERSION}"


@dataclass(frozen=True)
class Programs:
    """What one Go module builds.

    :param name: The folder beside this file that holds the module, and the beginning of the cache's.
    :param about: What is said while it is built.
    :param packages: Each: where ``go build -o`` puts it, below the folder, and the packages.
    :param stamp: What the linker writes into them.
    """

    name: str
    about: str
    packages: tuple[tuple[str, ...], ...]
    stamp: str = ""

    @property
    def module(self) -> Path:
        """The folder of go.mod."""
        return Path(__file__).parent / self.name

    @property
    def flags(self) -> tuple[str, ...]:
        """What ``go build`` is told."""
        return ("-trimpath", "-ldflags", f"-s -w {self.stamp}".rstrip())

    def key(self) -> str:
        """Return the digest of all that decides what is built."""
        sources = [*self.module.glob("go.*"), *self.module.rglob("*.go")]
        digests = {
            path.relative_to(self.module).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sources
        }
        return hashlib.sha256(json.dumps([digests, self.flags, self.packages], sort_keys=True).encode()).hexdigest()[
            :12
        ]

    def folder(self) -> Path:
        """Return where the programs are, or will be when they are built."""
        return cache() / f"{self.name}-{self.key()}"

    def ensure(self, log: Path) -> Path:
        """Return the folder of the programs, building them first when this machine has not yet.

        :param log: Where the compiler's output goes.
        :raises LocalError: No Go, or the build failed.
        """
        complete = self.folder()
        if complete.exists():
            return complete
        with one_builder(self.name):
            if not complete.exists():  # another checkout may have built it while we waited
                building = complete.with_suffix(".building")
                shutil.rmtree(building, ignore_errors=True)
                self.build(building, log)
                building.rename(complete)
        return complete

    def build(self, target: Path, log: Path) -> None:
        """Compile everything into ``target``."""
        if not shutil.which("go"):
            raise LocalError(
                f"Cannot build {self.about}: 'go' is not on PATH. Install Go 1.24 or newer (https://go.dev/dl/)."
            )
        print(f"building {self.about} into {target.parent}; log: {log}", flush=True)
        target.mkdir(parents=True)
        with log.open("w") as out:
            for where, *packages in self.packages:
                command = ["go", "build", *self.flags, "-o", f"{target}/{where.removeprefix('./')}", *packages]
                environment = {**os.environ, "CGO_ENABLED": "0"}
                done = subprocess.run(
                    command, cwd=self.module, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
                )
                if done.returncode:
                    raise LocalError(
                        f"go build {' '.join(packages)} failed (exit {done.returncode}).\n"
                        f"Last lines of {log}:\n{tail(log)}"
                    )


KUBERNETES = Programs(
    "kubernetes",
    f"Kubernetes {VERSION} (about 7 minutes the first time)",
    (
        ("./", *(f"k8s.io/kubernetes/cmd/{program}" for program in PROGRAMS)),
        ("./etcd", "go.etcd.io/etcd/server/v3"),
        ("./pause", "./pause"),
    ),
    f"{STAMP} {STAMP.split('.git')[0]}.gitMajor=1 {STAMP.split('.git')[0]}.gitMinor=34",
)
TOXIPROXY = Programs(
    "toxiproxy", "toxiproxy (seconds)", (("./toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server"),)
)
"""A proxy that breaks connections in every way that a network does, for the engine's tests."""
KWOK = Programs("kwok", "kwok (about 2 minutes the first time)", (("./kwok", "sigs.k8s.io/kwok/cmd/kwok"),))
"""What keeps nodes that nobody has, for the tests of capacity."""
REGISTRY = Programs("registry", "an OCI registry (about a minute the first time)", (("./registry", "."),))
"""What models are pulled from as artifacts, for the tests of sources."""


def tail(log: Path, lines: int = 15) -> str:
    """Return a log's last lines."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":  # what tests alone need and what takes long
    KWOK.ensure(cache() / "kwok.log")
