"""What a service's file asks to be tried before the rest: how it is confirmed, its canary, its preview."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelberth.catalog import Confirm, Service, Target
from modelberth.core.plan import Canary
from modelberth.kubernetes.canary import canary_of, problems
from modelberth.kubernetes.declared import other_ways

SNAPSHOT = "0a" * 32 + ".1"


def service(**changes) -> Service:
    return Service.model_validate(
        {
            "name": "embedder",
            "connection": "c",
            "namespace": "serving",
            "claim": "models",
            "workload": {"kind": "StatefulSet", "name": "embedder"},
            "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": "minilm"}],
            "pods": {"image": "x", "service_account": "x", "bucket_secret": "x"},
            "confirm": {"level": "declared"},
            "approvers": [{"id": "alice", "name": "Alice"}],
        }
        | changes
    )


FURTHER = {"container": "server", "variable": "MODEL_PATH", "model": "minilm"}
TWO = [FURTHER | {"workload": {"kind": "Deployment", "name": "canary"}}, FURTHER]


@pytest.mark.parametrize(
    ("canary", "bindings", "workload", "changes", "is_"),
    [
        (None, TWO, 0, True, None),
        ({"soak": 60}, [FURTHER], 0, True, Canary(None, 60)),
        ({"soak": 60}, [FURTHER], 0, False, None),
        ({"soak": 60}, TWO, 0, True, Canary(None, 60)),
        ({"soak": 60}, TWO, 1, True, None),
        ({"soak": 60, "partition": 1}, [FURTHER], 0, True, Canary(1, 60)),
        ({"soak": 60, "partition": 1}, TWO, 0, True, None),
        ({"soak": 60, "partition": 1}, TWO, 1, True, Canary(1, 60)),
        ({"soak": 60, "partition": 1}, TWO, 1, False, None),
    ],
)
def test_what_comes_first_is_watched(canary, bindings, workload, changes, is_):
    one = service(canary=canary, bindings=bindings)
    workloads = one.workloads()
    assert canary_of(one, workloads[workload], last=workload == len(workloads) - 1, changes=changes) == is_


def stateful_set(replicas: int = 3, partition: int | None = 0, command=(), env=()) -> dict:
    server = {"name": "server", "command": list(command), "env": list(env)}
    return {
        "kind": "StatefulSet",
        "metadata": {"namespace": "serving", "name": "embedder"},
        "spec": {
            "replicas": replicas,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "template": {"spec": {"containers": [server]}},
        },
    }


@pytest.mark.parametrize(
    ("canary", "document", "said"),
    [
        (None, stateful_set(replicas=1), None),
        ({"soak": 60}, stateful_set(replicas=1), None),
        ({"soak": 60, "partition": 2}, stateful_set(), None),
        ({"soak": 60, "partition": 2}, {}, None),
        ({"soak": 60, "partition": 2}, stateful_set(partition=None), None),
        ({"soak": 60, "partition": 3}, stateful_set(), "has 3 pods"),
        ({"soak": 60, "partition": 2}, stateful_set(partition=2), "has partition 2 already"),
        ({"soak": 60, "partition": 1}, stateful_set(partition=2), "has partition 2 already"),
    ],
)
def test_a_partition_that_no_pod_is_beyond_is_refused(canary, document, said):
    one = service(canary=canary)
    found = problems(Target("embedder", one, one.workload), document)
    assert (not found) if said is None else (said in found[0])


@pytest.mark.parametrize(
    ("style", "command", "env", "said"),
    [
        ("path", ["serve"], [], None),
        ("vllm", ["vllm", "serve", f"/models/minilm/{SNAPSHOT}/files"], [], "Write $(MODEL_PATH)"),
        ("vllm", ["vllm", "serve", "$(MODEL_PATH)"], [], None),
        ("vllm", ["serve"], [{"name": "ARGS", "value": "$(MODEL_PATH)"}], "move ARGS behind MODEL_PATH"),
        ("triton", ["tritonserver", "--model-repository=$(MODEL_PATH)"], [], None),
        ("triton", ["sh", "-c", "exec tritonserver --model-repository=$MODEL_PATH"], [], None),
        ("triton", ["tritonserver", "--model-repository=/models"], [], "--model-repository=$(MODEL_PATH)"),
        ("triton", ["tritonserver"], [{"name": "MODEL_PATH", "value": "/m"}], "--model-repository=$(MODEL_PATH)"),
        ("triton", ["serve", "$(MODEL_PATH)"], [{"name": "MODEL_PATH", "value": "/m"}], None),
    ],
)
def test_a_command_that_goes_by_another_path_is_found_before_anything_is_moved(style, command, env, said):
    confirm = {"level": "reported", "style": style, "port": 8000, "report": "/x"}
    one = service(confirm=confirm)
    found = other_ways(stateful_set(command=command, env=env), one, one.workload)
    assert (not found) if said is None else (len(found) == 1 and said in found[0])


@pytest.mark.parametrize(
    ("confirm", "report"),
    [
        ({"style": "vllm"}, "/v1/models"),
        ({"style": "triton"}, "/v2/repository/index"),
        ({"style": "vllm", "report": "/prefix/v1/models"}, "/prefix/v1/models"),
    ],
)
def test_servers_of_a_style_report_where_they_do(confirm, report):
    assert Confirm.model_validate({"level": "reported", "port": 8000} | confirm).report == report


SMOKE = {"path": "/a", "json_path": "x"}


@pytest.mark.parametrize(
    ("confirm", "said"),
    [
        ({"report": None}, "needs report"),
        ({"level": "declared", "probe": {"secret": "s"}}, "asks the pods nothing"),
        ({"style": "tgi"}, "style"),
        ({"probe": {"secret": "s", "scheme": "ftp"}}, "scheme"),
        ({"smoke": [SMOKE | {"body": {"x": "y" * 70_000}}], "probe": {"secret": "s"}}, "too large"),
        ({"smoke": [SMOKE | {"body": {"x": object()}}]}, "JSON"),
        ({"smoke": [SMOKE | {"equals": [[0.1], ["a"]], "tolerance": 0.1}]}, "tolerance"),
        ({"smoke": [SMOKE | {"equals": [], "tolerance": 0.1}]}, "tolerance"),
    ],
)
def test_what_could_not_be_asked_is_refused(confirm, said):
    with pytest.raises(ValidationError, match=said):
        Confirm.model_validate({"level": "behaved", "port": 8000, "report": "/m", "smoke": [SMOKE]} | confirm)


def test_vectors_are_compared_with_a_tolerance():
    smoke = SMOKE | {"equals": [[0.1, 0.2]], "tolerance": 0.1}
    confirm = Confirm.model_validate({"level": "behaved", "port": 8000, "report": "/m", "smoke": smoke})
    assert confirm.smoke[0].equals == [[0.1, 0.2]]
