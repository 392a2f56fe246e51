"""modelberth_freeze: what the Variable says is said, and nothing begins while nobody can say whether there is one."""

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, VariableKeysResult

from modelberth.triggers.freeze import VARIABLE, frozen


@pytest.fixture
def airflow(monkeypatch):
    """Lets Airflow answer when it is asked which Variables there are."""

    def answer(found):
        class Comms:
            def send(self, message):
                if isinstance(found, Exception):
                    raise found
                return found

        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)

    return answer


def keys(*names):
    return VariableKeysResult(keys=list(names), total_entries=len(names))


@pytest.mark.parametrize("found", [keys(), keys("modelberth_freeze_notes")])
def test_without_the_variable_nothing_is_frozen(airflow, found):
    airflow(found)
    assert frozen() is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("inventory until Monday: ask Carol.", "rollouts are frozen: inventory until Monday: ask Carol. When"),
        ("false", "rollouts are frozen: false. When"),
        ("", "rollouts are frozen: no reason is given. When"),
    ],
)
def test_the_variables_value_says_why_and_what_to_do(monkeypatch, value, said):
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", value)
    assert frozen().startswith(said)
    assert "clear the task 'check' of this run" in frozen()


def test_a_variable_that_appears_while_it_is_asked_for_counts(airflow):
    airflow(keys(VARIABLE))
    assert "no reason is given" in frozen()


@pytest.mark.parametrize("found", [ErrorResponse(), OSError("gone"), RuntimeError("no loop")])
def test_an_airflow_that_cannot_answer_is_not_taken_for_no_freeze(airflow, found):
    airflow(found)
    with pytest.raises(ConnectionError, match="did not say whether rollouts are frozen"):
        frozen()
