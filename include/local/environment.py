"""The whole environment: up, down, status."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import binaries
import cgroups
import kubectl
import lease
import leftovers
import packages
import remote
import serving
import stores
from env import read_env, write_env
from machine import host, machine, others, start_host, start_machine
from problems import LocalError
from settings import Settings

import cluster
import images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervise import Part


def nothing(settings: Settings) -> list[Part]:  # noqa: ARG001
    """Return no further parts."""
    return []


def up(settings: Settings, beside: Callable[[Settings], Sequence[Part]] = nothing) -> None:
    """
    Start everything that does not run and wait until all of it is ready.

    :param beside: Returns what runs beside the cluster, on this machine's own network; called once ``.local/env`` is.
    """
    with lease.exclusive(settings):
        began = time.monotonic()
        clear_abandoned(settings)
        given = remote.parameters(os.environ) if os.environ.get("CLUSTER") else {}
        demand_same_cluster(settings, given.get("CLUSTER", ""))
        settings.log.mkdir(parents=True, exist_ok=True)
        settings.run.mkdir(parents=True, exist_ok=True)
        (settings.run / "checkout").write_text(str(settings.root))
        if given:
            remote.up(settings, given)
        else:
            local_up(settings)
        if parts := list(beside(settings)):
            start_host(settings, parts).ensure(parts)
        print(f"the environment is up ({time.monotonic() - began:.0f} s): {settings.env}", flush=True)


def demand_same_cluster(settings: Settings, wanted: str) -> None:
    """Refuse to turn a running environment from one cluster to another: what runs in it would be left behind.

    :param wanted: A context of the user's, or nothing for the local cluster.
    :raises LocalError: It uses another.
    """
    alive = any(supervisor.capsule.outer for supervisor in (host(settings), machine(settings)))
    running = read_env(settings).get("CLUSTER", "") if alive and settings.env.exists() else wanted
    if running != wanted:
        names = [f"cluster {name!r}" if name else "the local cluster" for name in (running, wanted)]
        raise LocalError(
            f"Cannot use {names[1]}: this environment is up with {names[0]}. Stop it first with: make down"
        )


def local_up(settings: Settings) -> None:
    """Start the local cluster with everything in it and write ``.local/env``."""
    packages.ensure(settings.log / "packages.log")
    references = start_cluster(settings)
    values = {
        "KUBECONFIG": settings.kubeconfig,
        "AIRFLOW_KUBECONFIG": settings.airflow_kubeconfig,
        "KUBECTL": kubectl.program(),
        "STORAGE_CLASS": serving.LOCAL_CLASS,
        "BUCKET_URL": "s3://modelberth/models",
        "RECEIPTS_URL": "s3://modelberth-receipts/receipts",
        "S3_ENDPOINT_URL": settings.s3_endpoint,
        **stores.credentials(settings),
        "GCS_ENDPOINT_URL": settings.gcs_endpoint,
        "HOST_ADDRESS": settings.here,
        **{f"{name.upper()}_IMAGE": reference for name, reference in references.items()},
    }
    serving.connect_airflow(settings)
    write_env(settings, values)


def start_cluster(settings: Settings) -> dict[str, str]:
    """Start the cluster's machine and all of its parts; return the images' references by name."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        # The compiler leaves the network idle, the images leave the processors idle: together they take as long as one.
        programs = pool.submit(binaries.KUBERNETES.ensure, settings.log / "build.log")
        references = pool.submit(images.build_all, settings)
        parts = [*stores.parts(settings), *cluster.parts(settings, programs.result())]
        supervisor = start_machine(settings, parts)
        supervisor.ensure(parts)
        stores.create_buckets(settings)
        log = settings.log / "images.log"
        images.build_pause(programs.result(), log)
        images.import_into(supervisor.capsule, [images.PAUSE_IMAGE, *references.result().values()], log)
    cluster.wait_for_node(settings)
    return references.result()


def down(settings: Settings) -> None:
    """Stop every process of this checkout's environment and remove what belongs to a running one; keep its state."""
    with lease.exclusive(settings):
        lease.keep_file(settings).unlink(missing_ok=True)
        print("stopped" if stop(settings) else "nothing was running", flush=True)


def stop(settings: Settings) -> bool:
    """End all processes, remove cgroups and the entry in the register; say whether anything ran."""
    capsules = (*others(settings), host(settings).capsule, machine(settings).capsule)
    ran = [capsule.stop() for capsule in capsules]
    cgroups.remove(settings.cgroup)
    settings.env.unlink(missing_ok=True)
    shutil.rmtree(settings.run, ignore_errors=True)
    return any(ran)


def clear_abandoned(settings: Settings) -> None:
    """Clear what other checkouts left: environments whose supervisors were killed, or whose checkout was deleted."""
    for entry in sorted(settings.run.parent.glob("*/checkout")):
        try:
            other = Settings(Path(entry.read_text()))
        except FileNotFoundError:  # its own `down` was quicker
            continue
        if other.id == settings.id or other.run != entry.parent or lease.in_use(other):
            continue
        with lease.lock_file(other).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # it is being started or stopped
                continue
            alive = any(supervisor.capsule.outer for supervisor in (host(other), machine(other)))
            if not alive or not other.root.exists():
                stop(other)
                print(f"cleared what the environment of {other.root} left behind", flush=True)


def run(settings: Settings, command: Sequence[str], beside: Callable[[Settings], Sequence[Part]] = nothing) -> int:
    """
    Run a command in the environment; stop the environment after the last such command, unless it is to be kept.

    :returns: The command's exit code; 1 when it was 0 but a part died meanwhile.
    """
    try:
        with lease.used(settings) as alone:
            up(settings, beside)
            if alone and not os.environ.get("CLUSTER"):
                clear_killed_tests(settings)
            code = lease.run(command, read_env(settings))
            died = deaths(settings)
    finally:
        with lease.exclusive(settings):
            if not lease.wanted(settings):
                stop(settings)
    if died:
        print("While the command ran:\n" + "\n".join(died), flush=True)
    return code or int(bool(died))


def clear_killed_tests(settings: Settings) -> None:
    """Clear what tests left that were killed: only for the one user, since what others' tests use looks the same."""
    for capsule in others(settings):
        capsule.stop()
    leftovers.clear(settings)


def deaths(settings: Settings) -> list[str]:
    """Return one line for each part that died, naming its log."""
    states = [state for supervisor in (machine(settings), host(settings)) for state in supervisor.states()]
    return [f"{state.name} {state.says}; log: {state.log}" for state in states if "died" in state.says]


def status(settings: Settings) -> bool:
    """Print what runs; say whether all of it does."""
    supervisors = (machine(settings), host(settings))
    states = [state for supervisor in supervisors for state in supervisor.states()]
    for state in states:
        print(f"{state.name:<24} {state.says}" + ("" if state.running else f"; log: {state.log}"))
    if not settings.env.exists():
        print("the environment is not up; start it with: make up")
        return False
    values = read_env(settings)
    print("\n".join(f"{key}={value}" for key, value in values.items() if not key.endswith("_KEY")))
    gone = not values.get("CLUSTER") and machine(settings).capsule.outer is None
    if gone:
        print(f"the cluster's machine was killed; log: {settings.log}/machine.log. Start it again with: make up")
    return not gone and all(state.running for state in states)
