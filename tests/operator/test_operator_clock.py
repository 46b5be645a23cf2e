"""The time of day is the API server's, whatever the clock of the node says."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from lmms_eval_core.kube.client import NAMESPACES
from lmms_eval_core.kube.transport import connect
from lmms_eval_operator.clock import ServerClock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize("minutes", [-60, -6, 6, 60])
def test_a_nodes_clock_that_is_off_is_set_right_by_each_answer(minutes: int) -> None:
    clock = ServerClock(lambda: NOW + timedelta(minutes=minutes))
    assert clock.now() == NOW + timedelta(minutes=minutes)
    clock.read_date(date(NOW))
    assert clock.now() == NOW
    clock.read_date(date(NOW + timedelta(seconds=1)))
    assert clock.now() == NOW, "the whole seconds of the header do not make it jump"
    clock.read_date(date(NOW + timedelta(minutes=minutes)))
    assert clock.now() == NOW + timedelta(minutes=minutes), "it was set right"


@pytest.mark.parametrize("header", ["", "yesterday", date(NOW - timedelta(seconds=1))])
def test_a_header_that_says_nothing_else_changes_nothing(header: str) -> None:
    clock = ServerClock(lambda: NOW)
    clock.read_date(header)
    assert clock.now() == NOW


@pytest.mark.integration
async def test_a_real_api_server_tells_the_time(kubeconfig: str) -> None:
    clock = ServerClock(lambda: datetime.now(UTC) - timedelta(hours=1))
    client = await connect(kubeconfig=kubeconfig, on_date=clock.read_date)
    await client.get(NAMESPACES, "default")
    await client.close()
    await asyncio.sleep(0.1)
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 5
