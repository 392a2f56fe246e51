"""The rollout's trigger, run as a triggerer runs it: a person's act puts back, a triggerer's death does not."""

from __future__ import annotations

import asyncio
import json

from airflow.serialization.encoders import encode_trigger

from modelberth.kubernetes.workload import LOCK, notes
from modelberth.triggers.rollout import RolloutTrigger


def trigger_of(one) -> RolloutTrigger:
    receipts = one.stand.config(one.plan.model).receipts
    return RolloutTrigger(
        model=one.plan.model,
        release_id=one.plan.release_id,
        target=one.name,
        receipts_url=receipts.url,
        receipts_connection=receipts.connection,
    )


async def event_of(trigger: RolloutTrigger) -> dict:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("no event")


async def interrupted(one) -> tuple[RolloutTrigger, asyncio.Task]:
    """Return a trigger that is waiting for its pods, with its task cancelled as Airflow cancels it."""
    trigger = trigger_of(one)
    task = asyncio.create_task(event_of(trigger))
    while await asyncio.to_thread(one.stand.bound, one.name) != one.to:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.wait([task])
    return trigger, task


def test_one_trigger_takes_a_release_to_its_end(stand, release):
    one = release().ready()
    event = asyncio.run(event_of(trigger_of(one)))
    assert event["status"] == "live", event
    assert stand.bound(one.name) == one.to


def test_what_reaches_the_database_is_names(release):
    one = release(replicas=0).ready()
    stored = encode_trigger(trigger_of(one))
    text = json.dumps(stored)
    assert len(text) < 1000
    assert set(stored["kwargs"]) == {"model", "release_id", "target", "receipts_url", "receipts_connection"}
    again = RolloutTrigger(**stored["kwargs"])
    assert again.serialize() == trigger_of(one).serialize()


def test_a_triggerer_that_stops_puts_nothing_back_and_the_next_one_goes_on(stand, release):
    one = release().ready()

    async def stop_and_start() -> dict:
        await interrupted(one)
        assert one.evidence.find("decided", one.name) is None
        return await event_of(trigger_of(one))

    event = asyncio.run(stop_and_start())
    assert event["status"] == "live", event


def test_a_person_who_ends_the_task_puts_it_back(stand, release):
    one = release("unready", ready_within=300).ready()

    async def kill() -> None:
        trigger, _ = await interrupted(one)
        await asyncio.wait_for(trigger.on_kill(), 30)

    asyncio.run(kill())
    assert stand.bound(one.name) == one.before
    outcome = one.outcome()
    assert outcome["result"] == "put back"
    assert "a person ended its task" in outcome["reason"]
    assert asyncio.run(event_of(trigger_of(one)))["status"] == "put back", "a cleared task does not begin again"


def test_a_put_back_that_airflow_cancels_goes_on_to_its_end(stand, release):
    one = release("unready", ready_within=300).ready()

    async def kill_and_cancel() -> None:
        trigger, _ = await interrupted(one)
        killing = asyncio.create_task(trigger.on_kill())
        while await asyncio.to_thread(one.evidence.find, "decided", one.name) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        killing.cancel()
        await asyncio.wait([killing])
        assert killing.cancelled()
        async with asyncio.timeout(30):
            while await asyncio.to_thread(one.outcome) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    asyncio.run(kill_and_cancel())
    assert stand.bound(one.name) == one.before
    assert LOCK not in notes(stand.read(one.name))


def test_evidence_that_cannot_be_believed_ends_it_with_an_event(release):
    one = release(replicas=0).planned()
    event = asyncio.run(event_of(trigger_of(one)))
    assert event["status"] == "refused"
    assert "06-approve" in event["reason"]
