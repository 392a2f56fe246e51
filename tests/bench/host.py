"""The machine that is measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from peers import AWS, PYTHON, RCLONE, S5CMD
from servers import WEED

_VERSIONS = {
    "s5cmd": (S5CMD, "version"), "rclone": (RCLONE, "version"), "aws": (AWS, "--version"),
    "boto3": (PYTHON, "-c", "import boto3; print(boto3.__version__)"), "SeaweedFS": (WEED, "version"),
    "modelberth": ("git", "describe", "--always", "--dirty"),
}  # fmt: skip


def described() -> dict[str, str]:
    """Return what a reader needs to know to compare: machine, load, versions, command."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {model[1] if model else platform.machine()}, "
        f"{memory / 2**30:.0f} GiB, {platform.system()} {platform.release()}",
        "load at start": " ".join(Path("/proc/loadavg").read_text().split()[:3]),
        "Python": platform.python_version(),
        "versions": ", ".join(f"{name} {_version(words)}" for name, words in _VERSIONS.items()),
        "command": f"python tests/bench {' '.join(sys.argv[1:])}".strip(),
    }


def memory_free() -> int:
    """Return the bytes that programs and tmpfs can still take."""
    found = re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())
    return int(found[1]) * 1024 if found else 0


def _version(words: tuple[str | Path, ...]) -> str:
    lines = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout
    return re.sub(r"^(rclone|aws-cli/|version) ?|( Python).*| linux amd64", "", lines.splitlines()[0]).strip()
