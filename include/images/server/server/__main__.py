"""Run the server: ``python -m server``.

MODEL_PATH      <mount>/<model>/<64 hex>.<n>/files; set by the release
HOST, PORT      where to listen (0.0.0.0, 8000)
DRAIN_SECONDS   how long to answer on after SIGTERM (5)

The pod's terminationGracePeriodSeconds must exceed DRAIN_SECONDS by the longest request.
"""

from __future__ import annotations

import logging
import os
import signal
import sys


def main() -> None:
    """Serve until SIGTERM."""
    # The first process of a container ignores a signal that it has no handler for, and the imports take a second.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import uvicorn

    from server.app import create_app
    from server.drain import DrainingServer
    from server.serving import Serving

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    serving = Serving()
    config = uvicorn.Config(
        create_app(serving, os.environ.get("MODEL_PATH", "")),
        host=os.environ.get("HOST", "0.0.0.0"),  # noqa: S104  # a pod is reached from other machines
        port=_whole_number("PORT", 8000),
        loop="asyncio",
        http="h11",
        ws="none",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
    )
    DrainingServer(config, serving, _whole_number("DRAIN_SECONDS", 5)).run()


def _whole_number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isascii() or not text.isdigit():
        sys.exit(f"The server does not start: {variable} is {text!r}; expected a whole number.")
    return int(text)


if __name__ == "__main__":
    main()
