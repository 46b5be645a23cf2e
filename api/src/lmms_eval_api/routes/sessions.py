"""Signing in and out in a browser: GET /ui/login, POST and DELETE /ui/session, POST /ui/session/end.

Open to strangers, as the probes are; `auth.middleware` only keeps requests of other sites away.
"""

import json
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from lmms_eval_api.auth.browsers import is_protected, may_sign_in
from lmms_eval_api.auth.sessions import MAX_TOKEN_BYTES, SESSION_SECONDS
from lmms_eval_api.routes.dependencies import Web, WebOf
from lmms_eval_api.routes.web import HEADERS, make_page
from lmms_eval_api.web.pages import NO_TLS, TOO_LONG, WRONG_TOKEN, render_message, render_sign_in

router = APIRouter(include_in_schema=False)

# A token and a path: more than any of the two may be.
MAX_FORM_BYTES: Final = 32 * 1024
NOT_KEPT: Final = {"Cache-Control": "no-store"}
# The next person at this browser is to find none of the media that the last one saw.
FORGET_CACHE: Final = {"Clear-Site-Data": '"cache"'}


@router.get("/ui/login")
async def show_sign_in(request: Request, web: WebOf) -> Response:
    """The form for signing in; where nobody has to, the page."""
    next_path = choose_next_path(request.query_params.get("next", ""), root_path=web.root_path)
    if not web.needs_sign_in:
        return RedirectResponse(next_path, 303, HEADERS | NOT_KEPT)
    if not may_sign_in(request, insecure=web.insecure):
        return make_page(render_message("Sign in", NO_TLS, root_path=web.root_path), cache="no-store", status=403)
    return make_sign_in_page(web, next_path)


@router.post("/ui/session")
async def start_session(request: Request, web: WebOf) -> Response:
    """Check the token, seal it into the session's cookie, and go on to `next`."""
    fields = await read_fields(request)
    next_path = choose_next_path(fields.get("next", ""), root_path=web.root_path)
    if not web.needs_sign_in:
        return RedirectResponse(next_path, 303, HEADERS | NOT_KEPT)
    if not may_sign_in(request, insecure=web.insecure):
        return make_page(render_message("Sign in", NO_TLS, root_path=web.root_path), cache="no-store", status=403)
    token = fields.get("token", "").strip().encode()
    if len(token) > MAX_TOKEN_BYTES:
        return make_sign_in_page(web, next_path, TOO_LONG, status=401)
    if not token or await web.authenticator.identify(b"Bearer " + token) is None:
        return make_sign_in_page(web, next_path, WRONG_TOKEN, status=401)
    response = RedirectResponse(next_path, 303, HEADERS | NOT_KEPT)
    set_session_cookie(request, response, web, web.sessions.seal(token), seconds=SESSION_SECONDS)
    return response


@router.delete("/ui/session")
async def delete_session(request: Request, web: WebOf) -> Response:
    """Sign out."""
    response = Response(status_code=204, headers=HEADERS | NOT_KEPT | FORGET_CACHE)
    set_session_cookie(request, response, web, "", seconds=0)
    return response


@router.post("/ui/session/end")
async def end_session(request: Request, web: WebOf) -> Response:
    """Sign out by a form, and show the form for signing in."""
    response = RedirectResponse(f"{web.root_path}/ui/login", 303, HEADERS | NOT_KEPT | FORGET_CACHE)
    set_session_cookie(request, response, web, "", seconds=0)
    return response


def make_sign_in_page(web: Web, next_path: str, message: str = "", *, status: int = 200) -> Response:
    """Return the form."""
    action = f"{web.root_path}/ui/session"
    content = render_sign_in(web.authenticator.how_to_get_a_token, action=action, next_path=next_path, message=message)
    return make_page(content, cache="no-store", status=status)


def set_session_cookie(request: Request, response: Response, web: Web, value: str, *, seconds: int) -> None:
    """Give the browser the session for so long, or take it away."""
    response.set_cookie(
        web.sessions.cookie,
        value,
        max_age=seconds,
        path=web.root_path or "/",
        secure=is_protected(request),
        httponly=True,
        # Strict would leave out the cookie where somebody follows a link in a message.
        samesite="lax",
    )


def choose_next_path(wanted: str, *, root_path: str) -> str:
    """Return the page to go on to: what is wanted if it is one of ours, else the first one.

    Browsers drop control characters from addresses, and read a backslash as a slash.
    """
    home = f"{root_path}/ui/"
    is_harmless = wanted.isprintable() and "\\" not in wanted
    return wanted if is_harmless and wanted.startswith(home) else home


async def read_fields(request: Request) -> dict[str, str]:
    """Return the texts in a form or a JSON object; what is neither, and a body that is too large, is an error."""
    body = await read_body(request)
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            return _keep_texts(json.loads(body))
        fields = parse_qs(body.decode(), max_num_fields=10)
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, "Send `token` and `next` as a form or as a JSON object.", HEADERS) from error
    return {name: values[0] for name, values in fields.items()}


async def read_body(request: Request) -> bytes:
    """Return the body, which may have `MAX_FORM_BYTES`."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413, f"The form is larger than {MAX_FORM_BYTES} bytes.", HEADERS)
    return body


def _keep_texts(document: Any) -> dict[str, str]:
    if not isinstance(document, dict):
        raise ValueError("no object")
    return {name: value for name, value in document.items() if isinstance(value, str)}
