"""How our program ended, wherever it ran: its result, or the error that decides whether Airflow tries again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from modelberth.core.failure import ExitCode

NEVER = range(20, 30)
"""Exit codes that no retry changes: what was asked for is wrong or damaged."""


_SHOWN = (
    *("revision", "snapshot", "files", "bytes", "bytes_uploaded", "bytes_copied", "bytes_fetched", "bytes_reused"),
    *("how", "node", "seconds"),
)


def summary(result: dict[str, Any], receipt: object) -> dict[str, str]:
    """Return what a person wants to see of *result* in the UI; nothing relies on it.

    :param receipt: The digest of the receipt that holds all of it.
    """
    return {key: str(result[key]) for key in _SHOWN if key in result} | {"receipt": str(receipt)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of the program ended.

    :param exit_code: The program's, or what the kernel or a shell reports for a killed one (137, 143).
    :param message: The one line of JSON that the program leaves; something else when it could not.
    :param where: What ran it, for the reader: ``Pod serving/sync-minilm-x2``.
    :param reason: What Kubernetes adds, such as ``OOMKilled``.
    :param node: Which machine it ran on.
    """

    exit_code: int
    message: str
    where: str
    reason: str = ""
    node: str = ""

    @property
    def mismatch(self) -> bool:
        """Whether bytes were not what they must be."""
        return self.exit_code == ExitCode.MISMATCH

    @property
    def problems(self) -> list[str]:
        """What the program says went wrong: its first five problems."""
        return [str(problem) for problem in self.report.get("problems", ())]

    def result(self, command: str, **expected: str) -> dict[str, Any]:
        """Return what *command* reports.

            exit code        | message                     | then
            -----------------+-----------------------------+------------------------------------
            0                | a result of *command*       | returned
            0                | anything else, or nothing   | AirflowException: tried again
            20-29            | any                         | AirflowFailException: never again
            10-19, any other | any                         | AirflowException: tried again

        :param expected: Values that the result must repeat: what was asked for is what must have been done.
        """
        report = self.report
        if self.exit_code in NEVER:
            raise AirflowFailException(self._failure(command, report))
        if self.exit_code != 0:
            raise AirflowException(self._failure(command, report))
        if report.get("command") != command or report.get("exit_code") != 0:
            raise AirflowException(
                f"{self.where} ended well but left no result of 'modelberth {command}': nothing is proven. "
                f"It left: {self.message[:500]!r}. Is it the modelsync image?"
            )
        for key, value in expected.items():
            if report.get(key) != value:
                raise AirflowFailException(
                    f"{self.where} did something else: 'modelberth {command}' reports {key} {report.get(key)!r}, "
                    f"asked for was {value!r}."
                )
        return report

    @property
    def report(self) -> dict[str, Any]:
        """What the program left, empty if that is no result."""
        try:
            report = json.loads(self.message)
        except (ValueError, RecursionError):
            return {}
        return report if isinstance(report, dict) else {}

    def _failure(self, command: str, report: dict[str, Any]) -> str:
        problems = self.problems
        more = report.get("problem_count", len(problems)) - len(problems)
        why = ", ".join(part for part in (str(report.get("outcome", "")), self.reason) if part)
        lines = [f"{self.where}: 'modelberth {command}' failed, exit code {self.exit_code}{f' ({why})' * bool(why)}."]
        lines += problems or [self.message[-500:] or "It said nothing about the cause: see the log."]
        return "\n".join(lines + [f"... and {more} more: see the log."] * (more > 0))
