"""Who keeps a variable, row by row of the truth table."""

import pytest

from modelberth.core.ownership import owner


def holding(*path, manager="kustomize-controller", **changes):
    """Return an entry of managedFields whose manager holds *path*."""
    fields = {}
    for step in reversed(path):
        fields = {step: fields}
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields} | changes


SPEC = ("f:spec", "f:template", "f:spec", "f:containers")
SERVER = (*SPEC, 'k:{"name":"server"}')
ENV = (*SERVER, "f:env")
VARIABLE = (*ENV, 'k:{"name":"MODEL_PATH"}')
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps"}
ARGO = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:serving/embedder"}
HELM = {"app.kubernetes.io/managed-by": "Helm"}
OWNED = [{"kind": "InferenceService", "name": "llm", "controller": True}]


def who(*managed, is_set=True, **metadata):
    return owner({"managedFields": list(managed)} | metadata, "server", "MODEL_PATH", is_set=is_set)


@pytest.mark.parametrize("path", [VARIABLE, (*VARIABLE, "f:value"), (*VARIABLE, "."), ENV, SERVER, SPEC, ("f:spec",)])
def test_a_manager_that_holds_the_variable_or_all_above_it_keeps_it(path):
    assert who(holding(*path)) == "'kustomize-controller'"


@pytest.mark.parametrize(
    "path",
    [
        ("f:metadata", "f:labels"),
        ("f:spec", "f:replicas"),
        (*SERVER, "f:image"),
        (*ENV, "."),
        (*ENV, 'k:{"name":"MODEL_PATH_2"}'),
        (*SPEC, 'k:{"name":"sidecar"}', *VARIABLE[5:]),
        ("f:spec", "f:template", "f:spec", "f:initContainers", *VARIABLE[4:]),
    ],
)
def test_a_manager_of_other_fields_does_not(path):
    assert who(holding(*path)) is None


@pytest.mark.parametrize(
    ("manager", "keeps"),
    [
        ("kustomize-controller", True),
        ("argocd-controller", True),
        ("helm", True),
        ("manager", True),
        ("Terraform", True),
        ("octopus", True),
        ("kubectlx", True),
        ("kubectl", False),
        ("kubectl-client-side-apply", False),
        ("kubectl-edit", False),
        ("kubectl-set", False),
        ("oc", False),
        ("before-first-apply", False),
        ("OpenAPI-Generator", False),
        ("modelberth", False),
    ],
)
@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_a_persons_tools_and_modelberth_itself_keep_nothing(manager, keeps, operation):
    assert bool(who(holding(*VARIABLE, manager=manager, operation=operation))) is keeps


def test_what_a_controller_writes_into_the_status_is_not_the_variable():
    assert who(holding("f:spec", subresource="status")) is None


@pytest.mark.parametrize(
    ("mark", "is_set", "kept_by"),
    [
        ({"labels": FLUX}, True, "Flux Kustomization apps"),
        ({"annotations": ARGO}, True, "Argo CD application shop"),
        ({"labels": HELM, "annotations": {"meta.helm.sh/release-name": "shop"}}, True, "Helm release shop"),
        ({"labels": HELM}, True, "Helm"),
        ({"labels": FLUX}, False, None),
        ({"labels": HELM}, False, None),
        ({"labels": {"app.kubernetes.io/managed-by": "kustomize-v5.4.1"}}, True, None),
        ({"labels": {"app.kubernetes.io/managed-by": "kubectl"}}, True, None),
        ({"labels": {"app.kubernetes.io/name": "embedder"}, "annotations": None}, True, None),
    ],
)
def test_an_agents_mark_counts_while_the_variable_is_set_by_no_one_else(mark, is_set, kept_by):
    assert who(is_set=is_set, **mark) == kept_by
    assert who(holding(*VARIABLE, manager="kubectl-set"), is_set=is_set, **mark) == kept_by
    assert who(holding(*VARIABLE, manager="modelberth"), is_set=is_set, **mark) is None


def test_a_manager_is_named_with_the_agents_mark():
    assert who(holding(*VARIABLE), labels=FLUX) == "'kustomize-controller' (Flux Kustomization apps)"


def test_what_made_the_workload_keeps_all_of_it():
    assert who(ownerReferences=OWNED, is_set=False) == "InferenceService llm, which made it"
    assert who(ownerReferences=[OWNED[0] | {"controller": False}]) is None


def test_a_workload_without_any_notes_is_kept_by_nobody():
    assert owner({}, "server", "MODEL_PATH", is_set=True) is None
