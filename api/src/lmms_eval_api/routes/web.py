"""GET /ui/: the files of the web page, and its first file for every path that the page itself understands."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from lmms_eval_api.routes.catalogue import is_known
from lmms_eval_api.routes.dependencies import WebOf
from lmms_eval_api.web.bundle import ASSETS, WebFile
from lmms_eval_api.web.pages import ICON, NO_BUNDLE, STYLESHEET, render_message

# The page and its files are for browsers, not for programs that read the OpenAPI document.
router = APIRouter(include_in_schema=False)

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
CHECK_AGAIN: Final = "no-cache"
# The build puts a hash of their content into the names of assets.
FOR_EVER: Final = "private, max-age=31536000, immutable"
Text = Annotated[str, Header()]


@router.get("/ui")
async def redirect_to_page(request: Request) -> Response:
    """The page's relative links need the slash."""
    return RedirectResponse(f"{request.scope['root_path']}/ui/", 308, HEADERS)


@router.get("/ui/login.css")
async def get_stylesheet() -> Response:
    """The stylesheet of the form for signing in."""
    return make_page(STYLESHEET, media_type="text/css; charset=utf-8", cache=CHECK_AGAIN)


@router.get("/ui/login.svg")
async def get_icon() -> Response:
    """The icon of that form; without one, browsers ask for /favicon.ico."""
    return make_page(ICON, media_type="image/svg+xml", cache=CHECK_AGAIN)


@router.get("/ui/{path:path}")
async def get_page(
    path: str,
    request: Request,
    web: WebOf,
    accept_encoding: Text = "",
    known: Annotated[str, Header(alias="If-None-Match")] = "",
) -> Response:
    """A file of the page; its first one where there is no such file."""
    if web.bundle is None:
        content = render_message("No web page", NO_BUNDLE, root_path=request.scope["root_path"])
        return make_page(content, cache="no-store")
    file = web.bundle.find(path)
    if file is None and path.startswith(ASSETS):
        # Asked for by a page of another release. The first file in its place would be kept as a script.
        raise HTTPException(
            404, "There is no such file; load the page again.", {**HEADERS, "Cache-Control": "no-store"}
        )
    file = file or web.bundle.index
    if is_known(file.etag, known):
        return Response(status_code=304, headers={**HEADERS, "ETag": file.etag, "Cache-Control": CHECK_AGAIN})
    return make_file_response(file, FOR_EVER if path.startswith(ASSETS) else CHECK_AGAIN, accept_encoding)


def make_file_response(file: WebFile, cache: str, accept_encoding: str) -> Response:
    """Return the file, compressed for who can read that."""
    headers = {"ETag": file.etag}
    content = file.content
    if file.compressed is not None:
        headers["Vary"] = "Accept-Encoding"
        if accepts_gzip(accept_encoding):
            content = file.compressed
            headers["Content-Encoding"] = "gzip"
    return make_page(content, media_type=file.media_type, cache=cache, headers=headers)


def make_page(
    content: bytes,
    *,
    cache: str,
    media_type: str = "text/html; charset=utf-8",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a response with the headers of everything below /ui/."""
    # `media_type` by itself would get a second charset.
    own = {"Content-Type": media_type, "Cache-Control": cache, **(headers or {})}
    return Response(content, status, {**HEADERS, **own})


def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding names gzip, and not to refuse it."""
    for item in header.lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";q=")
        if coding in ("gzip", "*"):
            return weight not in ("0", "0.0", "0.00", "0.000")
    return False
