"""Deletes finished evaluations whose time is over, beside the reconciler: `plan.retain` says which.

It keeps a mirror of its own of the finished ones, by the API server's selector: ten thousand that stay for ever cost it
nothing, a `ttlSecondsAfterFinished` or `keep` that is changed long after the end is seen at once, and between two dates
nothing is asked. (kopf watches a resource once for a process, and leaves the finished ones out.) Only the leader
deletes, for the sake of peace: each delete names the uid and the version that was looked at, so that a late one does no
harm.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.phases import TERMINAL, Phase
from lmms_eval_operator.plan.retain import Finished, parse_finished, retain
from lmms_eval_operator.structured_log import log_fields

ENDED: Final = ",".join(f"status.phase!={phase}" for phase in sorted(set(Phase) - TERMINAL))
KEPT: Final = ("name", "uid", "resourceVersion", "deletionTimestamp", "labels")
# The time of day may be set while we wait for a moment of it.
MAX_WAIT_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 5.0
STANDBY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Retention:
    """A `Mirror` of the finished evaluations, and the loop that deletes while `leads`. `time` is the time of day."""

    def __init__(
        self,
        client: KubeClient,
        *,
        max_finished: int,
        time: Callable[[], datetime],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._max_finished = max_finished
        self._time = time
        self._leads = leads
        self._known: dict[str, Finished] = {}
        self._changed = asyncio.Event()
        self._reflector = Reflector(client, EVALUATIONS, self, trim_finished, field_selector=ENDED, log=log.warning)

    async def run(self) -> None:
        """Mirror and delete until cancelled. Errors of the API server are waited out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reflector.run())
            group.create_task(self._delete_in_time())

    def replace(self, items: list[Object]) -> None:
        """See `Mirror`."""
        self._known = {known.uid: known for item in items if (known := parse_finished(item))}
        self._changed.set()

    def update(self, item: Object) -> None:
        """See `Mirror`."""
        known = parse_finished(item)
        if known is None:
            self.remove(item)
        else:
            self._known[known.uid] = known
            self._changed.set()

    def remove(self, item: Object) -> None:
        """See `Mirror`."""
        self._known.pop(item["metadata"]["uid"], None)

    async def _delete_in_time(self) -> None:
        while True:
            self._changed.clear()
            wait = await self._run_pass()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _run_pass(self) -> float:
        """Delete what has expired, one by one; return for how many seconds nothing is due after that."""
        now = self._time().timestamp()
        expired, due_at = retain(self._known.values(), now, max_finished=self._max_finished)
        conflicted = False
        for item in expired:
            if not self._leads():
                return STANDBY_SECONDS
            try:
                await self._delete(item)
            except errors.Conflict:
                # It changed since, perhaps its time: the watch is about to tell.
                conflicted = True
            except errors.KubeError as error:
                log.warning("cannot delete", extra=log_fields(evaluation=item.name, cause=error.message))
                return max(RETRY_SECONDS, getattr(error, "retry_after", 0.0))
        return RETRY_SECONDS if conflicted else min(due_at - now, MAX_WAIT_SECONDS)

    async def _delete(self, item: Finished) -> None:
        try:
            await self._client.delete(EVALUATIONS, item.name, uid=item.uid, resource_version=item.version)
        except errors.NotFound:
            pass
        else:
            log.info(
                "deleted", extra=log_fields(evaluation=item.name, reason=_name_reason(item, self._time().timestamp()))
            )
        self._known.pop(item.uid, None)


def trim_finished(item: Object) -> Object:
    """Return the little of an evaluation that `plan.retain.parse_finished` reads: ten thousand whole ones would be 150
    MB.
    """
    return {
        "metadata": {key: item["metadata"][key] for key in KEPT if key in item["metadata"]},
        "spec": {field: item["spec"].get(field) for field in ("ttlSecondsAfterFinished", "keep")},
        "status": {field: item["status"].get(field) for field in ("phase", "completedAt")},
    }


def _name_reason(item: Finished, now: float) -> str:
    return "ttlSecondsAfterFinished" if item.due_at <= now else "maxFinished"
