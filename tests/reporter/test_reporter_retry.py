import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable

import pytest

from lmms_eval_core.kube.errors import Throttled, Unavailable
from lmms_eval_core.store.errors import Unreachable
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff, time_limit


def failing(*errors: Exception) -> Callable[[], Awaitable[str]]:
    """An operation that raises these, one a call, and then works."""
    left = list(errors)

    async def operation() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return operation


async def ignore(error: Exception) -> None:
    return


async def test_what_is_away_is_waited_for_and_said_once() -> None:
    stream, failures = io.StringIO(), list[str]()

    async def record_failure(error: Exception) -> None:
        failures.append(str(error))

    backoff = Backoff(ReporterLog(stream), record_failure, first_seconds=0.01)
    assert (
        await backoff.retry(
            failing(Unreachable("store away"), Unreachable("store away"), Unavailable("no answer")), "it"
        )
        == "done"
    )
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["step"], line["error"]) for line in lines] == [
        ("waiting", "it", "store away"),
        ("waiting", "it", "no answer"),
    ]
    assert failures == ["store away", "no answer"]


async def test_the_server_says_how_long_to_wait() -> None:
    started = time.monotonic()
    await Backoff(ReporterLog(io.StringIO()), ignore, first_seconds=0.01).retry(
        failing(Throttled("slow down", retry_after=0.3)), "it"
    )
    assert time.monotonic() - started >= 0.3


async def test_other_errors_are_not_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        await Backoff(ReporterLog(io.StringIO()), ignore).retry(failing(ZeroDivisionError()), "it")


@pytest.mark.parametrize(
    ("limit", "stop_after", "grace", "expected"),
    [(0.2, None, 9.0, 0.2), (None, 0.1, 0.1, 0.2), (9.0, 0.1, 0.0, 0.1), (0.2, 0.1, 9.0, 0.2), (None, 0.0, 0.0, 0.0)],
)
async def test_time_ends_by_the_limit_or_some_grace_after_stop(
    limit: float | None, stop_after: float | None, grace: float, expected: float
) -> None:
    stop = asyncio.Event()
    if stop_after is not None:
        asyncio.get_running_loop().call_later(stop_after, stop.set)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with time_limit(limit, stop=stop, grace=grace):
            await asyncio.sleep(60)
    # The limit is for a machine that does other things as well: the other times are nine seconds and more.
    assert expected - 0.02 <= time.monotonic() - started < expected + 8.0


async def test_what_is_done_in_time_is_not_disturbed() -> None:
    stop = asyncio.Event()
    async with time_limit(5, stop=stop, grace=0):
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.sleep(0.05)
