"""The command line: `python3 hack/web COMMAND`."""

import argparse
import os
import sys
from collections.abc import Sequence

from lmms_eval_images import apt
from lmms_eval_images.console import ImageError

from . import bundle, checks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        run(options)
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Do what the parsed arguments ask for."""
    match options.command:
        case "build":
            bundle.build()
        case "check":
            checks.check(*options.checks)
        case "schema":
            checks.write_schema(checks.SCHEMA, bundle.install_packages(os.environ))
        case "format":
            checks.format_sources(bundle.install_packages(os.environ))
        case "browser":
            apt.ensure({"chromium": "chromium"})


def make_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    top = argparse.ArgumentParser(prog="hack/web", description="Builds and checks the web page in web/.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    command("build", "Build web/dist, unless it is what the sources make.")
    command("check", "Check the page's code and its size.").add_argument("checks", nargs="*", choices=checks.CHECKS)
    command("schema", "Write the types of the API, from web/openapi.json.")
    command("format", "Write the sources in Biome's format.")
    command("browser", "Install Chromium for the tests, on a Debian without one.")
    return top
