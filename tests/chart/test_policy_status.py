"""The policy on who writes a status, on a real API server, with the tokens that the kubelet would give to pods."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from crd_samples import build_schema, make_sample, plant_value

from lmms_eval_core import crd, names
from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS, Object
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.schema import Owner

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

OWNERS = crd.list_status_owners()
OPERATORS_ALONE = sorted(set(OWNERS[Owner.OPERATOR]) - set(OWNERS[Owner.REPORTER]))
STATUS = build_schema()["properties"]["status"]["properties"]
# What an operator's field holds otherwise; every sample differs from what the evaluation under test has.
CHANGED: Object = {"phase": "Completed", "reason": "Succeeded", "attempt": 9}
MINE, OTHER = "mine", "other"
JOB = {name: names.job_name(evaluation=name, uid="01234567-89ab", attempt=1) for name in (MINE, OTHER)}
OTHER_PODS = [form.format(JOB[MINE]) for form in ("{}-abcdef", "{}-a.cde", "{}0-abcde", "x{}-abcde", "{}")]

NOT_A_WRITER = (
    "a status is written by the operator and by the evaluation's reporter alone; change spec instead, for example"
)
NOT_ITS_OWN = "a reporter may write only the status of the evaluation that its own pod runs"
NOT_RUNNING = "a reporter may write only while the evaluation is Running"


class Everybody(NamedTuple):
    """Clients by who they are."""

    administrator: Transport
    operator: Transport
    reporter: Transport
    api: Transport
    strangers: dict[str, Transport]


def add(field: str, value: Any) -> list[Object]:
    return [{"op": "add", "path": f"/status/{field}", "value": value}]


async def write(client: Transport, name: str, patch: list[Object]) -> Object:
    return await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def start(everybody: Everybody, name: str, job: str) -> None:
    """What the operator writes when an attempt starts."""
    running = {"phase": "Running", "reason": "Starting", "attempt": 1, "jobName": job}
    await write(everybody.operator, name, [{"op": "add", "path": "/status", "value": running}])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everybody(guard: Callable[..., Any], kubeconfig: str) -> AsyncIterator[Everybody]:
    """Everybody who might write, and two evaluations that run."""
    guarded = guard({})
    async with AsyncExitStack() as stack:

        async def client(file: str) -> Transport:
            connected = await transport.connect(namespace=guarded.namespace, kubeconfig=file)
            stack.push_async_callback(connected.close)
            return connected

        async def in_pod(pod: str, account: str = "lmms-eval-reporter") -> Transport:
            return await client(guarded.kubeconfig(account, pod=guarded.pod(pod, account)))

        guarded.apply(intruder(guarded.namespace))
        mine = JOB[MINE]
        strangers = {
            "no pod": await client(guarded.kubeconfig("lmms-eval-reporter")),
            "another account in a pod of that name": await in_pod(f"{mine}-zzzzz", "intruder"),
            **{pod: await in_pod(pod) for pod in OTHER_PODS},
        }
        everybody = Everybody(
            administrator=await client(kubeconfig),
            operator=await client(guarded.kubeconfig("lmms-eval-operator")),
            reporter=await in_pod(f"{mine}-abcde"),
            api=await client(guarded.kubeconfig("lmms-eval-api")),
            strangers=strangers,
        )
        for name in (MINE, OTHER):
            await everybody.administrator.create(EVALUATIONS, named(name))
            await start(everybody, name, JOB[name])
        await in_force(everybody)
        yield everybody


def named(name: str) -> Object:
    return {**plant_value(("spec", "model"), "llava_hf"), "metadata": {"name": name}}


def intruder(namespace: str) -> list[Object]:
    """An account that may do everything, by RBAC."""
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "intruder", "namespace": namespace}
    role = {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "intruder"}},
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "a"},
            "roleRef": role,
            "subjects": [subject],
        },
    ]


async def in_force(everybody: Everybody) -> None:
    """Waits until the API server has learned of the policy."""
    async with asyncio.timeout(60):
        while True:
            try:
                await write(everybody.administrator, OTHER, add("message", "x"))
            except errors.Forbidden:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("field", OWNERS[Owner.REPORTER])
async def test_a_reporter_writes_its_fields(everybody: Everybody, field: str) -> None:
    value = make_sample(("status", field), STATUS[field])
    written = await write(everybody.reporter, MINE, add(field, value))
    assert field in written["status"]
    written = await write(everybody.reporter, MINE, [{"op": "remove", "path": f"/status/{field}"}])
    assert field not in written["status"]


@pytest.mark.parametrize("field", OPERATORS_ALONE)
async def test_a_reporter_writes_no_field_of_the_operator(everybody: Everybody, field: str) -> None:
    value = CHANGED.get(field, make_sample(("status", field), STATUS[field]))
    with pytest.raises(errors.Forbidden, match=f"status.{field} is the operator's; a reporter may not change it"):
        await write(everybody.reporter, MINE, add(field, value))


@pytest.mark.parametrize("field", ["jobName", "attempt"])
async def test_a_reporter_takes_no_field_of_the_operator_away(everybody: Everybody, field: str) -> None:
    with pytest.raises(errors.Forbidden, match=f"status.{field} is the operator's"):
        await write(everybody.reporter, MINE, [{"op": "remove", "path": f"/status/{field}"}])


async def test_a_reporter_writes_no_other_evaluation(everybody: Everybody) -> None:
    with pytest.raises(errors.Forbidden, match=NOT_ITS_OWN):
        await write(everybody.reporter, OTHER, add("summary", "x"))


STRANGERS = {
    "no pod": NOT_ITS_OWN,
    "another account in a pod of that name": NOT_A_WRITER,
    **dict.fromkeys(OTHER_PODS, NOT_ITS_OWN),
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_a_pod_that_is_not_the_evaluations_writes_nothing(everybody: Everybody, who: str) -> None:
    with pytest.raises(errors.Forbidden, match=STRANGERS[who]):
        await write(everybody.strangers[who], MINE, add("summary", "x"))


async def test_not_even_an_administrator_writes_a_status(everybody: Everybody) -> None:
    with pytest.raises(errors.Forbidden, match=NOT_A_WRITER):
        await write(everybody.administrator, MINE, add("summary", "x"))
    await everybody.administrator.json_patch(EVALUATIONS, MINE, [{"op": "add", "path": "/spec/priority", "value": 3}])


async def test_an_unchanged_status_is_no_offence_of_its_reporter(everybody: Everybody) -> None:
    await write(everybody.reporter, MINE, [{"op": "test", "path": "/status/phase", "value": "Running"}])


@pytest.mark.parametrize("phase", ["Queued", "Completed", "Failed", "Cancelled"])
async def test_a_reporter_writes_only_while_its_evaluation_runs(everybody: Everybody, phase: str) -> None:
    name = f"ended-{phase.lower()}"
    await everybody.administrator.create(EVALUATIONS, named(name))
    await start(everybody, name, JOB[MINE])
    await write(everybody.reporter, name, add("summary", "x"))
    await write(everybody.operator, name, add("phase", phase))
    with pytest.raises(errors.Forbidden, match=NOT_RUNNING):
        await write(everybody.reporter, name, add("summary", "y"))


async def test_a_reporter_of_an_evaluation_that_never_started_writes_nothing(everybody: Everybody) -> None:
    await everybody.administrator.create(EVALUATIONS, named("queued"))
    with pytest.raises(errors.Forbidden, match=NOT_ITS_OWN):
        await write(everybody.reporter, "queued", add("summary", "x"))


async def test_the_operator_writes_every_field(everybody: Everybody) -> None:
    await everybody.administrator.create(EVALUATIONS, named("whole"))
    await start(everybody, "whole", "job")
    for field, node in STATUS.items():
        await write(everybody.operator, "whole", add(field, CHANGED.get(field, make_sample(("status", field), node))))


async def test_a_reporter_has_no_other_right(everybody: Everybody) -> None:
    reporter = everybody.reporter
    assert (await reporter.get(EVALUATIONS, MINE))["metadata"]["name"] == MINE
    for resource in (EVALUATIONS, JOBS, PODS):
        with pytest.raises(errors.Forbidden):
            await reporter.list(resource)
    with pytest.raises(errors.Forbidden):
        await reporter.create(EVALUATIONS, named("new"))
    with pytest.raises(errors.Forbidden):
        await reporter.json_patch(EVALUATIONS, MINE, [{"op": "replace", "path": "/spec/cancel", "value": True}])


async def test_the_front_end_writes_no_status(everybody: Everybody) -> None:
    await everybody.api.json_patch(EVALUATIONS, MINE, [{"op": "replace", "path": "/spec/priority", "value": 7}])
    with pytest.raises(errors.Forbidden):
        await write(everybody.api, MINE, add("summary", "x"))
