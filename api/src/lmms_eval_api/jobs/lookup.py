"""Live reads of evaluations that the cache does not know: one at a time for each name, none for a while after a 404."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object

ABSENT_SECONDS: Final = 1.0
REMEMBERED_ABSENCES: Final = 4096


class EvaluationLookup:
    """Bounds the requests to the API server when callers poll a wrong name, or many ask for one name at once."""

    def __init__(self, client: KubeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._absent: dict[str, float] = {}
        self._pending: dict[str, asyncio.Task[Object | None]] = {}

    async def find(self, name: str, *, use_recent: bool = True) -> Object | None:
        """Return the object, or None if there is none. Raises `errors.KubeError` if nobody can tell.

        `use_recent`: whether a read that is pending, or found nothing a moment ago, may answer.
        """
        if not use_recent:
            return await self._read(name)
        if self._clock() < self._absent.get(name, float("-inf")):
            return None
        task = self._pending.get(name)
        if task is None:
            task = self._pending[name] = asyncio.create_task(self._read(name))
            task.add_done_callback(lambda done: self._finish(name, done))
        # Shielded: one caller who hangs up must not cancel the read for the others.
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
        del self._pending[name]
        if not task.cancelled():
            # Retrieved, so that asyncio does not report the error as lost when every caller has hung up.
            task.exception()
