"""The command line: `python3 hack/cluster COMMAND`, the same for every provider, and the choice between them."""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from . import kind
from .binaries import Binaries
from .console import ClusterError
from .existing import ExistingProvider
from .local import LocalProvider
from .settings import Cluster, cache_folder, cluster_from


class Provider(Protocol):
    """What every way of having a cluster can do."""

    def up(self, *, gpus: int | None) -> None:
        """Bring the cluster up unless it is."""

    def down(self) -> None:
        """Take it away."""

    def status(self) -> bool:
        """Print what there is and say whether it is whole."""

    def kubeconfig(self) -> Path:
        """Give the path of its kubeconfig."""

    def load(self, names: list[str]) -> list[str]:
        """Make locally built images runnable by its pods; the references by which they name them, in the same order."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    try:
        return run(parser().parse_args(arguments), os.environ)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do what the parsed arguments ask for."""
    if options.command == "tool":
        binaries = Binaries(cache_folder(environ))
        print(*(binaries.found(name) for name in options.names), sep="\n")
        return 0
    provider = choose(cluster_from(environ, control_plane_only=options.control_plane_only), environ)
    match options.command:
        case "up":
            provider.up(gpus=options.gpus)
        case "down":
            provider.down()
        case "kubeconfig":
            print(provider.kubeconfig())
        case "load":
            print(*provider.load(options.images), sep="\n")
        case "stop" | "start":
            if not isinstance(provider, LocalProvider):
                raise ClusterError("Components can be stopped and started in a cluster of the local provider only.")
            (provider.stop if options.command == "stop" else provider.start)(options.component)
    return 0 if options.command != "status" or provider.status() else 1


def choose(cluster: Cluster, environ: Mapping[str, str]) -> Provider:
    """Take the cluster that is named, else kind where Docker runs, else this machine, unless one of the two is asked
    for.

    Raises ClusterError if none is possible.
    """
    asked = environ.get("LMMS_EVAL_CLUSTER_PROVIDER", "")
    if asked not in ("", "kind", "local"):
        raise ClusterError(
            f"LMMS_EVAL_CLUSTER_PROVIDER={asked!r} is no provider: say kind or local, or leave it unset."
        )
    if kubeconfig := environ.get("LMMS_EVAL_KUBECONFIG"):
        return ExistingProvider(cluster, Path(kubeconfig), environ.get("LMMS_EVAL_REGISTRY", ""))
    if asked != "local" and kind.available():
        return kind.KindProvider(cluster)
    if asked != "kind" and platform.system() == "Linux" and os.geteuid() == 0:
        return LocalProvider(cluster)
    raise ClusterError(
        "A cluster needs one of: LMMS_EVAL_KUBECONFIG with a kubeconfig's path, a running Docker, or root on Linux."
    )


def parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    top = argparse.ArgumentParser(
        prog="hack/cluster", description="A real Kubernetes cluster for the demo and the tests."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    control_plane = argparse.ArgumentParser(add_help=False)
    control_plane.add_argument(
        "--control-plane-only", action="store_true", help="the cluster without a node, which has its own name"
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[control_plane])

    up = command("up", "bring the cluster up unless it is; what a dead one left is taken away first")
    up.add_argument(
        "--gpus", type=int, metavar="N", help="how many GPUs the node claims to have (default: 1 if it is new)"
    )
    command("down", "take the cluster away: processes, mounts, namespaces, state")
    command("status", "show what runs; exit status 1 if the cluster is not whole")
    command("kubeconfig", "print the path of the cluster's kubeconfig")
    load = command("load", "make locally built images runnable by pods; prints what those call them")
    load.add_argument("images", nargs="+", metavar="IMAGE", help="full name: host, path and tag")
    for name, text in (("stop", "kill one component, to see what an outage does"), ("start", "start it again")):
        command(name, text).add_argument("component", metavar="COMPONENT")
    tool = commands.add_parser("tool", help="print the paths of programs, the pinned ones built if they are missing")
    tool.add_argument("names", nargs="+", metavar="NAME", help="kubectl, helm, kubeconform, versitygw, ...")
    return top
