"""The policy on the front end's own labels and annotations, on a real API server: nobody else writes them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from crd_samples import plant_value
from deployment import Kubectl

from lmms_eval_core import names
from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

MARKS = [("labels", key) for key in names.FRONT_END_LABELS] + [
    ("annotations", key) for key in names.FRONT_END_ANNOTATIONS
]
RESTORING = "velero"


class People(NamedTuple):
    """Clients by who they are."""

    administrator: Transport
    api: Transport
    restoring: Transport


def marked(name: str, kind: str, key: str, value: str = "x") -> Object:
    return {**plant_value(("spec", "model"), "llava_hf"), "metadata": {"name": name, kind: {key: value}}}


async def patch(client: Transport, name: str, kind: str, value: Object) -> Object:
    return await client.json_patch(EVALUATIONS, name, [{"op": "add", "path": f"/metadata/{kind}", "value": value}])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(guard: Callable[..., Any], kubectl: Kubectl, kubeconfig: str) -> AsyncIterator[People]:
    """Everybody who might write them."""
    namespace = f"test-{secrets.token_hex(4)}"
    kubectl("create", "namespace", namespace)
    restoring = f"system:serviceaccount:{namespace}:{RESTORING}"
    guarded = guard({"policies": {"restoreAccounts": [restoring]}}, namespace)
    guarded.apply(anybody(namespace))
    async with AsyncExitStack() as stack:

        async def client(file: str) -> Transport:
            connected = await transport.connect(namespace=namespace, kubeconfig=file)
            stack.push_async_callback(connected.close)
            return connected

        people = People(
            administrator=await client(kubeconfig),
            api=await client(guarded.kubeconfig("lmms-eval-api")),
            restoring=await client(guarded.kubeconfig(RESTORING)),
        )
        await in_force(people.administrator)
        yield people


def anybody(namespace: str) -> list[Object]:
    """The account that restores backups."""
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": RESTORING, "namespace": namespace}
    role = {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": RESTORING}},
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "a"},
            "roleRef": role,
            "subjects": [subject],
        },
    ]


async def in_force(client: Transport) -> None:
    """Waits until the API server has learned of the policy."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.create(EVALUATIONS, marked("probe", *MARKS[0]), dry_run=True)
            except errors.Forbidden:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("kind", "key"), MARKS)
async def test_a_copy_with_a_mark_is_refused_with_the_way_out(people: People, kind: str, key: str) -> None:
    with pytest.raises(errors.Forbidden) as refused:
        await people.administrator.create(EVALUATIONS, marked("copy", kind, key))
    assert (
        f"metadata.{kind}: {key} is written by the front end alone; leave it out, or let an account"
        in refused.value.message
    )


@pytest.mark.parametrize(("kind", "key"), MARKS)
async def test_the_front_end_and_a_restore_create_with_marks(people: People, kind: str, key: str) -> None:
    for who, client in (("api", people.api), ("restoring", people.restoring)):
        made = await client.create(EVALUATIONS, marked(f"{who}-{key.partition('/')[2]}", kind, key))
        assert made["metadata"][kind][key] == "x"


@pytest.mark.parametrize(("kind", "key"), MARKS)
async def test_nobody_else_changes_a_mark(people: People, kind: str, key: str) -> None:
    name = f"fixed-{key.partition('/')[2]}"
    await people.api.create(EVALUATIONS, marked(name, kind, key))
    for client in (people.administrator, people.restoring):
        for value in ({}, {key: "y"}):
            with pytest.raises(errors.Forbidden, match=f"{key} is written by the front end alone; leave it as it is"):
                await patch(client, name, kind, value)
        await patch(client, name, kind, {key: "x", "team": "a"})
    assert (await patch(people.api, name, kind, {key: "y"}))["metadata"][kind] == {key: "y"}


async def test_what_carries_no_mark_is_everybodys(people: People) -> None:
    await people.administrator.create(EVALUATIONS, marked("plain", "labels", "team"))
    await patch(people.administrator, "plain", "annotations", {"note": "x"})
    for kind, key in MARKS:
        with pytest.raises(errors.Forbidden, match="is written by the front end alone"):
            await patch(people.administrator, "plain", kind, {key: "x"})
    change = [{"op": "add", "path": "/spec/cancel", "value": True}]
    assert (await people.administrator.json_patch(EVALUATIONS, "plain", change))["spec"]["cancel"]
