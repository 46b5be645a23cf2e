"""What routes depend on: the backend, the caller, and a cache that is new enough.

A caller reads what it wrote, on any replica: the response to a write sets a cookie with the resource version of the
object, and a replica that gets the cookie waits until its watch has come that far. Versions of one kind of object grow
with every write to any of them.

All dependencies are async, as FastAPI would run plain functions in a thread.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Final, Literal, cast

from fastapi import Depends, Request, Response

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.auth import Authenticator
from lmms_eval_api.auth.sessions import SessionSeal
from lmms_eval_api.catalogue.reader import CatalogueReader
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.jobs.page_stream import PageStreams
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.problems import make_unavailable
from lmms_eval_api.retention.media_pool import PoolSize
from lmms_eval_api.retention.orphans import Sweeping
from lmms_eval_api.settings import AuthMode
from lmms_eval_api.web.bundle import Bundle
from lmms_eval_core.kube.reflector import Reflector

COOKIE: Final = "lmms_eval_version"
# As long as a replica may answer from its cache without a watch.
COOKIE_SECONDS: Final = 60
# A watch is milliseconds behind; one that takes longer than this has lost its connection.
CATCH_UP_SECONDS: Final = 2.0
# The form that RFC 9111 defines for a stale response.
BEHIND_WARNING: Final = '110 - "What you wrote last may be missing: the watch on the API server is behind."'


@dataclass(frozen=True)
class Backend:
    """What the application uses; in `app.state.backend`.

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
    media_pool: Callable[[], PoolSize | None] = lambda: None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @cached_property
    def page_streams(self) -> PageStreams:
        """Makes the streams of pages that show many jobs."""
        return PageStreams(self.evaluations.cache, self.reflector, self.feeds)

    def stop(self) -> None:
        """End the streams, which have no end of their own, as the server stops."""
        self.stopping.set()
        self.feeds.close()

    def is_stale(self) -> bool:
        """Whether the cache is too old to be shown."""
        return self.reflector.lost_for() > self.max_stale_seconds


@dataclass(frozen=True)
class Web:
    """What the web page and its sessions need; in `app.state.web`.

    `insecure`: whether one may sign in over plain HTTP.
    """

    authenticator: Authenticator
    sessions: SessionSeal
    bundle: Bundle | None
    mode: AuthMode
    root_path: str
    insecure: bool

    @property
    def needs_sign_in(self) -> bool:
        """Whether anybody has to show a token."""
        return self.mode is not AuthMode.NONE

    @property
    def authentication(self) -> Literal["token", "none"]:
        """How callers without a session are known."""
        return "none" if self.mode is AuthMode.NONE else "token"


async def get_web(request: Request) -> Web:
    """Return what the web page needs."""
    return cast(Web, request.app.state.web)


async def get_backend(request: Request) -> Backend:
    """Return the application's backend."""
    return cast(Backend, request.app.state.backend)


async def get_evaluations(request: Request) -> EvaluationService:
    """Return the service for evaluations."""
    return (await get_backend(request)).evaluations


async def get_caller(request: Request) -> str:
    """Return the caller's name, which `auth.middleware` set."""
    return cast(str, request.state.caller)


def set_version_cookie(request: Request, response: Response, job: JobSnapshot) -> None:
    """Give the caller the version that it has written."""
    write_version_cookie(request, response, job.version)


def write_version_cookie(request: Request, response: Response, version: int) -> None:
    """Make the caller's next answers as new as this version, on whatever replica."""
    path = request.scope.get("root_path") or "/"
    response.set_cookie(COOKIE, str(version), max_age=COOKIE_SECONDS, path=path, httponly=True, samesite="strict")


def read_version_cookie(cookies: Mapping[str, str]) -> int:
    """Return the version that the caller has written; 0 if the cookie is missing or invalid."""
    text = cookies.get(COOKIE, "")
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0


async def wait_for_own_write(request: Request) -> bool:
    """Wait a little until the cache has what the caller wrote, on any replica. Return whether it has."""
    reflector = (await get_backend(request)).reflector
    return await reflector.caught_up(read_version_cookie(request.cookies), timeout=CATCH_UP_SECONDS)


async def check_cache(request: Request, response: Response) -> bool:
    """Set `Age` to that of the cache, and return what `wait_for_own_write` does.

    Raises 503 when the cache is too old, or has not been filled yet.
    """
    backend = await get_backend(request)
    if backend.is_stale():
        raise make_unavailable("The front end has lost sight of the API server; jobs go on. Try again.")
    response.headers["Age"] = str(int(backend.reflector.stale_for()))
    return await wait_for_own_write(request)


WebOf = Annotated[Web, Depends(get_web)]
BackendOf = Annotated[Backend, Depends(get_backend)]
EvaluationsOf = Annotated[EvaluationService, Depends(get_evaluations)]
CallerName = Annotated[str, Depends(get_caller)]
# For routes that read, and for those that write, which need no answer of the cache.
FROM_CACHE = [Depends(check_cache)]
UpToDate = Annotated[bool, Depends(check_cache)]
UpToDateForWrite = Annotated[bool, Depends(wait_for_own_write)]


async def warn_if_behind(response: Response, up_to_date: UpToDate) -> None:
    """Warn, on routes that show many jobs, if what the caller wrote may be missing; routes of one job read it live."""
    if not up_to_date:
        response.headers["Warning"] = BEHIND_WARNING


WARN_IF_BEHIND = [Depends(warn_if_behind)]
