"""Repeats what fails while the store or the API server is away, until it works or the time that SIGTERM
leaves is over.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from lmms_eval_core.kube.errors import KubeError, Throttled
from lmms_eval_core.store.errors import StoreError
from lmms_eval_reporter.reporter_log import ReporterLog

FIRST_SECONDS: Final = 0.5
# Short enough to use what is left after SIGTERM, long enough for a server that is coming up.
MAX_SECONDS: Final = 5.0

Result = TypeVar("Result")


class Backoff:
    """Repeats an operation with growing waits.

    `on_failure` is called with each error that differs from the one before.
    """

    def __init__(
        self,
        log: ReporterLog,
        on_failure: Callable[[Exception], Awaitable[None]],
        *,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._log = log
        self._on_failure = on_failure
        self._first_seconds = first_seconds

    async def retry(self, operation: Callable[[], Awaitable[Result]], step: str) -> Result:
        """Return the result of the first call that raises neither StoreError nor KubeError.

        `step` is its name in the log.
        """
        delay, reported = self._first_seconds, ""
        while True:
            try:
                return await operation()
            except (StoreError, KubeError) as error:
                if str(error) != reported:
                    self._log("waiting", step=step, error=str(error))
                    await self._on_failure(error)
                reported = str(error)
                await asyncio.sleep(_add_jitter(delay, error))
            delay = min(MAX_SECONDS, 2 * delay)


def _add_jitter(delay: float, error: Exception) -> float:
    """Return between half of `delay` and all of it, and no less than the server asks for."""
    seconds = delay * random.uniform(0.5, 1.0)
    return max(seconds, error.retry_after) if isinstance(error, Throttled) else seconds


@asynccontextmanager
async def time_limit(seconds: float | None, *, stop: asyncio.Event, grace: float) -> AsyncIterator[None]:
    """TimeoutError after `seconds`, or `grace` seconds after `stop`, whichever comes first."""
    async with asyncio.timeout(seconds) as scope:
        shorten = asyncio.create_task(_shorten(scope, stop, grace))
        try:
            yield
        finally:
            shorten.cancel()


async def _shorten(scope: asyncio.Timeout, stop: asyncio.Event, grace: float) -> None:
    await stop.wait()
    end = asyncio.get_running_loop().time() + grace
    planned = scope.when()
    scope.reschedule(end if planned is None else min(planned, end))


async def sleep(seconds: float, until: asyncio.Event) -> None:
    """Wait so long, or until the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        return
