"""The manifests of faults on a real API server: each is in effect while its objects exist, and only then."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import namespaces
import pytest
from chaos import fault_manifests
from deployment import Kubectl, wait_until

from lmms_eval_core import names

pytestmark = pytest.mark.integration

Object = dict[str, Any]
LABELS = {names.LABEL_EVALUATION: "e", names.LABEL_ATTEMPT: "1"}
SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
TEMPLATE: Object = {
    "metadata": {"labels": LABELS},
    "spec": {
        "restartPolicy": "Never",
        "schedulingGates": [{"name": names.SCHEDULING_GATE}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "evaluator", "image": "stub:1", "securityContext": SECURITY}],
    },
}
JOB: Object = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "e-1", "labels": LABELS},
    "spec": {"suspend": True, "template": TEMPLATE},
}
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "e-1-pod", "labels": LABELS},
    "spec": TEMPLATE["spec"],
}


class RestrictedNamespace:
    """A namespace with Pod Security `restricted`, like that of a release."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.name = namespaces.create_namespace(kubectl, **{"pod-security.kubernetes.io/enforce": "restricted"})

    def send(self, verb: str, *items: Object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        return self.kubectl.run("-n", self.name, verb, "-f", "-", *options, stdin=text)

    def dry_run(self, item: Object) -> subprocess.CompletedProcess[str]:
        return self.send("create", item, options=("--dry-run=server", "-o", "json"))


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[RestrictedNamespace]:
    namespace = RestrictedNamespace(kubectl)
    yield namespace
    kubectl("delete", "namespace", namespace.name, "--wait=false")


@contextlib.contextmanager
def inject(
    namespace: RestrictedNamespace,
    fault: str,
    item: Object,
    is_affected: Callable[[subprocess.CompletedProcess[str]], bool],
) -> Iterator[None]:
    """Inject a fault for as long as the block lasts; `is_affected` reads its effect from a dry run with the item."""
    items = fault_manifests.ADMISSION_FAULTS[fault](namespace.name)
    done = namespace.send("apply", *items)
    too_old = f"this API server is older than the pinned version and lacks a kind that '{fault}' needs: {done.stderr}"
    assert "no matches for kind" not in done.stderr, too_old
    assert done.returncode == 0, done.stderr
    try:
        wait_until(lambda: is_affected(namespace.dry_run(item)), seconds=20, what=f"'{fault}' to be in force")
        yield
    finally:
        assert namespace.send("delete", *items, options=("--ignore-not-found",)).returncode == 0
    wait_until(lambda: not is_affected(namespace.dry_run(item)), seconds=20, what=f"the end of '{fault}'")


def is_refused(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode != 0


def read_containers(done: subprocess.CompletedProcess[str]) -> list[Object]:
    assert done.returncode == 0, done.stderr
    found: list[Object] = json.loads(done.stdout)["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    ("fault", "item", "accepted", "words"),
    [
        ("refuse jobs", JOB, POD, "chaos takes no jobs for now"),
        ("refuse pods", POD, JOB, "chaos takes no pods for now"),
        ("limit jobs", JOB, POD, "quota"),
    ],
)
def test_a_fault_refuses_its_own_kind_and_nothing_else(
    namespace: RestrictedNamespace,
    fault: str,
    item: Object,
    accepted: Object,
    words: str,
) -> None:
    with inject(namespace, fault, item, is_refused):
        assert words in namespace.dry_run(item).stderr
        assert not is_refused(namespace.dry_run(accepted))
        other = {**item, "metadata": {"name": "other", "labels": {"app": "other"}}}
        assert is_refused(namespace.dry_run(other)) == (fault == "limit jobs")


def test_a_policy_injects_a_container_that_pod_security_permits(namespace: RestrictedNamespace) -> None:
    with inject(namespace, "inject container", POD, lambda done: len(read_containers(done)) > 1):
        evaluator, foreign = read_containers(namespace.dry_run(POD))
    assert (foreign["name"], foreign["image"]) == (fault_manifests.INJECTED_CONTAINER, evaluator["image"])
    assert foreign["command"] == fault_manifests.INJECTED_COMMAND
    assert foreign["securityContext"] == SECURITY


def test_a_second_pod_of_a_job_has_the_scheduling_gate(namespace: RestrictedNamespace) -> None:
    job = {**JOB, "spec": {**JOB["spec"], "suspend": False}}
    created = json.loads(namespace.send("create", job, options=("-o", "json")).stdout)
    second_pod = fault_manifests.build_second_pod(created["items"][0] if "items" in created else created)
    second = namespace.send("create", second_pod, options=("-o", "json"))
    assert second.returncode == 0, second.stderr
    pod = json.loads(second.stdout)
    assert pod["spec"]["schedulingGates"] == [{"name": names.SCHEDULING_GATE}]
    assert pod["metadata"]["labels"][names.LABEL_ATTEMPT] == "1"
    assert pod["metadata"]["ownerReferences"][0]["controller"]
