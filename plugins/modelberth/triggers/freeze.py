"""``modelberth_freeze``: while this Airflow Variable exists, no rollout begins; its value says why and who to ask.

What is under way ends as it would, rollbacks go on, and nothing is put back for it.
"""

from __future__ import annotations

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError

VARIABLE = "modelberth_freeze"


def frozen() -> str | None:
    """Return why no rollout may begin, None while one may.

    Airflow says of a Variable that it could not read that there is none. So where there is none, it has to name its
    Variables as well: that fails when it cannot answer.

    :raises ConnectionError: Airflow did not say whether there is such a Variable.
    """
    value = Variable.get(VARIABLE, default=None)
    if value is None:
        try:
            known = list(Variable.keys(prefix=VARIABLE))
        except (AirflowRuntimeError, ImportError, OSError, RuntimeError) as error:
            raise ConnectionError(
                f"Airflow did not say whether rollouts are frozen: {type(error).__name__}."
            ) from error
        if VARIABLE not in known:
            return None
    said = str(value or "").strip().rstrip(".") or "no reason is given"
    return (
        f"rollouts are frozen: {said}. When the Airflow Variable {VARIABLE} is deleted, clear the task 'check' of this "
        "run: its approval still counts"
    )
