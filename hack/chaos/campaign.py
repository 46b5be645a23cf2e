"""One run of chaos, from the installed chart to the result: people and misfortune at once, then quiet, then the judgement."""

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import deployment
from deployment import ROOT, CommandFailed, Deployment, Kubectl
from lmms_eval_cluster.cli import choose
from lmms_eval_cluster.local import LocalProvider
from lmms_eval_cluster.settings import cluster_from

from chaos import cluster_faults, table
from chaos.aftermath import await_rest
from chaos.ledger import Ledger
from chaos.misfortune import Misfortune
from chaos.people import People
from chaos.table import Result
from chaos.witness import Witness

NAMESPACE = "lmms-eval-chaos"
SLOTS = 1
IMAGES = {name: "stub" if name == "evaluator" else name for name in deployment.SHIPPED}
STORIES = ROOT / "build" / "chaos.json"
# What is open at the end has this long: a few runs, each with its attempts and the kubelet's own patience after outages.
QUIET_SECONDS = 240.0


class Campaign(NamedTuple):
    """What is asked for."""

    seed: int
    seconds: float


def run(campaign: Campaign, kubectl: Kubectl, images: dict[str, str]) -> Result:
    """Installs the chart with the stand-in for lmms-eval, has everything happen, and takes it away again if all was well."""
    state = state_of_the_cluster()
    release = Deployment(kubectl, NAMESPACE)
    release.uninstall()
    lift_rules(kubectl)
    release.install(values(images))
    try:
        outcome = endure(campaign, release, state)
    finally:
        # Whatever happened: those who come next need a whole cluster.
        deployment.program("cluster", "up")
        lift_rules(kubectl)
    if outcome.good:
        release.uninstall()
    return outcome


def lift_rules(kubectl: Kubectl) -> None:
    """Takes away the policies of faults that nobody has ended."""
    kubectl("delete", ",".join(cluster_faults.KINDS), "--selector", cluster_faults.LABEL)


def prepare() -> dict[str, str]:
    """A cluster that is up, with our images and the stand-in loaded, which is the evaluator here; the images by name."""
    deployment.program("cluster", "up")
    deployment.program("images", "build", *IMAGES.values())
    built: dict[str, str] = json.loads(deployment.IMAGES.read_text())
    return deployment.load({name: built[source] for name, source in IMAGES.items()})


def state_of_the_cluster() -> Path:
    """The folder of the cluster on this machine; CommandFailed for any other, whose processes are not ours to kill."""
    cluster = cluster_from(os.environ, control_plane_only=False)
    if not isinstance(choose(cluster, os.environ), LocalProvider):
        raise CommandFailed("chaos kills processes of the node, so it needs the local provider: LMMS_EVAL_CLUSTER_PROVIDER=local")
    return cluster.state


def values(images: dict[str, str]) -> dict[str, Any]:
    """The chart's: our images, one lock for each slot, and quick retries. The stand-in for lmms-eval has no tasks to list."""
    return {
        **deployment.image_values(images),
        "catalogue": {"enabled": False},
        "operator": {"retryBackoffSeconds": 1},
        "evaluator": {"env": [{"name": "STUB_SLOTS", "value": str(SLOTS)}], "jobTtlSeconds": 120},
    }


def endure(campaign: Campaign, release: Deployment, state: Path) -> Result:
    """The chaos itself, and what it comes to."""
    started, ledger, witness = time.monotonic(), Ledger(), Witness(release)

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f}  {text}", flush=True)

    people = People(release, ledger, witness, seed=campaign.seed, say=say)
    misfortune = Misfortune(release, state, ledger, seed=campaign.seed, say=say)
    together(campaign.seconds, people.live, misfortune.live)
    say("quiet")
    deployment.program("cluster", "up")
    after = await_rest(release, ledger, seconds=QUIET_SECONDS)
    witness.stop()
    if blind := [name for name, entry in ledger.entries.items() if entry.uid not in witness.states]:
        raise CommandFailed(f"the watch never saw {', '.join(blind)}, so that nothing can be said of this run")
    say("at rest" if not after.left else "time is up")
    table.write(STORIES, ledger, witness, after)
    return table.result(ledger, witness, after, slots=SLOTS)


def together(seconds: float, *lives: Callable[[threading.Event], None]) -> None:
    """Runs all at once until `seconds` have passed or one of them fails; its exception is raised."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(lives)) as pool:
        running = [pool.submit(life, stop) for life in lives]
        try:
            wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        finally:
            stop.set()
    for future in running:
        future.result()
