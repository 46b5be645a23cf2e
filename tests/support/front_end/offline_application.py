"""The front end as an ASGI application without a cluster, for what it decides before it would ask one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from fastapi import FastAPI

from lmms_eval_api import auth
from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient
from lmms_eval_core.kube.reflector import Reflector

NO_CLIENT = cast(KubeClient, None)
TOKEN = "secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def make_offline_backend(*, clock: Callable[[], float] = time.monotonic) -> Backend:
    """Make a backend whose watch has not begun."""
    cache = JobCache()
    reflector = Reflector(NO_CLIENT, EVALUATIONS, cache, cache.project, clock=clock)
    archive = Archive(NO_CLIENT, None, ApiSettings(), Worker())
    return Backend(EvaluationService(NO_CLIENT, cache), reflector, JobFeeds(cache), archive, 60)


def make_offline_application(
    tokens: Path, backend: Backend | None = None, client: KubeClient = NO_CLIENT, **settings: object
) -> FastAPI:
    """Make the application with these settings and one token in the directory `tokens`.

    With `auth="kubernetes"`, `client` answers the reviews of callers instead.
    """
    (tokens / "tests").write_text(TOKEN)
    # The name under which tests call it.
    settings.setdefault("hosts", ("front-end",))
    chosen = ApiSettings(tokens=tokens, **settings)  # type: ignore[arg-type]  # the settings check themselves
    return make_application(chosen, backend or make_offline_backend(), auth.make_authenticator(chosen, client))
