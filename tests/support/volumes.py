"""Real file systems for tests: loop devices and FUSE mounts, in a host of the test's own.

A host is a first process with a pid and a mount namespace. When it ends, or pytest does (even by SIGKILL), the kernel
ends all that runs in it, drops its mounts and frees their loop devices. So nothing has to be undone.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from real_servers import free_port, wait_for

BIN = Path(sys.executable).parent
_FIRST = ("setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc")
_MAKE = {
    "ext2": ["mkfs.ext2", "-q", "-F"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "ext4 of few inodes": ["mkfs.ext4", "-q", "-F", "-N", "64"],
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
LEAST = 320 * 2**20
"""Bytes: what mkfs.xfs asks for; the files are sparse."""


class Host:
    """A machine's mounts and processes, beside this one's; the same root directory and network."""

    def __init__(self):
        command = [*_FIRST, "--propagation", "private", "sh", "-c", "echo up; exec sleep infinity"]
        self._first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._first.stdout.readline() == "up\n"
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children")
        self._pid = int(children.read_text().split()[0])

    def inside(self, command):
        """What runs a command there."""
        return ["nsenter", f"--target={self._pid}", "--mount", "--pid", *map(str, command)]

    def run(self, *command):
        done = subprocess.run(self.inside(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def start(self, *command, log=subprocess.DEVNULL, **how):
        return subprocess.Popen(self.inside(command), stdout=log, stderr=log, **how)

    def seen(self, path):
        """How this process reaches a path of that host."""
        return Path(f"/proc/{self._pid}/root{path}")

    def end(self):
        self._first.kill()
        self._first.wait()
        self._first.stdout.close()


@dataclass
class Volume:
    """A mounted file system.

    :param root: Where, on the host.
    """

    host: Host
    root: Path

    @property
    def path(self):
        """The same, as this process reaches it."""
        return self.host.seen(self.root)

    def used(self):
        system = os.statvfs(self.path)
        return (system.f_blocks - system.f_bfree) * system.f_frsize

    def unmount(self):
        self.host.run("umount", "--lazy", self.root)

    def remount(self, option):
        self.host.run("mount", "-o", f"remount,{option}", self.root)


def loop(host, home, kind, size=LEAST, *options):
    """A file system of *size* bytes in a file below *home*."""
    image, root = home / f"{kind}.img", home / kind
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([*_MAKE[kind], image], check=True, capture_output=True)
    root.mkdir()
    host.run("mount", "-o", ",".join(("loop", *options)), image, root)
    return Volume(host, root)


def filer(host, home):
    """A server of a network file system, SeaweedFS; its address."""
    ports = {name: free_port() for name in ("master", "volume", "filer")}
    command = [
        BIN / "weed", "server", f"-dir={home}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-volume.max=0",
        "-master.electionTimeout=1s", "-master.telemetry=false", "-master.volumeSizeLimitMB=256",
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (home / "log").open("wb") as log:
        process = host.start(*command, log=log)
    wait_for(f"http://127.0.0.1:{ports['filer']}/", process, home / "log")
    wait_for_space(f"http://127.0.0.1:{ports['master']}/dir/assign")
    return f"127.0.0.1:{ports['filer']}"


def wait_for_space(url):
    """Until the volume server has told its master that it is there: before, a mount has 512 bytes in all."""
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - a server that was just started
        except urllib.error.HTTPError:
            assert time.monotonic() < deadline, url
            time.sleep(0.05)
        else:
            return


def weed(host, home, filer, name="weed", path=None):
    """A network file system: a directory of SeaweedFS' filer, mounted through FUSE."""
    return _fuse(host, home, name, [
        BIN / "weed", "mount", f"-filer={filer}", f"-filer.path={path or home}", f"-dir={home / name}",
        f"-cacheDir={home / name}-cache", f"-localSocket={home / name}.sock",
    ])  # fmt: skip


def rclone(host, home):
    """A directory, mounted as object stores are."""
    (home / "remote").mkdir()
    return _fuse(host, home, "rclone", [
        BIN / "rclone", "mount", home / "remote", home / "rclone", "--vfs-cache-mode=writes",
        f"--cache-dir={home}/cache", f"--config={home}/none",
    ])  # fmt: skip


def _fuse(host, home, name, command):
    root, log = home / name, home / f"{name}.log"
    root.mkdir()
    with log.open("wb") as stream:
        process = host.start(*command, log=stream, start_new_session=True)
    deadline = time.monotonic() + 30
    while f" {root} " not in host.seen("/proc/1/mountinfo").read_text():
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)
    volume = Volume(host, root)
    volume.process = process
    return volume
