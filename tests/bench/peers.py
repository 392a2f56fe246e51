"""The peers, each with the settings that are tried; and our own program.

Every function returns, for each peer, the candidates of which the fastest takes part.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from contest import Contender

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers import Server

HOME = Path(__file__).resolve().parents[2] / ".local/bench/peers"
"""The virtual environment of requirements.txt; `make bench` makes it."""

S5CMD = HOME / "lib" / f"python3.{sys.version_info.minor}" / "site-packages/s5cmd/bin/s5cmd"
"""The program itself: bin/s5cmd is a script in Python that starts it."""
RCLONE, AWS, PYTHON = HOME / "bin/rclone", HOME / "bin/aws", HOME / "bin/python"
BOTO3 = Path(__file__).with_name("boto3_peer.py")
DIGESTS = Path(__file__).with_name("digest_pass.py")
PROGRAM = (sys.executable, "-m", "modelberth.engine")

BUCKET, MODEL, UPLOAD = "bench", "model", "u"
DATA = f"m/{MODEL}/data/{UPLOAD}"
"""The prefix of the objects that our upload makes."""

_SLOW = 1
"""Rounds of those that are never the fastest."""


def refuse_missing() -> None:
    """:raises RuntimeError: A peer is not installed: nobody is compared with nobody."""
    if missing := [str(file) for file in (S5CMD, RCLONE, AWS, PYTHON) if not file.exists()]:
        raise RuntimeError(f"Peers are missing: {', '.join(missing)}. Run `make bench`, which installs them.")


@dataclass(frozen=True)
class Way:
    """How a server is reached.

    :param url: Its HTTP or HTTPS URL, or that of its link.
    """

    server: Server
    url: str

    @property
    def env(self) -> Mapping[str, str]:
        """What all contenders find in their environment."""
        return self.server.env(self.url) | {
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": self.url,
            "RCLONE_CONFIG": "",
        }

    def contender(self, name: str, *words: str | Path, settings: str = "", rounds: int = 1000) -> Contender:
        """Return a contender that goes this way."""
        return Contender(name, words, self.env, settings, rounds)


def downloads(way: Way, target: Path) -> list[list[Contender]]:
    """Return the peers that bring the objects of DATA to *target*."""
    remote = f"{BUCKET}/{DATA}"
    defaults, *tuned = _s5cmd(way, f"s3://{remote}/*", f"{target}/")
    return [
        [defaults],
        [replace(contender, name="s5cmd tuned") for contender in tuned],
        _rclone(way, f"bench:{remote}", str(target)),
        *_slow(way, "get", target),
    ]


def uploads(way: Way, source: Path) -> list[list[Contender]]:
    """Return the peers that make the objects of DATA from the files of *source*; the server is the limit here."""
    return [
        _s5cmd(way, f"{source}/", f"s3://{BUCKET}/{DATA}/")[:2],
        _rclone(way, str(source), f"bench:{BUCKET}/{DATA}")[:2],
        *_slow(way, "put", source),
    ]


def _s5cmd(way: Way, origin: str, goal: str) -> list[Contender]:
    settings = [(256, 5, 50), (8, 4, 16), (8, 16, 32)]
    return [
        way.contender(
            "s5cmd", S5CMD, "--log", "error", "--numworkers", str(workers), "cp", "--concurrency", str(parts),
            "--part-size", str(size), origin, goal,
            settings=f"numworkers {workers}, concurrency {parts}, part-size {size}",
        )
        for workers, parts, size in settings
    ]  # fmt: skip


def _rclone(way: Way, origin: str, goal: str) -> list[Contender]:
    settings = [(4, 4), (2, 8), (8, 4), (8, 0)]
    return [
        way.contender(
            "rclone", RCLONE, "copy", origin, goal, "--transfers", str(transfers), "--multi-thread-streams",
            str(streams), "--s3-upload-concurrency", str(streams or 4), "--s3-chunk-size", "16Mi",
            "--multi-thread-cutoff", "64Mi", "--s3-no-check-bucket", "--s3-disable-checksum",
            settings=f"transfers {transfers}, streams {streams}",
        )
        for transfers, streams in settings
    ]  # fmt: skip


def _slow(way: Way, verb: str, directory: Path) -> list[list[Contender]]:
    remote = f"s3://{BUCKET}/{DATA}/"
    ends = (remote, str(directory)) if verb == "get" else (str(directory), remote)
    aws = way.contender("aws s3 sync", AWS, "s3", "sync", *ends, "--only-show-errors", rounds=_SLOW)
    words = (PYTHON, BOTO3, verb, BUCKET, DATA, directory)
    return [[aws], [way.contender("boto3", *words, settings="8 files at once", rounds=_SLOW)]]


def small_download(way: Way, target: Path) -> Contender:
    """Return s5cmd for many small files, followed by `sync`."""
    script = f'"$0" --log error cp "s3://{BUCKET}/{DATA}/*" "$1/" && sync --file-system "$1"'
    return way.contender("s5cmd, sync", "sh", "-c", script, S5CMD, target)


def again(way: Way, target: Path) -> list[Contender]:
    """Return the peers' ways to see that nothing has to be done."""
    remote = f"s3://{BUCKET}/{DATA}"
    return [
        way.contender("s5cmd sync", S5CMD, "--log", "error", "sync", f"{remote}/*", f"{target}/"),
        way.contender("rclone copy", RCLONE, "copy", f"bench:{BUCKET}/{DATA}", target, "--checkers", "16"),
        way.contender("aws s3 sync", AWS, "s3", "sync", remote, target, "--only-show-errors", rounds=1),
    ]


def digest_pass(algorithm: str, directory: Path) -> Contender:
    """Return what reads and digests every file of a directory on all cores."""
    return Contender(algorithm, (sys.executable, DIGESTS, algorithm, directory), {})


def our_upload(way: Way, source: Path, upload: str = UPLOAD) -> Contender:
    """Return our upload."""
    words = (*PROGRAM, "upload", source, f"s3://{BUCKET}/m", "--model", MODEL, "--upload", upload)
    return way.contender("ours", *words)


def our_sync(way: Way, target: Path, revision: str, *more: str) -> Contender:
    """Return our sync."""
    return way.contender("ours", *PROGRAM, "sync", f"s3://{BUCKET}/m", target, "--revision", revision, *more)


def our_verify(target: Path, revision: str) -> Contender:
    """Return our verify."""
    return Contender("ours", (*PROGRAM, "verify", target, "--revision", revision), {})
