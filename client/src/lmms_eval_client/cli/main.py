"""The command line as a whole: which commands there are, and what each is called."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from lmms_eval_client.cli import catalogue, compare, gate, jobs, logs, queue, results, submit, ui, unused
from lmms_eval_client.cli.connection import connect_command

HELP: Final = """Evaluate multimodal models with lmms-eval on Kubernetes.

The front end is that of --url or LMMS_EVAL_URL; without either it is found by kubectl, in the namespace of your
kubeconfig or of --namespace, and its token is read from there.

Exit codes: 0 completed, 1 failed, 2 wrong usage or refused, 3 cancelled, 4 waited long enough, 5 no answer,
6 not allowed; of a gate 0 passed, 7 failed, 8 inconclusive.
"""
# As kubectl reads it, a directive of its library for completions.
NO_FILE_NAMES: Final = ":4"
COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    submit.submit,
    submit.watch,
    submit.rerun,
    jobs.ls,
    jobs.get,
    logs.logs,
    results.results,
    results.samples,
    results.files,
    compare.compare,
    gate.gate,
    jobs.cancel,
    jobs.update,
    queue.queue,
    queue.top,
    ui.ui,
    catalogue.tasks,
    catalogue.models,
)


def main() -> None:
    """Run `lmmeval`, or `kubectl lmmeval`. One that is terminated takes its tunnel along."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app(prog_name="kubectl lmmeval" if Path(sys.argv[0]).name.startswith("kubectl") else "lmmeval")


def complete_for_kubectl() -> None:
    """Print completions, then "no file names": kubectl runs it as `kubectl_complete-lmmeval` with the words that were
    typed.
    """
    words = ["lmmeval", *sys.argv[1:]]
    asked = {"_LMMEVAL_COMPLETE": "complete_bash", "COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}
    os.environ.update(asked)
    try:
        app(prog_name="lmmeval")
    finally:
        print(NO_FILE_NAMES)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("lmms-eval-client"))
        raise typer.Exit


def _start(
    show: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What comes before every command."""


class Command(TyperCommand):
    """A command that takes its flags with `_` or `-`, and says of one that it does not have how it was typed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the flags into the spelling that they are defined in."""
        defined = {
            name.replace("_", "-"): name
            for parameter in self.params
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*(_normalise_flag(word, defined) for word in args[:end]), *args[end:]])


def _normalise_flag(word: str, defined: dict[str, str]) -> str:
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return word
    if why := unused.explain_refusal(name):
        raise typer.BadParameter(why)
    return f"{defined.get(name.replace('_', '-'), name)}{equals}{value}"


def _build_app() -> typer.Typer:
    spelling = {"help_option_names": ["-h", "--help"]}
    made = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Frames and colours for help and wrong usage are for people at a terminal.
        rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
        context_settings=spelling,
    )
    made.callback()(_start)
    for command in COMMANDS:
        made.command(command.__name__, cls=Command)(connect_command(command))
    return made


app = _build_app()
