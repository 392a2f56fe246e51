"""The rollout as a trigger: patch, wait, confirm, put back, all in one place that no worker's death interrupts.

What Airflow 3.3 does with a trigger, and what follows here:

    a triggerer stops or dies      another one starts the trigger anew, from the same arguments; nothing is put back
    task marked failed or success,
    or cleared, while it waits     ``on_kill``: put back
    the deferral times out         cancelled without ``on_kill``: so it has no time-out, ready_within is the limit
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from modelberth.kubernetes.rollout import Rollout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelberth.kubernetes.rollout import Stop

KILLED = "a person ended its task"


class RolloutTrigger(BaseTrigger):
    """
    Bring one target of an approved release into service, or back.

    Safe to run twice and to be killed at any point: see ``modelberth.core.rollout``. Its arguments are names only;
    plan, approval and check are read and proven before the first change, whatever the database says.

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
        self._rollout = Rollout(
            model=model, release_id=release_id, target=target, receipts=(receipts_url, receipts_connection)
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer starts this trigger from."""
        return (
            "modelberth.triggers.rollout.RolloutTrigger",
            {
                "model": self.model,
                "release_id": self.release_id,
                "target": self.target,
                "receipts_url": self.receipts_url,
                "receipts_connection": self.receipts_connection,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Go on until there is nothing more to do; the event is for display, the outcome's receipt is what counts."""
        stop = await self._drive()
        yield TriggerEvent({"status": stop.status, "reason": stop.reason})

    async def on_kill(self) -> None:
        """Put back what is undecided: a person does not want this task to go on.

        Airflow gives it 30 s, enough for the patch; ``settle`` waits for what is longer.
        """
        self._rollout.end(KILLED)
        await self._drive()

    async def _drive(self) -> Stop:
        while True:
            # In a thread, since its clients block. A cancelled step ends there, and the next one waits for that.
            step = await asyncio.to_thread(self._rollout.step)
            if step.stop:
                return step.stop
            await asyncio.sleep(step.pause)
