"""Where everything of one checkout's local environment is: paths, addresses, names.

Several checkouts run beside each other, so each has an id (from its path) and a link of its own from this machine to
its cluster's. Because the addresses are its own, ports need not be::

    10.87.a.b     this machine's end of the link: pods reach what listens here
    10.87.a.b+1   the cluster's end: API server, S3, GCS; reached by this machine and by pods
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from problems import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LINKS = ipaddress.ip_network("10.87.0.0/16")
PODS = "10.88.0.0/16"
SERVICES = "10.96.0.0/16"
API_PORT, GCS_PORT = 6443, 4443


class WeedPorts(NamedTuple):
    """Where the parts of SeaweedFS listen."""

    master: int
    volume: int
    filer: int
    s3: int


@dataclass(frozen=True)
class Settings:
    """One checkout's environment.

    :param root: The checkout.
    """

    root: Path

    @cached_property
    def id(self) -> str:
        """Six hex digits that tell checkouts apart on one machine."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:6]

    @property
    def state(self) -> Path:
        """What outlives ``down``: volumes, buckets, etcd, credentials, logs."""
        return self.root / ".local"

    @property
    def run(self) -> Path:
        """What is true only while it runs: pids and sockets. Its parent is the register of all environments."""
        return Path("/run/modelberth") / self.id

    @property
    def log(self) -> Path:
        """One log file a part."""
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        """The cluster's admin."""
        return self.state / "kubeconfig"

    @property
    def airflow_kubeconfig(self) -> Path:
        """Airflow's service account; self-contained."""
        return self.state / "airflow.kubeconfig"

    @property
    def env(self) -> Path:
        """``KEY=VALUE`` lines: addresses and credentials for people, tests and Airflow."""
        return self.state / "env"

    @property
    def interface(self) -> str:
        """This machine's end of the link."""
        return f"mb{self.id}"

    @property
    def cgroup(self) -> str:
        """Root of the cluster's cgroups, in every hierarchy."""
        return f"/modelberth-{self.id}"

    @property
    def node(self) -> str:
        """The one node's name."""
        return f"modelberth-{self.id}"

    @cached_property
    def link(self) -> ipaddress.IPv4Network:
        """The /30 between this machine and the cluster: chosen once, kept while no one else has it."""
        chosen = self.state / "link"
        taken = networks_in_use(self.interface)
        if chosen.exists():
            link = ipaddress.IPv4Network(chosen.read_text().strip())
            if not any(link.overlaps(other) for other in taken):
                return link
        link = free_link(self.id, taken)
        chosen.parent.mkdir(parents=True, exist_ok=True)
        chosen.write_text(f"{link}\n")
        return link

    @property
    def here(self) -> str:
        """This machine's address on the link."""
        return str(self.link[1])

    @property
    def there(self) -> str:
        """The cluster's address on the link."""
        return str(self.link[2])

    @property
    def weed_ports(self) -> WeedPorts:
        """SeaweedFS's ports; it takes the 10,000th neighbour of each as well.

        A checkout's own, though no other sees them: SeaweedFS names sockets in /tmp after them, which all would share.
        """
        first = 10_000 + int(self.id, 16) % 2_500 * len(WeedPorts._fields)
        return WeedPorts(*range(first, first + len(WeedPorts._fields)))

    @property
    def s3_endpoint(self) -> str:
        """The S3 server, the same for pods and for this machine."""
        return f"http://{self.there}:{self.weed_ports.s3}"

    @property
    def gcs_endpoint(self) -> str:
        """The GCS server, the same for pods and for this machine."""
        return f"http://{self.there}:{GCS_PORT}"


def free_link(instance: str, taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return the first free /30 of LINKS, starting where the instance's id points.

    :param taken: Networks that this machine already routes.
    :raises LocalError: None is free.
    """
    links: list[ipaddress.IPv4Network] = list(LINKS.subnets(new_prefix=30))
    start = int(instance, 16) % len(links)
    blocked = [network for network in taken if network.overlaps(LINKS)]
    for link in links[start:] + links[:start]:
        if not any(link.overlaps(network) for network in blocked):
            return link
    raise LocalError(f"No free /30 network in {LINKS} for the cluster: this machine routes all of it already.")


def networks_in_use(own_interface: str) -> list[ipaddress.IPv4Network]:
    """Return the networks this machine routes, without the default route and those of the interface named."""
    routes = json.loads(subprocess.run(["ip", "-j", "-4", "route"], check=True, capture_output=True, text=True).stdout)
    return [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default" and route.get("dev") != own_interface
    ]


def cache() -> Path:
    """Return the folder of what is built once for all checkouts."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelberth"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def one_builder(what: str) -> Iterator[None]:
    """Hold the cache's lock for one thing: what two checkouts build at once, the second waits for and finds built.

    :param what: A file name.
    """
    with (cache() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
