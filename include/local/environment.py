"""The whole environment: up, down, status."""

from __future__ import annotations

import fcntl
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import binaries
import cgroups
import cluster
import images
import kubectl
import lease
import packages
import serving
import stores
from machine import host, machine, start_host, start_machine
from settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervise import Part


def nothing(settings: Settings) -> list[Part]:  # noqa: ARG001
    """Return no further parts."""
    return []


def up(settings: Settings, beside: Callable[[Settings], Sequence[Part]] = nothing) -> None:
    """
    Start everything that does not run and wait until all of it is ready.

    :param beside: Returns what runs beside the cluster, on this machine's own network; called when ``.local/env`` is written.
    """
    with lease.exclusive(settings):
        began = time.monotonic()
        clear_abandoned(settings)
        settings.log.mkdir(parents=True, exist_ok=True)
        settings.run.mkdir(parents=True, exist_ok=True)
        (settings.run / "checkout").write_text(str(settings.root))
        packages.ensure(settings.log / "packages.log")
        references = start_cluster(settings)
        write_env(settings, references)
        parts = list(beside(settings))
        if parts:
            start_host(settings, parts).ensure(parts)
        print(
            f"the environment is up ({time.monotonic() - began:.0f} s); addresses and credentials: {settings.env}",
            flush=True,
        )


def start_cluster(settings: Settings) -> dict[str, str]:
    """Start the cluster's machine and all of its parts; return the images' references by name."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        # The compiler leaves the network idle and the images leave the processors idle: beside each other they cost one.
        programs = pool.submit(binaries.ensure, settings.log / "build.log")
        references = pool.submit(images.build_all, settings)
        parts = [*stores.parts(settings), *cluster.parts(settings, programs.result())]
        supervisor = start_machine(settings, parts)
        supervisor.ensure(parts)
        stores.create_buckets(settings)
        log = settings.log / "images.log"
        images.build_pause(programs.result(), log)
        images.import_into(supervisor.capsule, [images.PAUSE_IMAGE, *references.result().values()], log)
    cluster.wait_for_node(settings)
    serving.connect_airflow(settings)
    return references.result()


def write_env(settings: Settings, references: dict[str, str]) -> None:
    """Write what people, tests and Airflow need to know, for shells and for programs."""
    values = {
        "KUBECONFIG": settings.kubeconfig,
        "AIRFLOW_KUBECONFIG": settings.airflow_kubeconfig,
        "KUBECTL": kubectl.program(),
        "S3_ENDPOINT_URL": settings.s3_endpoint,
        **stores.credentials(settings),
        "GCS_ENDPOINT_URL": settings.gcs_endpoint,
        "HOST_ADDRESS": settings.here,
        **{f"{name.upper()}_IMAGE": reference for name, reference in references.items()},
    }
    settings.env.touch(mode=0o600)
    settings.env.write_text("".join(f"{key}={value}\n" for key, value in values.items()))


def read_env(settings: Settings) -> dict[str, str]:
    """Return what ``write_env`` wrote."""
    lines = settings.env.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def down(settings: Settings) -> None:
    """Stop every process of this checkout's environment and remove what belongs to a running one; keep its state."""
    with lease.exclusive(settings):
        lease.keep_file(settings).unlink(missing_ok=True)
        print("stopped" if stop(settings) else "nothing was running", flush=True)


def stop(settings: Settings) -> bool:
    """End all processes, remove cgroups and the entry in the register; say whether anything ran."""
    ran = [supervisor.capsule.stop() for supervisor in (host(settings), machine(settings))]
    cgroups.remove(settings.cgroup)
    settings.env.unlink(missing_ok=True)
    shutil.rmtree(settings.run, ignore_errors=True)
    return any(ran)


def clear_abandoned(settings: Settings) -> None:
    """Clear what other checkouts left: environments whose supervisors were killed, or whose checkout was deleted."""
    for entry in sorted(settings.run.parent.glob("*/checkout")):
        other = Settings(Path(entry.read_text()))
        if other.id == settings.id or other.run != entry.parent:
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
        with lease.used(settings):
            up(settings, beside)
            code = lease.run(command, read_env(settings))
            died = deaths(settings)
    finally:
        with lease.exclusive(settings):
            if not lease.wanted(settings):
                stop(settings)
    if died:
        print("While the command ran:\n" + "\n".join(died), flush=True)
    return code or int(bool(died))


def deaths(settings: Settings) -> list[str]:
    """Return one line for each part that died, naming its log."""
    states = [state for supervisor in (machine(settings), host(settings)) for state in supervisor.states()]
    return [f"{state.name} {state.says}; log: {state.log}" for state in states if "died" in state.says]


def status(settings: Settings) -> bool:
    """Print what runs; say whether all of it does."""
    states = [state for supervisor in (host(settings), machine(settings)) for state in supervisor.states()]
    if not states:
        print("nothing is running; start it with: make up")
        return False
    for state in states:
        print(f"{state.name:<24} {state.says}" + ("" if state.running else f"; log: {state.log}"))
    if settings.env.exists():
        shown = {key: value for key, value in read_env(settings).items() if "KEY" not in key}
        print("\n" + "\n".join(f"{key}={value}" for key, value in shown.items()))
    missing = [name for name, it in (("machine", machine(settings)), ("host", host(settings))) if not it.states()]
    return all(state.running for state in states) and "machine" not in missing
