"""lmmeval ui: opens the web page in a browser, signed in."""

import html
import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer

from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.local_proxy import OPEN, LocalProxy
from lmms_eval_client.cli.screen import note, say
from lmms_eval_client.client import Client

# A file, as every program of this machine sees the arguments of a browser. The code is of use once.
OPENING: Final = Template("""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>lmms-eval</title></head>
<body>
<form method="post" action="$action">
<input type="hidden" name="code" value="$code">
<button>Open lmms-eval</button>
</form>
<script>document.forms[0].submit()</script>
</body>
</html>
""")


def ui(
    client: Client,
    *,
    port: Annotated[int, typer.Option(help="Port on this machine; a free one if 0.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser; else only print the address.")] = True,
) -> None:
    """Open the web page, signed in, until Ctrl-C. It is served on this machine alone, and the token stays here."""
    # Whoever is not known is told so here, and not by a page.
    client.me()
    with _start_proxy(client, port) as proxy, _write_opening(proxy) as opening:
        if browser and _open_browser(opening):
            say(f"{proxy.origin}{proxy.path_prefix}/ui/")
            note("The page is open in your browser. Ctrl-C ends it.")
        else:
            say(proxy.link)
            note("The address works once, in one browser, on this machine. Ctrl-C ends it.")
        sys.stdout.flush()
        proxy.serve_forever()


def _start_proxy(client: Client, port: int) -> LocalProxy:
    try:
        return LocalProxy(client, port)
    except OSError as error:
        raise CliError(
            f"Port {port} of this machine cannot be used: {error.strerror}. Choose another by --port."
        ) from error


@contextmanager
def _write_opening(proxy: LocalProxy) -> Iterator[Path]:
    """Write the file that signs a browser in, readable by its owner alone, and delete it at the end."""
    text = OPENING.substitute(action=html.escape(proxy.origin + OPEN), code=html.escape(proxy.code))
    # mkstemp makes files of mode 0600.
    handle, name = tempfile.mkstemp(prefix="lmmeval-", suffix=".html")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _open_browser(page: Path) -> bool:
    try:
        return webbrowser.open(page.as_uri())
    except webbrowser.Error:
        return False
