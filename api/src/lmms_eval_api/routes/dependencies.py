"""What a route can ask for. Async all: FastAPI would run plain functions in a thread."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Response

from lmms_eval_api.evaluations import Evaluations
from lmms_eval_api.orphans import Sweeping
from lmms_eval_api.problems import unavailable
from lmms_eval_core.kube.reflector import Reflector


@dataclass(frozen=True)
class Backend:
    """What the application stands on; in `app.state.backend`."""

    evaluations: Evaluations
    reflector: Reflector
    max_stale_seconds: float
    sweeping: Callable[[], Sweeping] = lambda: Sweeping.OFF

    def stale(self) -> bool:
        """Whether the cache is too old to be shown."""
        return self.reflector.stale_for() > self.max_stale_seconds


async def backend(request: Request) -> Backend:
    """The application's backend."""
    return cast(Backend, request.app.state.backend)


async def evaluations(request: Request) -> Evaluations:
    """What callers can do."""
    return (await backend(request)).evaluations


async def caller(request: Request) -> str:
    """Who calls, as `auth.middleware` found out."""
    return cast(str, request.state.caller)


async def from_cache(request: Request, response: Response) -> None:
    """Says in `Age` how many seconds old the answer may be; 503 when that is too much, or nothing has been read yet."""
    behind = await backend(request)
    if behind.stale():
        raise unavailable("The front end has lost sight of the API server; jobs go on. Try again.")
    response.headers["Age"] = str(int(behind.reflector.stale_for()))


BackendOf = Annotated[Backend, Depends(backend)]
EvaluationsOf = Annotated[Evaluations, Depends(evaluations)]
Caller = Annotated[str, Depends(caller)]
FROM_CACHE = [Depends(from_cache)]
