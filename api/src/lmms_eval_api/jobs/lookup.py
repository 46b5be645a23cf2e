"""Live reads for names that the cache does not know: one at a time for a name, and not again for a moment if there is none."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object

ABSENT_SECONDS: Final = 1.0
REMEMBERED_ABSENCES: Final = 4096


class Lookup:
    """Keeps a caller who polls a wrong name, or fifty who ask at once, from becoming requests to the API server."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._absent: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[Object | None]] = {}

    async def get(self, name: str, *, believe: bool = True) -> Object | None:
        """The object, or None if there is none; `errors.KubeError` if nobody can tell. `believe`: what was read a moment ago."""
        if not believe:
            return await self._read(name)
        if self._clock() < self._absent.get(name, float("-inf")):
            return None
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(self._read(name))
            task.add_done_callback(lambda done: self._finish(name, done))
        # One caller who hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _read(self, name: str) -> Object | None:
        try:
            return await self._client.get(EVALUATIONS, name)
        except errors.NotFound:
            self._absent.pop(name, None)
            self._absent[name] = self._clock() + ABSENT_SECONDS
            if len(self._absent) > REMEMBERED_ABSENCES:
                del self._absent[next(iter(self._absent))]
            return None

    def _finish(self, name: str, task: asyncio.Task[Object | None]) -> None:
        del self._running[name]
        if not task.cancelled():
            # Asked for, so that an error is not reported as lost when every caller has hung up.
            task.exception()
