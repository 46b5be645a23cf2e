"""The process in which the content of files is looked into, and what becomes of a call that takes too much."""

import asyncio
import json
import math
import operator
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from lmms_eval_api.artifacts.worker import RETIRING_BYTES, TooCostly, Worker


async def test_a_call_gives_what_the_function_gives() -> None:
    worker = Worker()
    assert await worker.call(operator.mul, b"x", 1_000_000) == b"x" * 1_000_000
    assert await worker.call(os.getpid) == worker.pid != os.getpid()
    with pytest.raises(json.JSONDecodeError):
        await worker.call(json.loads, "no JSON")


async def test_it_has_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert await Worker().call(os.getenv, "AWS_SECRET_ACCESS_KEY") is None


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(bytes, (10**9,)), (math.factorial, (10**7,)), (os._exit, (3,)), (signal.raise_signal, (signal.SIGKILL,))],
    ids=["memory", "time", "exit", "killed"],
)
async def test_what_takes_too_much_fails_alone(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    worker = Worker(call_seconds=0.5)
    calls = [worker.call(function, *arguments)]
    calls += [worker.call(math.sqrt, number) for number in range(4)]
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, TooCostly)
    assert others == [math.sqrt(number) for number in range(4)]


async def test_one_that_has_grown_makes_room_for_the_next() -> None:
    worker = Worker()
    pid = await worker.call(os.getpid)
    assert len(await worker.call(operator.mul, b"x", RETIRING_BYTES)) == RETIRING_BYTES
    assert await worker.call(os.getpid) != pid


async def test_the_event_loop_goes_on_meanwhile() -> None:
    worker = Worker(call_seconds=0.5)
    await worker.call(os.getpid)
    call = asyncio.create_task(worker.call(math.factorial, 10**7))
    turns = 0
    while not call.done():
        await asyncio.sleep(0.001)
        turns += 1
    # Hundreds, on a machine that does nothing else; one or two if it waited for the call.
    assert turns > 20 and isinstance(call.exception(), TooCostly)


async def test_who_gives_up_leaves_the_worker_to_the_others() -> None:
    worker = Worker()
    given_up = asyncio.create_task(worker.call(time.sleep, 0.2))
    await asyncio.sleep(0.05)
    given_up.cancel()
    assert await worker.call(math.sqrt, 4.0) == 2.0
