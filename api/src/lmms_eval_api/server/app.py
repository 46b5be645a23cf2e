"""The application: routes, errors and the order of the middleware. `main` gives it a backend, tests another one."""

from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from lmms_eval_api import problems
from lmms_eval_api.auth import Authenticator, make_trusted_proxy
from lmms_eval_api.auth.middleware import Authentication
from lmms_eval_api.auth.sessions import SessionSeal, read_session_keys
from lmms_eval_api.routes import (
    answers,
    catalogue,
    compare,
    events,
    explore,
    files,
    flips,
    gate,
    jobs,
    listing,
    logs,
    me,
    media,
    merge,
    page_events,
    probes,
    queue,
    results,
    samples,
    sessions,
    web,
)
from lmms_eval_api.routes.dependencies import Backend, Web
from lmms_eval_api.routes.openapi import COMMON_ERRORS, make_schemas
from lmms_eval_api.server.context import RequestContext
from lmms_eval_api.server.limits import BodyLimit, OpenStreams, RequestLimits
from lmms_eval_api.server.metrics import ApiMetrics
from lmms_eval_api.server.response_cache import ResponseCache
from lmms_eval_api.settings import ApiSettings
from lmms_eval_api.web.bundle import read_bundle

DESCRIPTION: Final = (
    "The HTTP server of lmms-eval, on Kubernetes: its routes, words and clients, with jobs that outlive it."
)
# The paths of sessions before the page, which takes every other path below /ui/.
ROUTES: Final = (
    jobs,
    listing,
    events,
    page_events,
    results,
    samples,
    answers,
    explore,
    compare,
    flips,
    gate,
    files,
    media,
    logs,
    merge,
    queue,
    catalogue,
    me,
    probes,
    sessions,
    web,
)
SECURITY_SCHEMES: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of this front end, or of the cluster."},
    "password": {"type": "http", "scheme": "basic", "description": "The same token as password, with any user name."},
}


class FrontEnd(FastAPI):
    """An application whose OpenAPI document also says what the middleware requires."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, with the schema of errors; the first call makes it, in a tenth of a second."""
        known = self.openapi_schema
        schema = super().openapi()
        if schema is not known:
            schema["components"]["schemas"] |= make_schemas()
            schema["components"]["securitySchemes"] = SECURITY_SCHEMES
            schema["security"] = [{name: []} for name in SECURITY_SCHEMES]
        return schema


def make_application(settings: ApiSettings, backend: Backend, authenticator: Authenticator) -> FrontEnd:
    """Return the whole front end as an ASGI application."""
    app = FrontEnd(
        title="lmms-eval on Kubernetes",
        description=DESCRIPTION,
        version=version("lmms-eval-api"),
        # lmms-eval's own client follows no redirect.
        redirect_slashes=False,
        responses=COMMON_ERRORS,
        # Metrics and the log line are our own (`context`). FastAPI would look for a listener of its own with each
        # request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.backend = backend
    app.state.web = make_web(settings, authenticator)
    for part in ROUTES:
        app.include_router(part.router)
    problems.register_handlers(app)
    # The middleware that is added last sees a request first.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(ResponseCache, backend=backend, root_path=settings.root_path)
    streams = OpenStreams()
    app.add_middleware(RequestLimits, settings=settings, open_streams=streams)
    app.add_middleware(
        Authentication,
        authenticator=authenticator,
        sessions=app.state.web.sessions,
        settings=settings,
        proxy=make_trusted_proxy(settings),
    )
    app.state.metrics = ApiMetrics(backend, streams)
    app.add_middleware(RequestContext, metrics=app.state.metrics, root_path=settings.root_path)
    return app


def make_web(settings: ApiSettings, authenticator: Authenticator) -> Web:
    """Return what the web page and its sessions need."""
    return Web(
        authenticator,
        SessionSeal(read_session_keys(settings.session_keys), name=settings.session_name),
        read_bundle(settings.web, root_path=settings.root_path),
        settings.auth,
        settings.root_path,
        settings.web_insecure,
    )
