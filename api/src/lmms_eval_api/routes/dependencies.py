"""What a route can ask for. Async all: FastAPI would run plain functions in a thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, cast

from fastapi import Depends, Request, Response

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.catalogue.reader import CatalogueReader
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.problems import make_unavailable
from lmms_eval_api.retention.orphans import Sweeping
from lmms_eval_api.routes.consistency import PATIENCE_SECONDS, written
from lmms_eval_core.kube.reflector import Reflector

# As RFC 9111 has it for a stale response.
MAY_LACK_A_WRITE: Final = '110 - "What you wrote last may be missing: the watch on the API server is behind."'


@dataclass(frozen=True)
class Backend:
    """What the application stands on; in `app.state.backend`.

    `cancels_running`: whether DELETE stops a running job. `stopping` is set when the server begins to stop.
    """

    evaluations: EvaluationService
    reflector: Reflector[JobSnapshot]
    feeds: JobFeeds
    archive: Archive
    max_stale_seconds: float
    cancels_running: bool = True
    catalogue: CatalogueReader = field(default_factory=CatalogueReader)
    sweeping: Callable[[], Sweeping] = lambda: Sweeping.OFF
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Ends what would not end by itself, as the server stops."""
        self.stopping.set()
        self.feeds.close()

    def stale(self) -> bool:
        """Whether the cache is too old to be shown."""
        return self.reflector.lost_for() > self.max_stale_seconds


async def backend(request: Request) -> Backend:
    """The application's backend."""
    return cast(Backend, request.app.state.backend)


async def evaluations(request: Request) -> EvaluationService:
    """What callers can do."""
    return (await backend(request)).evaluations


async def caller(request: Request) -> str:
    """Who calls, as `auth.middleware` found out."""
    return cast(str, request.state.caller)


async def up_to_date(request: Request) -> bool:
    """Waits a little until the cache holds what the caller wrote, on this replica or another; whether it does."""
    reflector = (await backend(request)).reflector
    return await reflector.caught_up(written(request.cookies), timeout=PATIENCE_SECONDS)


async def from_cache(request: Request, response: Response) -> bool:
    """As `up_to_date`, and tells the age of the cache in `Age`. Raises 503 when it is too old, or empty as yet."""
    behind = await backend(request)
    if behind.stale():
        raise make_unavailable("The front end has lost sight of the API server; jobs go on. Try again.")
    response.headers["Age"] = str(int(behind.reflector.stale_for()))
    return await up_to_date(request)


BackendOf = Annotated[Backend, Depends(backend)]
EvaluationsOf = Annotated[EvaluationService, Depends(evaluations)]
Caller = Annotated[str, Depends(caller)]
# For routes that read, and for those that write, which need no answer of the cache.
FROM_CACHE = [Depends(from_cache)]
UpToDate = Annotated[bool, Depends(from_cache)]
Informed = Annotated[bool, Depends(up_to_date)]


async def marked(response: Response, up_to_date: UpToDate) -> None:
    """For routes that show many jobs: says so where the answer may lack what its caller wrote. Of one job, a route reads that."""
    if not up_to_date:
        response.headers["Warning"] = MAY_LACK_A_WRITE


MARKED = [Depends(marked)]
