"""Electors on a real API server, with a hurried timing: who leads, and that the other takes over, whatever is the
matter.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from api_server_proxy import serve_proxy
from deployment import Kubectl
from recording_proxy import RecordingProxy

from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import LEASES
from lmms_eval_core.kube.transport import Transport, connect
from lmms_eval_operator.election import Timing
from lmms_eval_operator.elector import Elector

pytestmark = pytest.mark.integration

# A leader that does not reach the API server for the deadline, as its disk may be busy, is none any more.
HURRIED = Timing(lease=4.0, deadline=2.8, renew=0.6, retry=0.2)
# A machine that does other things as well.
SLACK = 4.0


class Main:
    """What an elector knows of its process."""

    def __init__(self, name: str, client: Transport, kubeconfig: str) -> None:
        self.alive = True
        self.won = 0
        self.elector = Elector(
            name,
            partial(connect, namespace=client.namespace, kubeconfig=kubeconfig),
            alive=lambda: self.alive,
            on_elected=self._count,
            timing=HURRIED,
        )

    def _count(self) -> None:
        self.won += 1

    @property
    def is_leading(self) -> bool:
        return self.elector.term() > 0


async def seen(condition: Callable[[], bool], seconds: float = 30) -> float:
    """How long it took to hold."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                break
            await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture
def main(client: Transport, kubeconfig: str) -> Callable[[str], Main]:
    return lambda name: Main(name, client, kubeconfig)


async def two(stack: AsyncExitStack, main: Callable[[str], Main]) -> tuple[Main, Main]:
    """One that leads, and one that stands by."""
    first, second = main("first"), main("second")
    await stack.enter_async_context(first.elector.stand_for_election())
    await seen(lambda: first.is_leading)
    await stack.enter_async_context(second.elector.stand_for_election())
    await asyncio.sleep(2 * HURRIED.retry)
    assert not second.is_leading
    return first, second


async def test_who_leaves_gives_the_lease_back_and_the_other_leads_at_once(
    main: Callable[[str], Main], client: Transport
) -> None:
    first, second = main("first"), main("second")
    async with AsyncExitStack() as stack:
        async with first.elector.stand_for_election():
            await seen(lambda: first.is_leading)
            lease = await client.get(LEASES, names.OPERATOR_LEASE)
            assert lease["metadata"]["labels"][names.LABEL_MANAGED_BY] == names.MANAGED_BY
            assert lease["spec"].keys() == {"holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime"}
            assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("first", HURRIED.lease)
            await stack.enter_async_context(second.elector.stand_for_election())
            await asyncio.sleep(HURRIED.lease + 0.5)
            assert first.is_leading and not second.is_leading
        assert not first.is_leading
        assert await seen(lambda: second.is_leading) < HURRIED.lease
        assert (first.won, second.won) == (1, 1)
    assert (await client.get(LEASES, names.OPERATOR_LEASE))["spec"]["holderIdentity"] == ""


async def test_a_main_loop_that_hangs_leads_no_longer_than_its_term_and_may_stand_again(
    main: Callable[[str], Main],
) -> None:
    async with AsyncExitStack() as stack:
        first, second = await two(stack, main)
        first.alive = False
        assert await seen(lambda: not first.is_leading) < HURRIED.deadline + SLACK
        assert await seen(lambda: second.is_leading) < HURRIED.lease + SLACK
        first.alive, second.alive = True, False
        assert await seen(lambda: first.is_leading) < HURRIED.deadline + HURRIED.lease + SLACK
        assert (first.elector.term(), first.won) == (2, 2)


@pytest.mark.parametrize("away", ["cut", "500", "shut"])
async def test_a_leader_that_is_not_answered_stands_down_before_another_may_lead(
    main: Callable[[str], Main], client: Transport, kubeconfig: str, tmp_path: Path, away: Any
) -> None:
    async with AsyncExitStack() as stack:
        between, path = await stack.enter_async_context(serve_proxy(RecordingProxy, kubeconfig, tmp_path))
        first, second = await two(stack, lambda name: Main(name, client, path) if name == "first" else main(name))
        if away == "shut":
            between.block()
        else:
            between.mode = away
        while not second.is_leading:
            assert not (first.is_leading and second.is_leading)
            await asyncio.sleep(0.005)
        assert not first.is_leading
        between.mode = "pass"
        between.unblock()
        await asyncio.sleep(HURRIED.lease)
        assert second.is_leading and not first.is_leading


async def test_alone_it_is_elected_again_as_soon_as_the_api_server_is_back(
    client: Transport, kubeconfig: str, tmp_path: Path
) -> None:
    async with serve_proxy(RecordingProxy, kubeconfig, tmp_path) as (between, path):
        only = Main("only", client, path)
        async with only.elector.stand_for_election():
            await seen(lambda: only.is_leading)
            between.block()
            await seen(lambda: not only.is_leading)
            await asyncio.sleep(HURRIED.lease)
            between.unblock()
            assert await seen(lambda: only.is_leading) < HURRIED.lease, (
                "nobody else was elected: there is nothing to wait for"
            )
            assert only.won == 2


async def test_what_people_do_to_the_lease_ends_well(
    main: Callable[[str], Main], kubectl: Kubectl, client: Transport
) -> None:
    async with AsyncExitStack() as stack:
        first, second = await two(stack, main)
        here = ("-n", client.namespace)
        await asyncio.to_thread(lambda: kubectl(*here, "label", "lease", names.OPERATOR_LEASE, "a=b"))
        await asyncio.sleep(HURRIED.deadline + 0.5)
        assert first.is_leading and first.won == 1
        await asyncio.to_thread(lambda: kubectl(*here, "delete", "lease", names.OPERATOR_LEASE))
        await seen(lambda: first.won + second.won == 2)
        await asyncio.sleep(HURRIED.deadline)
        assert first.is_leading != second.is_leading


class Deaf(Transport):
    """Whose first answer to a write is lost."""

    deaf = True

    async def json_patch(self, *arguments: Any, **more: Any) -> Any:
        answer = await super().json_patch(*arguments, **more)
        if self.deaf:
            self.deaf = False
            raise errors.Unavailable("the answer was lost")
        return answer


async def test_who_was_elected_and_not_told_finds_out(client: Transport, kubeconfig: str) -> None:
    async def deaf() -> Transport:
        connected = await connect(namespace=client.namespace, kubeconfig=kubeconfig)
        connected.__class__ = Deaf
        return connected

    only = Main("only", client, kubeconfig)
    only.elector._connect = deaf
    async with only.elector.stand_for_election():
        assert await seen(lambda: only.is_leading) < HURRIED.lease
        assert only.won == 1


async def test_a_defect_in_its_thread_is_told(main: Callable[[str], Main]) -> None:
    only = main("only")

    async def broken() -> Transport:
        raise ZeroDivisionError

    only.elector._connect = broken
    async with only.elector.stand_for_election() as campaign:
        with pytest.raises(ZeroDivisionError):
            await campaign
