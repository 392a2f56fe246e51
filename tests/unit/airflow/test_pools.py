"""Pools: the scheduler makes those that a run needs; a person says how many slots they have."""

from types import SimpleNamespace

import pytest
from airflow.models.pool import Pool
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from modelberth.operators import pools

CLAIM = SimpleNamespace(connection="here", namespace="serving", claim="models")


@pytest.fixture
def session():
    """A real metadata table of pools."""
    engine = create_engine("sqlite://")
    Pool.__table__.create(engine)
    with Session(engine) as opened:
        yield opened


def run_of(session, *names, monkeypatch):
    run = SimpleNamespace(dag=SimpleNamespace(tasks=[SimpleNamespace(pool=name) for name in names]))
    monkeypatch.setattr("sqlalchemy.orm.object_session", lambda _: session)
    pools.on_dag_run_running(run, "started")
    session.flush()
    return {one.pool: (one.slots, one.include_deferred) for one in session.scalars(select(Pool))}


def test_a_pool_that_a_run_needs_is_made_and_counts_pods_that_are_waited_for(session, monkeypatch):
    name = pools.pool_of(CLAIM)
    assert name == "claim_here_serving_models"
    found = run_of(session, "default_pool", name, name, monkeypatch=monkeypatch)
    assert found == {name: (pools.SLOTS, True)}


def test_a_pool_that_is_there_stays_as_a_person_left_it(session, monkeypatch):
    name = pools.pool_of(CLAIM)
    session.add(Pool(pool=name, slots=7, description="mine", include_deferred=True))
    session.flush()
    assert run_of(session, name, monkeypatch=monkeypatch) == {name: (7, True)}


def test_other_peoples_pools_are_not_made(session, monkeypatch):
    assert run_of(session, "theirs", monkeypatch=monkeypatch) == {}


def test_airflow_calls_it():
    from airflow.listeners.listener import get_listener_manager

    manager = get_listener_manager()
    manager.add_listener(pools)
    assert pools in [one.plugin for one in manager.pm.hook.on_dag_run_running.get_hookimpls()]
