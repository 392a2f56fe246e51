"""What the tests themselves start is gone when they are, however they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "support"

TEST_RUN = """
import signal, sys
from pathlib import Path
from real_servers import ENDS_WITH_US, started
import subprocess

port, home = sys.argv[1:]
server = [sys.executable, "-c", f'''
import subprocess, http.server
subprocess.Popen(["sleep", "1000"], start_new_session=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port={port}, bind="127.0.0.1")
''']
started(server, f"http://127.0.0.1:{port}", Path(home) / "log")
program = subprocess.Popen([*ENDS_WITH_US, "sleep", "1000"])
while Path(f"/proc/{program.pid}/comm").read_text() != "sleep\\n":
    pass  # setpriv asks for the signal and then becomes the program
print("started", flush=True)
signal.pause()
"""


def children(pid):
    """All processes below *pid*, by their numbers here."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_test_run_leaves_no_server_and_none_of_its_children(tmp_path):
    from real_servers import free_port

    words = [sys.executable, "-c", TEST_RUN, str(free_port()), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
    run = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, cwd=tmp_path)
    assert run.stdout.readline() == b"started\n"
    below = children(run.pid)
    assert len(below) == 4, below  # unshare, the server, its own child in another session, a program of ours
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, below)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in below if alive(pid)] == []
