"""What the cluster allows: the rights that README.md names are enough, and a policy's own words reach the caller."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import Kubectl
from front_end_fixtures import FrontEnd, StartFrontEnd
from kubelet_fixtures import FakeKubelet, PodLog, create_pod_on_node
from s3_fixtures import S3Server

from lmms_eval_core import names
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REQUEST = {"model": "llava_hf", "tasks": ["mme"]}
RIGHTS = "get,list,watch,create,patch"


@pytest.fixture
def as_service_account(kubectl: Kubectl, namespace: str, kubeconfig: str, tmp_path: Path) -> str:
    """A kubeconfig with the rights of the front end and no more."""
    here = ("--namespace", namespace)
    kubectl(*here, "create", "serviceaccount", "front-end")
    kubectl(*here, "create", "role", "front-end", f"--verb={RIGHTS}", "--resource=lmmevaluations.lmms-eval.io")
    own = ("--verb=get", "--resource=namespaces", f"--resource-name={namespace}")
    kubectl(*here, "create", "role", "own-namespace", *own)
    kubectl(*here, "create", "role", "pods", "--verb=list", "--resource=pods")
    kubectl(*here, "create", "role", "logs", "--verb=get", "--resource=pods/log")
    for role in ("front-end", "own-namespace", "pods", "logs"):
        kubectl(*here, "create", "rolebinding", role, f"--role={role}", f"--serviceaccount={namespace}:front-end")
    config: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())
    config["users"][0]["user"] = {"token": kubectl(*here, "create", "token", "front-end").strip()}
    path = tmp_path / "front-end-kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_the_rights_are_enough(
    start_front_end: StartFrontEnd, as_service_account: str, kubectl: Kubectl, namespace: str
) -> None:
    front_end = start_front_end(KUBECONFIG=as_service_account)
    front_end.wait_until_ready()
    with front_end.session() as session:
        name = session.post("/evaluate", json=REQUEST).raise_for_status().json()["job_id"]
        assert session.get(f"/jobs/{name}").json()["status"] == "queued"
        assert session.get("/jobs/missing").status_code == 404
        assert session.delete(f"/jobs/{name}").status_code == 200
        kubectl("--namespace", namespace, "delete", "rolebinding", "front-end")
        deadline = time.monotonic() + 60
        while (answer := session.post("/evaluate", json=REQUEST)).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert (answer.status_code, "check the Role" in answer.json()["detail"]) == (500, True)


def test_they_are_enough_to_read_logs(
    start_front_end: StartFrontEnd, as_service_account: str, kubectl: Kubectl, namespace: str, fake_kubelet: FakeKubelet
) -> None:
    front_end = start_front_end(KUBECONFIG=as_service_account)
    front_end.wait_until_ready()
    with front_end.session() as session:
        name = session.post("/evaluate", json=REQUEST).raise_for_status().json()["job_id"]
        uid = kubectl("--namespace", namespace, "get", "lmmevaluation", name, "-o", "jsonpath={.metadata.uid}")
        create_pod_on_node(
            kubectl, namespace, "a", fake_kubelet.name, {names.LABEL_EVALUATION_UID: uid, names.LABEL_ATTEMPT: "1"}
        )
        fake_kubelet.logs["a"] = PodLog()
        fake_kubelet.logs["a"].write(b"a log\n")
        assert session.get(f"/jobs/{name}/logs").text == "a log\n"


async def test_they_are_enough_to_delete_the_files_of_what_is_gone(
    start_front_end: StartFrontEnd, as_service_account: str, kubectl: Kubectl, namespace: str, s3_server: S3Server
) -> None:
    store = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    often = {"LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS": "0.2", "LMMS_EVAL_API_SWEEP_GRACE_SECONDS": "0.5"}
    front_end = start_front_end(KUBECONFIG=as_service_account, **s3_server.environment(), **often)
    front_end.wait_until_ready()
    with front_end.session() as session:
        names = [session.post("/evaluate", json=REQUEST).raise_for_status().json()["job_id"] for _ in range(2)]
        files = [await stored(store, kubectl, namespace, name) for name in names]
        kubectl("--namespace", namespace, "delete", "lmmevaluation", names[0])
        async with asyncio.timeout(60):
            while (await store.folder(namespace)).folders != [files[1].split("/")[1]]:
                await asyncio.to_thread(session.get, "/livez")
            assert session.get("/readyz").json() == {"status": "ok", "sweeping": "done"}
            s3_server.stop()
            while session.get("/readyz").json()["sweeping"] == "done":
                await asyncio.to_thread(session.get, "/livez")
        assert session.get(f"/jobs/{names[1]}").status_code == 200
    assert front_end.stop() == 0


async def stored(store: ObjectStore, kubectl: Kubectl, namespace: str, name: str) -> str:
    """The key of a file of this evaluation, which is now in the store."""
    uid = kubectl("--namespace", namespace, "get", "lmmevaluation", name, "-o", "jsonpath={.metadata.uid}")
    key = ArtifactPrefix(namespace, name, uid, 1).file("results.json")
    await store.put(key, b"{}")
    return key


@pytest.fixture
def policy(kubectl: Kubectl, namespace: str) -> Iterator[None]:
    """An administrator who refuses two models in this namespace, in two ways."""
    creations = {
        "apiGroups": ["lmms-eval.io"],
        "apiVersions": ["*"],
        "operations": ["CREATE"],
        "resources": ["lmmevaluations"],
    }
    refuse = [
        {"expression": "object.spec.model != 'dear'", "message": "dear is too dear; use cheap"},
        {"expression": "object.spec.model != 'secret'", "message": "secret is not for you", "reason": "Forbidden"},
    ]
    constraints = {
        "resourceRules": [creations],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    kinds = {
        "ValidatingAdmissionPolicy": {"matchConstraints": constraints, "validations": refuse},
        "ValidatingAdmissionPolicyBinding": {"policyName": namespace, "validationActions": ["Deny"]},
    }
    for kind, spec in kinds.items():
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": namespace},
            "spec": spec,
        }
        kubectl("apply", "-f", "-", stdin=json.dumps(body))
    yield
    for kind in kinds:
        kubectl("delete", kind.lower(), namespace, "--wait=false")


def test_a_policy_speaks_to_the_caller(front_end: FrontEnd, policy: None) -> None:
    with front_end.session() as session:
        deadline = time.monotonic() + 60
        while (answer := session.post("/evaluate", json=REQUEST | {"model": "dear"})).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert (answer.status_code, answer.json()["detail"][0]["msg"]) == (422, "dear is too dear; use cheap")
        forbidden = session.post("/evaluate", json=REQUEST | {"model": "secret"})
        assert (forbidden.status_code, forbidden.json()["detail"]) == (403, "secret is not for you")
        assert session.post("/evaluate", json=REQUEST | {"model": "cheap"}).status_code == 200
