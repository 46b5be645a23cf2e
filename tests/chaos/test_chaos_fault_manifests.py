"""The faults of chaos that are rules of the cluster, in force on a real API server, and gone when they are taken away."""

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


class Place:
    """A namespace under Pod Security `restricted`, as the release's."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.name = namespaces.create(kubectl, **{"pod-security.kubernetes.io/enforce": "restricted"})

    def give(self, verb: str, *items: Object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        return self.kubectl.run("-n", self.name, verb, "-f", "-", *options, stdin=text)

    def dry_run(self, item: Object) -> subprocess.CompletedProcess[str]:
        return self.give("create", item, options=("--dry-run=server", "-o", "json"))


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[Place]:
    place = Place(kubectl)
    yield place
    kubectl("delete", "namespace", place.name, "--wait=false")


@contextlib.contextmanager
def in_force(place: Place, verb: str, item: Object, shows: Callable[[subprocess.CompletedProcess[str]], bool]) -> Iterator[None]:
    """A fault for as long as the block lasts: `shows` tells by what the API server says to the item."""
    items = fault_manifests.PASSING[verb](place.name)
    done = place.give("apply", *items)
    if "no matches for kind" in done.stderr:
        pytest.skip(f"this API server is older than the pinned one: {done.stderr}")
    assert done.returncode == 0, done.stderr
    try:
        wait_until(lambda: shows(place.dry_run(item)), seconds=20, what=f"'{verb}' to be in force")
        yield
    finally:
        assert place.give("delete", *items, options=("--ignore-not-found",)).returncode == 0
    wait_until(lambda: not shows(place.dry_run(item)), seconds=20, what=f"the end of '{verb}'")


def is_refused(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode != 0


def containers(done: subprocess.CompletedProcess[str]) -> list[Object]:
    assert done.returncode == 0, done.stderr
    found: list[Object] = json.loads(done.stdout)["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    ("verb", "item", "taken", "words"),
    [
        ("refuse jobs", JOB, POD, "chaos takes no jobs for now"),
        ("refuse pods", POD, JOB, "chaos takes no pods for now"),
        ("limit jobs", JOB, POD, "quota"),
    ],
)
def test_a_rule_refuses_what_it_is_for_and_nothing_else(place: Place, verb: str, item: Object, taken: Object, words: str) -> None:
    with in_force(place, verb, item, is_refused):
        assert words in place.dry_run(item).stderr
        assert not is_refused(place.dry_run(taken))
        other = {**item, "metadata": {"name": "other", "labels": {"app": "other"}}}
        assert is_refused(place.dry_run(other)) == (verb == "limit jobs")


def test_a_policy_injects_a_container_that_pod_security_permits(place: Place) -> None:
    with in_force(place, "inject container", POD, lambda done: len(containers(done)) > 1):
        evaluator, foreign = containers(place.dry_run(POD))
    assert (foreign["name"], foreign["image"]) == (fault_manifests.FOREIGN, evaluator["image"])
    assert foreign["command"] == fault_manifests.WAITS_FOR_SIGTERM
    assert foreign["securityContext"] == SECURITY


def test_a_second_pod_of_a_job_is_behind_the_gate(place: Place) -> None:
    job = {**JOB, "spec": {**JOB["spec"], "suspend": False}}
    made = json.loads(place.give("create", job, options=("-o", "json")).stdout)
    second = place.give(
        "create", fault_manifests.second_pod(made["items"][0] if "items" in made else made), options=("-o", "json")
    )
    assert second.returncode == 0, second.stderr
    pod = json.loads(second.stdout)
    assert pod["spec"]["schedulingGates"] == [{"name": names.SCHEDULING_GATE}]
    assert pod["metadata"]["labels"][names.LABEL_ATTEMPT] == "1"
    assert pod["metadata"]["ownerReferences"][0]["controller"]
