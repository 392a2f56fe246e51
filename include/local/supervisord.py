"""What supervisord reads and speaks: its configuration file, and XML-RPC over a Unix socket."""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from problems import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from supervise import Part


def configuration(sock: Path, log: Path, parts: Sequence[Part]) -> str:
    """Return the supervisor's configuration file."""
    sections = [
        f"[unix_http_server]\nfile={sock}\nchmod=0700",
        f"[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={sock.with_suffix('.supervisord')}",
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        *(section(log, number, part) for number, part in enumerate(parts)),
    ]
    return "\n\n".join(sections) + "\n"


def section(log: Path, priority: int, part: Part) -> str:
    """Return a part's section. They are ended in the reverse order of their priority."""
    environment = ",".join(f"{key}={quote(value)}" for key, value in sorted(part.environment.items()))
    lines = [
        f"[program:{part.name}]",
        f"command={escape(shlex.join(part.command))}",
        f"directory={escape(str(part.folder))}",
        f"environment={environment}",
        f"priority={priority}",
        "autostart=false",
        "autorestart=false",
        "startsecs=0",
        "stopwaitsecs=8",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={escape(str(log / part.name))}.log",
        "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines)


def quote(value: str) -> str:
    """Return a value as supervisord's environment= reads it: quoted, since a comma would end it; it knows no escapes.

    :raises LocalError: The value holds both kinds of quotes.
    """
    mark = "'" if '"' in value else '"'
    if mark in value:
        raise LocalError(f"Cannot pass {value!r} to a part's environment: supervisord reads no value with both quotes.")
    return escape(f"{mark}{value}{mark}")


def escape(text: str) -> str:
    """Return text as supervisord reads it: it expands %(name)s everywhere."""
    return text.replace("%", "%%")


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket: the supervisor listens on nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002
        """Return a connection to the socket, whatever the host is called."""
        return UnixConnection(self.path)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=30)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self.path))
