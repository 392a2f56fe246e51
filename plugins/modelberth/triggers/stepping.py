"""What goes on step by step until there is nothing more to do, in a triggerer.

What Airflow 3.3 does with a trigger, and what follows here:

    a triggerer stops or dies      another one starts the trigger anew, from the same arguments; nothing is put back
    task marked failed or success,
    or cleared, while it waits,
    or gone from its Dag           ``on_kill``: end it, which puts back or cleans up
    a second later                 ``on_kill`` itself is cancelled, the trigger being still there: it only begins what
                                   goes on by itself in this triggerer
    the deferral times out         cancelled without ``on_kill``: so it has no time-out, ready_within is the limit
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelberth.kubernetes.rollout import Step, Stop

KILLED = "a person ended its task"

_ENDING: set[asyncio.Task[Stop]] = set()
"""What ``on_kill`` began: asyncio forgets a task that nobody holds."""


class Steps(Protocol):
    """Something that is done a step at a time, each safe to repeat."""

    def step(self) -> Step:
        """Do one thing."""
        ...

    def end(self, reason: str) -> None:
        """Want it to end from the next step on."""
        ...


class SteppingTrigger(BaseTrigger):
    """
    Go on with one target of one release until it stops.

    Safe to run twice and to be killed at any point. Its arguments are names only: what they stand for is read and
    proven before the first change, whatever the database says.

    :param model: The model's name.
    :param release_id: The release.
    :param target: The target's name, as in the plan.
    :param receipts_url: Where the receipts are.
    :param receipts_connection: The Airflow connection that may read and write them.
    """

    def __init__(
        self, *, model: str, release_id: str, target: str, receipts_url: str, receipts_connection: str
    ) -> None:
        super().__init__()
        self.model = model
        self.release_id = release_id
        self.target = target
        self.receipts_url = receipts_url
        self.receipts_connection = receipts_connection
        self._steps = self.steps()

    def steps(self) -> Steps:
        """Return what is done."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer starts this trigger from."""
        names = ("model", "release_id", "target", "receipts_url", "receipts_connection")
        kind = type(self)
        return f"{kind.__module__}.{kind.__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Go on until there is nothing more to do; the event is for display, the receipt is what counts."""
        stop = await self._drive()
        yield TriggerEvent({"status": stop.status, "reason": stop.reason})

    async def on_kill(self) -> None:
        """End what is undecided, since nobody wants this task to go on, or its Dag does not have it any more.

        In the former case ``settle`` does the same; in the latter nobody else would.
        """
        self._steps.end(KILLED)
        ending = asyncio.create_task(self._drive())
        _ENDING.add(ending)
        ending.add_done_callback(_ENDING.discard)
        await asyncio.shield(ending)

    async def _drive(self) -> Stop:
        while True:
            # In a thread, since its clients block. A cancelled step ends there, and the next one waits for that.
            step = await asyncio.to_thread(self._steps.step)
            if step.stop:
                return step.stop
            await asyncio.sleep(step.pause)
