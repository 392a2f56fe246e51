import json

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import report


def run(work, capsys, tmp_path, monkeypatch):
    message = tmp_path / "message"
    message.touch()
    monkeypatch.setenv("MODELBERTH_TERMINATION_LOG", str(message))
    code = report.ended("sync", work)
    return code, json.loads(capsys.readouterr().out.splitlines()[-1]), json.loads(message.read_bytes())


def test_the_last_line_and_the_termination_message_are_the_result(capsys, tmp_path, monkeypatch):
    code, line, message = run(lambda: {"files": 3}, capsys, tmp_path, monkeypatch)
    assert code is ExitCode.OK
    assert line == message == {"command": "sync", "outcome": "ok", "exit_code": 0, "files": 3}


def test_a_failure_names_the_first_five_problems_and_counts_all(capsys, tmp_path, monkeypatch):
    def fail():
        raise Failure(ExitCode.NO_SPACE, *(f"Problem {n}." for n in range(7)))

    code, line, _ = run(fail, capsys, tmp_path, monkeypatch)
    assert (code, line["outcome"], line["exit_code"], line["problem_count"]) == (22, "no-space", 22, 7)
    assert line["problems"] == [f"Problem {n}." for n in range(5)]


def test_a_fault_of_the_program_is_told_like_any_other_end(capsys, tmp_path, monkeypatch, caplog):
    code, line, message = run(lambda: 1 // 0, capsys, tmp_path, monkeypatch)
    assert (code, line["outcome"], line["exit_code"]) == (1, "fault", 1)
    assert "ZeroDivisionError" in line["problems"][0]
    assert line == message
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "result",
    [
        {"problems": ["x" * 5000] * 5},
        {"problems": ["模" * 5000] * 5},
        {"models": [{"model": "m" * 60, "snapshots": []}] * 1000},
        {"path": "p" * 9000},
        {"problems": ["\x00" * 5000] * 5},
    ],
)
def test_a_long_result_is_cut_to_what_kubelet_keeps(result):
    data = report.shortened({"command": "sync", "exit_code": 20} | result)
    assert len(data) <= report.LONGEST_MESSAGE
    assert json.loads(data)["exit_code"] == 20
    assert json.loads(data)["truncated"] is True


def test_ten_thousand_problems_flood_neither_the_log_nor_the_message(capsys, tmp_path, monkeypatch, caplog):
    def fail():
        raise Failure(ExitCode.MISMATCH, *(f"File 'shard-{n}' is missing. " + "x" * 500 for n in range(10_000)))

    _, line, message = run(fail, capsys, tmp_path, monkeypatch)
    assert line["problem_count"] == message["problem_count"] == 10_000
    assert len(line["problems"]) == 5
    assert len(json.dumps(message)) <= report.LONGEST_MESSAGE
    assert len(caplog.records) == 1001
    assert caplog.records[-1].getMessage() == "And 9000 problems more."


def test_what_a_failure_knows_besides_is_in_the_result(capsys, tmp_path, monkeypatch):
    def fail():
        failure = Failure(ExitCode.MISMATCH, "It is bad.")
        failure.facts = {"recorded": True}
        raise failure

    _, line, _ = run(fail, capsys, tmp_path, monkeypatch)
    assert (line["recorded"], line["problem_count"]) == (True, 1)
