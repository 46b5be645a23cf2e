"""From flags to a client, and from a function that takes a client to a command of the command line."""

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from lmms_eval_client.address import ENV_URL
from lmms_eval_client.cli import exits, tunnel
from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.client import Client
from lmms_eval_client.retries import Retries

# A person who mistyped an address should not wait long for the answer; who follows a job has time.
CLI_RETRIES: Final = Retries(attempts=4)
# What a request through a tunnel is addressed to; the tunnel knows where that is. A name of loopback, as a front end
# without authentication answers under no unknown name.
THROUGH_TUNNEL: Final = "http://lmms-eval.localhost"
PANEL: Final = "Where the front end is"


def _make_flag(*names: str, help: str) -> Any:
    return Annotated[str, typer.Option(*names, help=help, rich_help_panel=PANEL, show_default=False)]


FLAGS: Final = {
    "url": _make_flag("--url", help="The front end's address; else LMMS_EVAL_URL, else found by kubectl."),
    "token": _make_flag(
        "--token", help="Its token; else LMMS_EVAL_TOKEN, else read from the release's Secret by kubectl."
    ),
    "account": _make_flag(
        "--account",
        help="A service account for which kubectl makes a token, where that is what the front end asks for.",
    ),
    "context": _make_flag("--context", help="kubectl's context."),
    "namespace": _make_flag("--namespace", "-n", help="The release's namespace."),
    "kubeconfig": _make_flag("--kubeconfig", help="kubectl's configuration file."),
    "release": _make_flag("--release", help="The release's name, where a namespace holds several."),
}


def connect_command(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first argument is a client; it gets the flags that say where the server is."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        flags = {name: arguments.pop(name) for name in FLAGS}
        with exits.exit_on_error(), make_client(**flags) as client:
            command(client, **arguments)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=kind)
        for name, kind in FLAGS.items()
    ]
    return set_parameters(run, [*own, *added])


def set_parameters(function: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    """Set the parameters that the command line shall see; return the function."""
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    function.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]  # read by inspect
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return function


def make_client(
    *, url: str, token: str, account: str, context: str, namespace: str, kubeconfig: str, release: str
) -> Client:
    """Return a client of the address that is given, or of the front end that kubectl finds when it is first asked."""
    cluster = tunnel.KubectlContext(context, namespace, kubeconfig)
    # A flag that names a cluster is meant, whatever the environment says.
    url = url or ("" if any(cluster) or release else os.environ.get(ENV_URL, ""))
    transport = None if url else tunnel.Tunnel(cluster, release, account=account)
    try:
        return Client(url or THROUGH_TUNNEL, token=token or None, retries=CLI_RETRIES, transport=transport)
    except ValueError as error:
        raise CliError(str(error)) from error
