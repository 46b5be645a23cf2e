"""The pages that need neither script nor bundle: the form for signing in, and what is shown where no page is built.

Each is made of a template beside this file, whose marks are filled with escaped text.
"""

import html
from pathlib import Path
from string import Template
from typing import Final

from lmms_eval_api.auth.authenticator import TokenSource

FOLDER: Final = Path(__file__).parent
STYLESHEET: Final = (FOLDER / "login.css").read_bytes()
ICON: Final = (FOLDER / "login.svg").read_bytes()
_LAYOUT: Final = Template((FOLDER / "layout.html").read_text())
_FORM: Final = Template((FOLDER / "form.html").read_text())
_COMMAND: Final = Template("<pre><code>$command</code></pre>")
_NO_FORM: Final = Template('<p class="message" role="alert">$message</p>')

NO_TLS: Final = (
    "This address is not protected by TLS, so that the network between would see your token. "
    "Use the https address of this front end, or run `lmmeval ui`, which opens the page through a tunnel. "
    "An administrator who trusts the network can set api.web.insecure."
)
WRONG_TOKEN: Final = "Nobody is known by this token. It may be mistyped, or have expired."
TOO_LONG: Final = "This token is too long for a cookie. `lmmeval ui` opens the page with tokens of any length."
NO_BUNDLE: Final = (
    "This front end was started without the web page. The image of a release holds it; from a checkout, `make web` "
    "builds it, and LMMS_EVAL_API_WEB names its folder. Everything else works."
)


def render_sign_in(source: TokenSource, *, action: str, next_path: str, message: str = "") -> bytes:
    """Return the form; `message` says what was wrong with the last try."""
    form = _FORM.substitute(
        action=html.escape(action),
        next=html.escape(next_path),
        message=_NO_FORM.substitute(message=_mark_code(message)) if message else "",
        how=html.escape(source.sentence),
        command=_COMMAND.substitute(command=html.escape(source.command)) if source.command else "",
    )
    return _render("Sign in", form, root=action.removesuffix("/ui/session"))


def render_message(title: str, message: str, *, root_path: str) -> bytes:
    """Return a page that says one thing."""
    return _render(title, _NO_FORM.substitute(message=_mark_code(message)), root=root_path)


def _render(title: str, content: str, *, root: str) -> bytes:
    return _LAYOUT.substitute(title=html.escape(title), content=content, root=html.escape(root)).encode()


def _mark_code(sentence: str) -> str:
    """Return the sentence as HTML, with what stands between backticks as code."""
    parts = map(html.escape, sentence.split("`"))
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
