"""Real servers, and other processes, that end with whoever started them."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Begins a command: the kernel kills what it starts when the thread that started it is gone, SIGKILL included."""

WITH_ALL_IT_STARTS = (*ENDS_WITH_US, "unshare", "--fork", "--pid", "--kill-child")
"""The same for a whole tree: the first process of a pid namespace takes all others with it."""


def free_port():
    """A free port whose 10,000th neighbour, which SeaweedFS takes as well, is free too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port > 55_000:
                continue
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


def wait_for(url, process, log, seconds=30):
    for _ in range(10 * seconds):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url, timeout=1)  # noqa: S310 - a server that was just started
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{url} did not answer: {log.read_text()[-2000:]}")


def stopped(process):
    os.killpg(process.pid, signal.SIGKILL)  # SeaweedFS takes its time to end; nothing of it is kept
    process.wait()


def started(command, url, log, seconds=30):
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*WITH_ALL_IT_STARTS, *command], stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        wait_for(url, process, log, seconds)
    except BaseException:
        stopped(process)
        raise
    return process
