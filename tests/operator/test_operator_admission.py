"""Policies of the cluster that refuse Jobs, on a real API server: what it says, and that nobody's evaluation fails by
it.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from deployment import Kubectl
from operator_namespace import OperatorNamespace, work_until

from lmms_eval_core.kube.client import Object

pytestmark = pytest.mark.integration

ADMISSION = "admissionregistration.k8s.io/v1"
REFUSAL = "every Job needs the label team"


def policy(namespace: str) -> list[Object]:
    """Refuses Jobs of evaluations whose name begins with `odd`."""
    metadata = {"name": f"{namespace}.jobs"}
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
        "validations": [{"expression": "!object.metadata.name.startsWith('odd')", "message": REFUSAL}],
    }
    binding = {"policyName": metadata["name"], "validationActions": ["Deny"]}
    return [
        {"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": binding},
    ]


def webhook(namespace: str) -> list[Object]:
    """Nobody answers for it."""
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    entry = {
        "name": "away.example.com",
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
    }
    metadata = {"name": f"{namespace}.away"}
    return [
        {"apiVersion": ADMISSION, "kind": "ValidatingWebhookConfiguration", "metadata": metadata, "webhooks": [entry]}
    ]


def quota(namespace: str) -> list[Object]:
    metadata = {"name": "few", "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"count/jobs.batch": "0"}}}
    ]


@pytest.fixture
def applied(kubectl: Kubectl) -> Iterator[Any]:
    """Applies objects, and takes them away again."""
    made: list[Object] = []

    def apply(items: list[Object]) -> None:
        made.extend(items)
        for item in items:
            kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(item))
            if item["kind"] == "ResourceQuota":
                # Until it is counted what is used, everything is refused, in other words.
                here, name = ("-n", item["metadata"]["namespace"]), item["metadata"]["name"]
                ((resource, most),) = item["spec"]["hard"].items()
                counted = f"--for=jsonpath={{.status.hard.{resource.replace('.', chr(92) + '.')}}}={most}"
                kubectl(*here, "wait", f"resourcequota/{name}", counted, "--timeout=60s")

    yield apply
    for item in made:
        namespace = item["metadata"].get("namespace", "default")
        kubectl("-n", namespace, "delete", item["kind"], item["metadata"]["name"], "--ignore-not-found", "--wait=false")


async def test_a_policy_that_refuses_one_job_lets_the_next_one_go(place: OperatorNamespace, applied: Any) -> None:
    applied(policy(place.client.namespace))
    await place.wait_until_jobs_are_refused()
    await place.submit("odd", priority=1)
    await place.submit("good", limit=1)

    async def starts() -> bool:
        return (await place.read_phase("good"))[0] == "Running"

    await work_until(place.make_operator(), starts)
    status = await place.read_status("odd")
    assert (status["phase"], status["reason"]) == ("Queued", "JobRefused")
    assert REFUSAL in status["message"] and status["nextAttemptAt"]
    assert (await place.read_holder()).startswith("good/")


@pytest.mark.parametrize(
    ("refusal", "told"), [(quota, "exceeded quota: few"), (webhook, 'failed calling webhook "away.example.com"')]
)
async def test_a_quota_and_a_webhook_that_is_away_are_told_and_the_queue_goes_on_after(
    place: OperatorNamespace, applied: Any, kubectl: Kubectl, refusal: Any, told: str
) -> None:
    items = refusal(place.client.namespace)
    applied(items)
    await place.wait_until_jobs_are_refused()
    await place.submit("a")
    operator = place.make_operator()

    async def refused() -> bool:
        return (await place.read_phase("a")) == ("Queued", "JobRefused")

    await work_until(operator, refused)
    assert told in (await place.read_status("a"))["message"]
    await operator.work()
    assert await place.read_holder() == ""
    kind, name = items[0]["kind"], items[0]["metadata"]["name"]
    await asyncio.to_thread(lambda: kubectl("-n", place.client.namespace, "delete", kind, name))

    async def starts() -> bool:
        return (await place.read_phase("a"))[0] == "Running"

    await work_until(operator, starts)


async def test_one_whose_pod_exceeds_a_quota_lets_the_next_one_go(
    place: OperatorNamespace, applied: Any, kubectl: Kubectl
) -> None:
    name, metadata = "memory", {"name": "memory", "namespace": place.client.namespace}
    hard = {"hard": {"requests.memory": "2Gi"}}
    applied([{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": hard}])
    await place.submit("big", priority=1, resources={"memory": "4Gi"})
    await place.submit("small", limit=1, resources={"memory": "64Mi"})
    operator = place.make_operator()

    async def small_starts() -> bool:
        return (await place.read_phase("small"))[0] == "Running"

    await work_until(operator, small_starts)
    status = await place.read_status("big")
    assert (status["phase"], status["reason"]) == ("Queued", "JobRefused")
    assert "the cluster refused the pod" in status["message"] and f"exceeded quota: {name}" in status["message"]
    assert "attempt" not in status

    async def its_job_is_gone() -> bool:
        return await place.list_jobs("big") == []

    await work_until(operator, its_job_is_gone)
    await asyncio.to_thread(lambda: kubectl("-n", place.client.namespace, "delete", "resourcequota", name))
    await place.edit("small", cancel=True)

    async def big_starts() -> bool:
        return (await place.read_phase("big"))[0] == "Running"

    await work_until(operator, big_starts)
