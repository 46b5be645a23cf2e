"""One campaign, from the installation of the chart to its result.

The workload and the fault injector run at the same time; a recovery without faults follows, then the verification.
"""

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

from chaos import fault_manifests, summary
from chaos.faults import FaultInjector
from chaos.final_state import wait_for_final_state
from chaos.observer import ClusterObserver
from chaos.records import CampaignRecords
from chaos.verification import CampaignResult, verify_campaign
from chaos.workload import Workload

NAMESPACE = "lmms-eval-chaos"
SLOTS = 1
IMAGES = {name: "stub" if name == "evaluator" else name for name in deployment.SHIPPED}
RECORDS_FILE = ROOT / "build" / "chaos.json"
# Long enough for all attempts of the evaluations that are open, and for the kubelet's retries after outages.
RECOVERY_SECONDS = 240.0


class Campaign(NamedTuple):
    """The seed of a campaign, and for how many seconds it injects faults."""

    seed: int
    seconds: float


def run_campaign(campaign: Campaign, kubectl: Kubectl, images: dict[str, str]) -> CampaignResult:
    """Install the chart with the stand-in for lmms-eval, run the campaign, and uninstall the chart if it has passed."""
    cluster_folder = find_cluster_folder()
    release = Deployment(kubectl, NAMESPACE)
    release.uninstall()
    delete_policies(kubectl)
    release.install(build_chart_values(images))
    try:
        result = inject_and_verify(campaign, release, cluster_folder)
    finally:
        # Even after an exception: others that use the cluster need all of its components.
        deployment.program("cluster", "up")
        delete_policies(kubectl)
    if result.has_passed:
        release.uninstall()
    return result


def delete_policies(kubectl: Kubectl) -> None:
    """Delete the policies that a campaign has left."""
    kubectl("delete", ",".join(fault_manifests.POLICY_RESOURCES), "--selector", fault_manifests.LABEL)


def prepare_images() -> dict[str, str]:
    """Start the cluster, build and load the images; return what its pods call them, by name.

    The image of the name "evaluator" is the one with the stand-in for lmms-eval.
    """
    deployment.program("cluster", "up")
    deployment.program("images", "build", *IMAGES.values())
    built: dict[str, str] = json.loads(deployment.IMAGES.read_text())
    return deployment.load({name: built[source] for name, source in IMAGES.items()})


def find_cluster_folder() -> Path:
    """Return the folder of the local cluster; raises CommandFailed for a provider whose processes we cannot kill."""
    cluster = cluster_from(os.environ, control_plane_only=False)
    if not isinstance(choose(cluster, os.environ), LocalProvider):
        needed = "LMMS_EVAL_CLUSTER_PROVIDER=local"
        raise CommandFailed(f"chaos kills processes of the node, so it needs the local provider: {needed}")
    return cluster.state


def build_chart_values(images: dict[str, str]) -> dict[str, Any]:
    """Return the chart's values: the images, one lock for each slot, quick retries.

    The catalogue is off, since the stand-in for lmms-eval cannot list tasks.
    """
    return {
        **deployment.image_values(images),
        "catalogue": {"enabled": False},
        "operator": {"retryBackoffSeconds": 1},
        "evaluator": {"env": [{"name": "STUB_SLOTS", "value": str(SLOTS)}], "jobTtlSeconds": 120},
    }


def inject_and_verify(campaign: Campaign, release: Deployment, cluster_folder: Path) -> CampaignResult:
    """Run workload and faults against an installed release, wait for the recovery, and verify the final state."""
    started, records, observer = time.monotonic(), CampaignRecords(), ClusterObserver(release)

    def log_event(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f}  {text}", flush=True)

    workload = Workload(release, records, observer, seed=campaign.seed, log_event=log_event)
    faults = FaultInjector(release, cluster_folder, records, seed=campaign.seed, log_event=log_event)
    run_concurrently(campaign.seconds, workload.run, faults.run)
    log_event("end of actions and faults; recovery begins")
    deployment.program("cluster", "up")
    final_state = wait_for_final_state(release, records, seconds=RECOVERY_SECONDS)
    observer.stop()
    unobserved = [name for name, record in records.evaluations.items() if record.uid not in observer.histories]
    if unobserved:
        raise CommandFailed(f"the watch never saw {', '.join(unobserved)}, so this campaign cannot be verified")
    log_event("no pod, Job or slot is left" if not final_state.leftovers else "the time for recovery is over")
    summary.write_records(RECORDS_FILE, records, observer, final_state)
    return verify_campaign(records, observer, final_state, slots=SLOTS)


def run_concurrently(seconds: float, *tasks: Callable[[threading.Event], None]) -> None:
    """Run the tasks in threads until `seconds` have passed or one of them fails, whose exception is raised.

    Each task gets an event, and has to return once the event is set.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(task, stop) for task in tasks]
        try:
            wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        finally:
            stop.set()
    for future in running:
        future.result()
