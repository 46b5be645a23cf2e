"""GET /me: who calls, what they may do, and what the web page has to know of this front end."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, Literal, cast

from fastapi import APIRouter, Request, Response

from lmms_eval_api.auth import Caller
from lmms_eval_api.auth.attributes import ResourceAttributes, Verb
from lmms_eval_api.auth.sessions import Session
from lmms_eval_api.routes.dependencies import BackendOf, Web, WebOf
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_core.wire import Me, Rights

router = APIRouter(tags=["me"])

VERSION: Final = version("lmms-eval-api")


@router.get("/me")
async def get_me(request: Request, response: Response, backend: BackendOf, web: WebOf) -> Me:
    """Who the caller is, how that was found, and what the caller may do; everybody who is known may ask."""
    response.headers["Cache-Control"] = "no-store"
    caller = cast(Caller, request.state.identity)
    session: Session | None = getattr(request.state, "session", None)
    return Me(
        name=caller.name,
        authentication=_name_authentication(request, web, session),
        session_expires_at=_format_end(session) if session is not None else None,
        rights=Rights(
            read=await may(web, caller, "list"),
            submit=await may(web, caller, "create"),
            change=await may(web, caller, "patch"),
        ),
        cancels_running=backend.cancels_running,
        version=VERSION,
    )


async def may(web: Web, caller: Caller, verb: Verb) -> bool:
    """Whether the caller may do this to every evaluation, as the routes ask."""
    return await web.authenticator.find_refusal(caller, ResourceAttributes(verb)) is None


def _name_authentication(
    request: Request, web: Web, session: Session | None
) -> Literal["token", "session", "proxy", "none"]:
    if request.state.proxied:
        return "proxy"
    return "session" if session is not None else web.authentication


def _format_end(session: Session) -> str:
    return format_rfc3339(datetime.fromtimestamp(session.expires_at, UTC))
