"""How long to go on when the store or the API server is away: until it works, or until the time that SIGTERM leaves is over."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from lmms_eval_core.kube.errors import KubeError, Throttled
from lmms_eval_core.store.errors import StoreError
from lmms_eval_reporter.logs import Log

FIRST_SECONDS: Final = 0.5
# Short enough to use what is left after SIGTERM, long enough for a server that is coming up.
MOST_SECONDS: Final = 5.0

Result = TypeVar("Result")


class Patience:
    """Repeats what fails because of somebody else. `trouble` is told, once for each step, what is waited for."""

    def __init__(
        self, log: Log, trouble: Callable[[Exception], Awaitable[None]], *, first_seconds: float = FIRST_SECONDS
    ) -> None:
        self._log = log
        self._trouble = trouble
        self._first_seconds = first_seconds

    async def until_done(self, operation: Callable[[], Awaitable[Result]], what: str) -> Result:
        """The result of the first call that raises neither StoreError nor KubeError."""
        delay, said = self._first_seconds, ""
        while True:
            try:
                return await operation()
            except (StoreError, KubeError) as error:
                if str(error) != said:
                    self._log("waiting", step=what, error=str(error))
                    await self._trouble(error)
                said = str(error)
                await asyncio.sleep(_wait(error, delay))
            delay = min(MOST_SECONDS, 2 * delay)


def _wait(error: Exception, delay: float) -> float:
    spread = delay * random.uniform(0.5, 1.0)
    return max(spread, error.retry_after) if isinstance(error, Throttled) else spread


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
