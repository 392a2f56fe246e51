"""SIGTERM: unready at once, gone a little later.

Kubernetes ends a pod and takes it out of its Services at the same time, so requests still arrive for a moment: a server
that closes its port at once refuses them.

    SIGTERM          /healthz says 503; requests are answered, and each answer ends its connection: a client that keeps
                     one would send its next request here, however long this pod has been out of its Services
    + drain          the port is closed; requests in flight are finished, for at most 10 s
    second signal    the rest of the drain is left out
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from types import FrameType

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from server.serving import Serving


class LastAnswers:
    """Middleware that ends connections with the next answer on them, while the server drains."""

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self._app = app
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and self._serving.draining:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_last)


class DrainingServer(uvicorn.Server):
    """Uvicorn that answers on for *drain* seconds after the signal to end, and then ends with exit code 0."""

    def __init__(self, config: uvicorn.Config, serving: Serving, drain: int) -> None:
        super().__init__(config)
        self._serving = serving
        self._drain = drain
        self._end = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Begin the drain; called by a signal handler, so it only sets what the loop's tick reads."""
        self._end = time.monotonic() + (0 if self._serving.draining else self._drain)
        self._serving.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Say whether to end; uvicorn asks ten times a second."""
        return await super().on_tick(counter) or time.monotonic() >= self._end
