"""The policy on gates, on a real API server: who names a baseline has to be allowed to read it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from crd_samples import plant_value

from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

GATED = plant_value(("spec", "gate"), {"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": 1}]})
FLOOR = plant_value(("spec", "gate"), {"rules": [{"floor": 1}]})
BARE = plant_value(("spec", "model"), "llava_hf")


class Creators(NamedTuple):
    """Clients that may create evaluations, by what they may read."""

    blind: Transport
    one: Transport
    other: Transport
    all: Transport


def bind(namespace: str, name: str, *rules: Object) -> list[Object]:
    group = "rbac.authorization.k8s.io"
    create = {"apiGroups": ["lmms-eval.io"], "resources": ["lmmevaluations"], "verbs": ["create"]}
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": [create, *({**create, "verbs": ["get"], **rule} for rule in rules)],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [account],
        },
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def creators(guard: Callable[..., Any]) -> AsyncIterator[Creators]:
    """Who may create in a namespace with the policies of the chart."""
    guarded = guard({})
    rules = {"blind": (), "one": ({"resourceNames": ["main"]},), "other": ({"resourceNames": ["x"]},), "all": ({},)}
    async with AsyncExitStack() as stack:
        found = []
        for name, allowed in rules.items():
            guarded.apply(bind(guarded.namespace, name, *allowed))
            client = await transport.connect(namespace=guarded.namespace, kubeconfig=guarded.kubeconfig(name))
            stack.push_async_callback(client.close)
            found.append(client)
        await in_force(found[0])
        for client in found:
            await knows_rights(client)
        yield Creators(*found)


async def knows_rights(client: Transport) -> None:
    """Waits until the authorizer has learned what an account may do."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.create(EVALUATIONS, BARE, dry_run=True)
            except errors.Forbidden:
                await asyncio.sleep(0.1)
            else:
                return


async def in_force(blind: Transport) -> None:
    """Waits until the API server has learned of the policy: a second or so after it was made."""
    async with asyncio.timeout(60):
        while True:
            try:
                await blind.create(EVALUATIONS, GATED, dry_run=True)
            except errors.Forbidden as error:
                if "spec.gate.baseline" in error.message:
                    return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("who", ["blind", "other"])
async def test_who_may_not_read_the_baseline_may_not_name_it(creators: Creators, who: str) -> None:
    with pytest.raises(errors.Forbidden, match="you may not read main, of which the verdict says much"):
        await getattr(creators, who).create(EVALUATIONS, GATED, dry_run=True)


@pytest.mark.parametrize("who", ["one", "all"])
async def test_who_may_read_it_may(creators: Creators, who: str) -> None:
    await getattr(creators, who).create(EVALUATIONS, GATED, dry_run=True)


async def test_without_a_baseline_nothing_is_asked(creators: Creators) -> None:
    for body in (FLOOR, BARE):
        await creators.blind.create(EVALUATIONS, body, dry_run=True)
