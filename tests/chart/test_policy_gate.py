"""The policy on the scheduling gate, on a real API server: the operator opens it, others do not, and it changes nothing
else.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from deployment import Kubectl

from lmms_eval_core import names
from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import PODS, Object, Patch
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

OURS, THEIRS = names.SCHEDULING_GATE, "example.com/quota"
OPEN: Patch = [{"op": "remove", "path": "/spec/schedulingGates/0"}]
OTHERS: dict[str, Patch] = {
    "another gate": [{"op": "remove", "path": "/spec/schedulingGates/1"}],
    "all gates": [{"op": "remove", "path": "/spec/schedulingGates"}],
    "a label": [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}],
    "an annotation": [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}],
    "an owner": [
        {
            "op": "add",
            "path": "/metadata/ownerReferences",
            "value": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}],
        }
    ],
    "a finalizer": [{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/a"]}],
    "the image": [{"op": "replace", "path": "/spec/containers/0/image", "value": "other"}],
    "a toleration": [{"op": "add", "path": "/spec/tolerations/-", "value": {"key": "a", "operator": "Exists"}}],
    "the node selector": [{"op": "add", "path": "/spec/nodeSelector", "value": {"a": "b"}}],
    "the deadline": [{"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 5}],
}


class People(NamedTuple):
    """Clients by who they are."""

    administrator: Transport
    operator: Transport


def gated(name: str, *gates: str) -> Object:
    spec = {"containers": [{"name": "a", "image": "a"}], "schedulingGates": [{"name": gate} for gate in gates]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def pod(client: Transport, *gates: str) -> str:
    """A pod behind these gates; its name."""
    name = f"pod-{secrets.token_hex(3)}"
    await client.create(PODS, gated(name, *gates))
    return name


def gates(item: Object) -> list[str]:
    return [gate["name"] for gate in item["spec"].get("schedulingGates", [])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(guard: Callable[..., Any], kubectl: Kubectl, kubeconfig: str) -> AsyncIterator[People]:
    """The operator with the chart's rights, and somebody who may do everything."""
    namespace = f"test-{secrets.token_hex(4)}"
    kubectl("create", "namespace", namespace)
    guarded = guard({}, namespace)
    administrator = await transport.connect(namespace=namespace, kubeconfig=kubeconfig)
    operator = await transport.connect(namespace=namespace, kubeconfig=guarded.kubeconfig("lmms-eval-operator"))
    try:
        await in_force(administrator)
        yield People(administrator, operator)
    finally:
        await operator.close()
        await administrator.close()


async def in_force(administrator: Transport) -> None:
    """Waits until the API server has learned of the policy: from then on the gate stays closed."""
    async with asyncio.timeout(60):
        while True:
            try:
                await administrator.json_patch(PODS, await pod(administrator, OURS), OPEN)
            except errors.Forbidden:
                return
            await asyncio.sleep(0.1)


async def test_the_operator_opens_the_gate(people: People) -> None:
    name = await pod(people.administrator, OURS, THEIRS)
    assert gates(await people.operator.json_patch(PODS, name, OPEN)) == [THEIRS]


async def test_nobody_else_opens_it(people: People) -> None:
    name = await pod(people.administrator, OURS, THEIRS)
    with pytest.raises(errors.Forbidden, match="is opened by the operator alone"):
        await people.administrator.json_patch(PODS, name, OPEN)


@pytest.mark.parametrize("change", OTHERS)
async def test_the_operator_changes_nothing_else_of_a_pod(people: People, change: str) -> None:
    name = await pod(people.administrator, OURS, THEIRS)
    with pytest.raises((errors.Forbidden, errors.Invalid)) as refused:
        await people.operator.json_patch(PODS, name, OTHERS[change])
    assert "may change nothing but the scheduling gate" in str(refused.value) or isinstance(
        refused.value, errors.Invalid
    )
    with pytest.raises(errors.KubeError):
        await people.operator.json_patch(PODS, name, [*OPEN, *OTHERS[change]])
    assert gates(await people.administrator.get(PODS, name)) == [OURS, THEIRS]


async def test_pods_of_others_are_as_they_were_to_everybody_else(people: People) -> None:
    name = await pod(people.administrator, THEIRS)
    changed = await people.administrator.json_patch(PODS, name, OTHERS["a label"])
    assert changed["metadata"]["labels"] == {"a": "b"}
    assert gates(await people.administrator.json_patch(PODS, name, OPEN)) == []
