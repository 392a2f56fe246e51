"""What dies is noticed, all ends as one, and nothing is left behind. Shown on another checkout's environment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

PROJECT = Path(__file__).parents[2]
sys.path.append(str(PROJECT / "include/local"))

import cgroups  # noqa: E402
from env import read_env  # noqa: E402
from kubectl import kubectl, program  # noqa: E402
from machine import host, machine  # noqa: E402
from settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its machine is killed and its parts are; no other test could use it.
pytestmark = pytest.mark.xdist_group("another checkout")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Another checkout, whose environment is not up."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("include", "plugins"):
        shutil.copytree(PROJECT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = Settings(root)
    yield settings
    local(settings, "down")


def local(settings: Settings, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the commands of a checkout's local environment."""
    command = [sys.executable, str(settings.root / "include/local"), *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment, stdin=subprocess.DEVNULL
    )


def up(settings: Settings) -> str:
    done = local(settings, "up")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def traces(settings: Settings) -> list[str]:
    """Return what of a checkout's environment there is on this machine outside of the checkout."""
    mounts = Path("/proc/self/mountinfo").read_text()
    links = [link["ifname"] for link in json.loads(subprocess.check_output(["ip", "-j", "link"]))]
    groups = [mount / settings.cgroup.lstrip("/") for mount, _ in cgroups.hierarchies(mounts)]
    return [
        *(line for line in mounts.splitlines() if str(settings.root) in line),
        *(link for link in links if link == settings.interface),
        *(str(path) for path in (*groups, settings.run) if path.exists()),
        *processes(settings),
    ]


def processes(settings: Settings) -> list[str]:
    """Return the command lines of what runs from or for a checkout."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(settings.root) in line and path.parent.name != str(os.getpid()):
            lines.append(line)
    return lines


def s3(settings: Settings) -> boto3.session.Session.client:
    env = read_env(settings)
    return boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=env["S3_ACCESS_KEY"],
        aws_secret_access_key=env["S3_SECRET_KEY"],
    )


def test_nothing_runs_at_first_and_status_says_so(other: Settings) -> None:
    done = local(other, "status")
    assert done.returncode == 1
    assert "make up" in done.stdout
    assert local(other, "down").returncode == 0


def test_two_ups_at_once_are_one(other: Settings) -> None:
    command = [sys.executable, str(other.root / "include/local"), "up"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate(timeout=180)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("etcd is ready" in text for text in said) == 1
    assert local(other, "status").returncode == 0


def test_it_runs_beside_this_checkouts(other: Settings) -> None:
    ours = Settings(PROJECT)
    nodes = [
        kubectl(one, "get", "nodes", "--output=jsonpath={.items[*].metadata.name}").stdout for one in (ours, other)
    ]
    assert nodes == [ours.node, other.node]


def test_a_second_up_is_quick_and_changes_no_process(other: Settings) -> None:
    before = machine(other).capsule.inner
    began = time.monotonic()
    up(other)
    assert time.monotonic() - began < 15
    assert machine(other).capsule.inner == before


def test_a_dead_part_is_named_with_its_exit_and_log_and_started_again(other: Settings) -> None:
    supervisor = machine(other)
    pid = int(supervisor.state("kube-scheduler").says.split("pid ")[1].split(",")[0])
    subprocess.run(supervisor.capsule.enter(["kill", "-9", str(pid)]), check=True)
    time.sleep(1)
    done = local(other, "status")
    assert done.returncode == 1
    assert "kube-scheduler           died (by a signal)" in done.stdout
    assert "kube-scheduler.log" in done.stdout
    said = up(other)
    assert "kube-scheduler died" in said
    assert "starting it again" in said
    assert local(other, "status").returncode == 0


def test_a_part_that_cannot_start_is_named_with_the_end_of_its_log(other: Settings) -> None:
    supervisor = machine(other)
    supervisor.call("stopProcess", "kube-proxy")
    script = other.root / "include/local/cluster.py"
    text = script.read_text()
    script.write_text(text.replace('"--proxy-mode=iptables"', '"--proxy-mode=carrier-pigeon"'))
    try:
        done = local(other, "up")
    finally:
        script.write_text(text)
    assert done.returncode == 1
    assert "kube-proxy died (exit 1)" in done.stderr
    assert "carrier-pigeon" in done.stderr
    up(other)


def test_run_gives_the_command_its_environment_and_its_exit_code(other: Settings) -> None:
    check = "import os; raise SystemExit(3 if os.environ['S3_ENDPOINT_URL'] and os.environ['KUBECONFIG'] else 1)"
    assert local(other, "run", "--", sys.executable, "-c", check).returncode == 3
    assert local(other, "status").returncode == 0, "up left it running: it is kept"


KILL_GCS = """
import subprocess, sys, time
from pathlib import Path
root = Path(sys.argv[1])
sys.path.append(str(root / "include/local"))
from machine import machine
from settings import Settings
subprocess.run(machine(Settings(root)).capsule.enter(["pkill", "-9", "-f", "fake-gcs-server"]), check=True)
time.sleep(1)
"""


def test_run_names_a_part_that_died_meanwhile(other: Settings) -> None:
    done = local(other, "run", "--", sys.executable, "-c", KILL_GCS, str(other.root))
    assert done.returncode == 1
    assert "gcs died" in done.stdout


def test_killed_machine_takes_everything_with_it_and_the_next_up_clears_the_rest(other: Settings) -> None:
    up(other)
    s3(other).put_object(Bucket="modelberth", Key="kept", Body=b"x")
    kubectl(other, "create", "configmap", "kept")
    outer, inner = machine(other).capsule.outer, machine(other).capsule.inner
    assert outer is not None
    os.kill(outer, signal.SIGKILL)
    assert machine(other).capsule.gone(20, inner)
    assert not [line for line in processes(other) if "kube" in line or "weed" in line]
    done = local(other, "status")
    assert done.returncode == 1
    assert "was killed" in done.stdout
    up(other)
    assert s3(other).get_object(Bucket="modelberth", Key="kept")["Body"].read() == b"x"
    kubectl(other, "get", "configmap", "kept")


def test_down_leaves_nothing_and_keeps_state(other: Settings) -> None:
    assert local(other, "down").returncode == 0
    time.sleep(1)  # the kernel removes the link a moment after its last process
    assert traces(other) == []
    assert (other.state / "stores").exists()
    assert not other.env.exists()


def test_what_a_killed_up_began_is_used_and_stopped_by_the_next_run(other: Settings) -> None:
    killed = subprocess.Popen([sys.executable, str(other.root / "include/local"), "up"], stdout=subprocess.DEVNULL)
    while machine(other).capsule.inner is None:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert local(other, "run", "--", "true").returncode == 0
    time.sleep(1)
    assert traces(other) == []


CLEAR = """
import sys
from pathlib import Path
root = Path(sys.argv[1])
sys.path.append(str(root / "include/local"))
from environment import clear_abandoned
from settings import Settings
clear_abandoned(Settings(root))
"""


def test_another_checkouts_up_clears_what_a_killed_one_left(other: Settings, tmp_path: Path) -> None:
    up(other)
    outer = machine(other).capsule.outer
    assert outer is not None
    os.kill(outer, signal.SIGKILL)
    assert machine(other).capsule.gone(10)
    assert other.run.exists()
    third = tmp_path / "third"
    shutil.copytree(other.root / "include", third / "include")
    said = subprocess.check_output([sys.executable, "-c", CLEAR, str(third)], text=True)
    assert str(other.root) in said
    assert traces(other) == []


@pytest.fixture
def users_cluster(other: Settings, tmp_path: Path) -> dict[str, str]:
    """This checkout's cluster as another checkout's user might have it: a context of a kubeconfig, and parameters."""
    ours = Settings(PROJECT)
    config = tmp_path / "kubeconfig"
    shutil.copy(ours.kubeconfig, config)
    rename = ["config", "rename-context", "modelberth", "production"]
    subprocess.run([program(), f"--kubeconfig={config}", *rename], check=True, capture_output=True)
    env = read_env(ours)
    names = ("STORAGE_CLASS", "BUCKET_URL", "RECEIPTS_URL", "MODELSYNC_IMAGE", "SERVER_IMAGE", "S3_ENDPOINT_URL")
    keys = ("S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_PODS_ACCESS_KEY", "S3_PODS_SECRET_KEY")
    return {name: env[name] for name in (*names, *keys)} | {"CLUSTER": "production", "KUBECONFIG": str(config)}


def test_the_users_cluster_is_not_touched_without_consent(other: Settings, users_cluster: dict[str, str]) -> None:
    done = local(other, "up", **users_cluster)
    assert done.returncode == 1
    assert "In cluster 'production' this creates" in done.stdout
    assert "YES=1" in done.stderr
    assert not other.env.exists()


def test_an_unknown_context_is_named(other: Settings, users_cluster: dict[str, str]) -> None:
    done = local(other, "up", **users_cluster | {"CLUSTER": "nowhere", "YES": "1"})
    assert done.returncode == 1
    assert "Cannot use cluster 'nowhere'" in done.stderr


def test_an_unknown_storage_class_is_named(other: Settings, users_cluster: dict[str, str]) -> None:
    done = local(other, "up", **users_cluster | {"STORAGE_CLASS": "nothing-such", "YES": "1"})
    assert done.returncode == 1
    assert 'storageclasses.storage.k8s.io "nothing-such" not found' in done.stderr


def test_the_users_cluster_is_used_instead_of_a_local_one(other: Settings, users_cluster: dict[str, str]) -> None:
    done = local(other, "up", **users_cluster, YES="1")
    assert done.returncode == 0, done.stderr
    assert machine(other).capsule.outer is None
    assert host(other).capsule.outer is None
    env = read_env(other)
    assert env["CLUSTER"] == "production"
    assert env["BUCKET_URL"] == users_cluster["BUCKET_URL"]
    whoami = [program(), f"--kubeconfig={env['AIRFLOW_KUBECONFIG']}", "auth", "whoami"]
    assert "modelberth-system:airflow" in subprocess.check_output(whoami, text=True)
    assert local(other, "down").returncode == 0
