"""Which volumes are the same storage."""

import pytest

from modelberth.kubernetes.volumes import Claims, Storage, storage

PV = {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "claimRef": {"name": "c"}, "nodeAffinity": {}}


def nfs(path, server="files.example"):
    return {"nfs": {"server": server, "path": path}}


def csi(handle, driver="ebs.csi.aws.com", **attributes):
    return {"csi": {"driver": driver, "volumeHandle": handle, "volumeAttributes": attributes}}


def path(where, kind="hostPath"):
    return {kind: {"path": where}}


EFS = "efs.csi.aws.com"
SHARE = {"server": "files.example", "share": "/models"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (nfs("/models"), nfs("/models"), True),
        (nfs("/models"), nfs("/models/"), True),
        (nfs("/models"), nfs("//models"), True),
        (nfs("/models"), nfs("/models", "FILES.example."), True),
        (nfs("/models"), nfs("/models", "10.0.0.5"), True),
        (nfs("/models"), nfs("/models/minilm"), True),
        (nfs("/"), nfs("/models"), True),
        (nfs("/models"), nfs("/models-2"), False),
        (nfs("/models"), nfs("/other"), False),
        (nfs("/models"), nfs("/models/minilm", "10.0.0.5"), False),
        (csi("vol-1"), csi("vol-1"), True),
        (csi("vol-1"), csi("vol-2"), False),
        (csi("vol-1"), csi("vol-1", "pd.csi.storage.gke.io"), False),
        (csi("a", "nfs.csi.k8s.io", **SHARE), csi("b", "nfs.csi.k8s.io", **SHARE), True),
        (csi("a", "nfs.csi.k8s.io", **SHARE), nfs("/models"), True),
        (csi("a", "nfs.csi.k8s.io", **SHARE, subDir="x"), nfs("/models/x"), True),
        (csi("a", "nfs.csi.k8s.io", **SHARE, subDir="x"), nfs("/models/y"), False),
        (csi("fs-1::fsap-1", EFS), csi("fs-1::fsap-2", EFS), True),
        (csi("fs-1", EFS), csi("fs-2", EFS), False),
        (path("/srv/models"), path("/srv/models"), True),
        (path("/srv/models"), path("/srv/models", "local"), True),
        (path("/srv/models"), path("/srv"), True),
        (path("/srv/models"), path("/srv/other"), False),
        (path("/models"), nfs("/models"), False),
        ({"rbd": {"image": "x", "pool": "p", "readOnly": True}}, {"rbd": {"image": "x", "pool": "p"}}, True),
        ({"rbd": {"image": "x", "pool": "p"}}, {"rbd": {"image": "y", "pool": "p"}}, False),
    ],
)
def test_two_volumes_are_the_same_storage(one, other, same):
    first, second = storage(PV | one), storage(PV | other)
    assert first.shares(second) is same
    assert second.shares(first) is same


def test_what_is_no_storage_is_none():
    assert storage({"name": "tmp", "persistentVolumeClaim": {"claimName": "x"}}) is None


@pytest.mark.parametrize(
    ("volume", "has"),
    [
        ({"name": "v", "persistentVolumeClaim": {"claimName": "models"}}, True),
        ({"name": "v", "persistentVolumeClaim": {"claimName": "part"}}, None),
        ({"name": "v", "persistentVolumeClaim": {"claimName": "other"}}, False),
        ({"name": "v", "nfs": {"server": "files.example", "path": "/models"}}, True),
        ({"name": "v", "nfs": {"server": "files.example", "path": "/models/minilm"}}, None),
        ({"name": "v", "nfs": {"server": "files.example", "path": "/other"}}, False),
        ({"name": "v", "emptyDir": {}}, False),
        ({"name": "v", "secret": {"secretName": "models"}}, False),
    ],
)
def test_a_pods_volume_is_the_claims_storage_as_a_whole_in_part_or_not(volume, has):
    where = Storage("nfs", "files.example", "/models")
    claims = Claims(where, frozenset({("serving", "models")}), frozenset({("serving", "part")}))
    assert claims.has("serving", volume) is has
    if "persistentVolumeClaim" in volume:
        assert claims.has("elsewhere", volume) is False
