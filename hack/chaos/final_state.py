"""The state after a campaign and its recovery: objects, the slot journal of the runs, files in the object store."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from deployment import CommandFailed, Deployment

from chaos.records import CampaignRecords
from lmms_eval_core import names
from lmms_eval_core.layout import COMPLETE_FILE
from lmms_eval_core.phases import TERMINAL, Phase

Object = dict[str, Any]
POLL_SECONDS = 1.0
# On the cache volume; `stub/lmms_eval/slot_lock.py` writes it.
SLOT_JOURNAL = "huggingface/stub/journal.jsonl"


class FinalState(NamedTuple):
    """Evaluations by uid, and the text of the slot journal.

    `leftovers` and `missing_results` are sentences: one for each pod, Job or slot that is still in use, and one for
    each completed evaluation whose results are not in the object store.
    """

    evaluations: dict[str, Object]
    leftovers: list[str]
    slot_journal: str
    missing_results: list[str]


def wait_for_final_state(release: Deployment, records: CampaignRecords, *, seconds: float) -> FinalState:
    """Return the state as soon as everything has ended, at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        evaluations, leftovers = list_evaluations(release), list_leftovers(release)
        all_ended = all(item["status"]["phase"] in TERMINAL for item in evaluations.values())
        deletions = [record for record in records.evaluations.values() if record.deleted]
        all_deleted = not any(record.uid in evaluations for record in deletions)
        if (all_ended and all_deleted and not leftovers) or time.monotonic() >= deadline:
            journal = find_volume_folder(release, f"{release.release}-cache") / SLOT_JOURNAL
            missing = list_missing_results(release, evaluations)
            return FinalState(evaluations, leftovers, journal.read_text(), missing)
        time.sleep(POLL_SECONDS)


def list_evaluations(release: Deployment) -> dict[str, Object]:
    """Return all evaluations by uid."""
    return {item["metadata"]["uid"]: item for item in list_objects(release, names.PLURAL)}


def list_leftovers(release: Deployment) -> list[str]:
    """Return a sentence for each pod and Job that has not ended and each slot that is held."""
    selector = ("-l", f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
    pods = [
        get_name(item)
        for item in list_objects(release, "pods", *selector)
        if item["status"]["phase"] not in ("Succeeded", "Failed")
    ]
    jobs = [get_name(item) for item in list_objects(release, "jobs", *selector) if not has_job_ended(item)]
    leases = list_objects(release, "leases", *selector)
    slots = [
        f"{get_name(item)} by {item['spec']['holderIdentity']}"
        for item in leases
        if names.LABEL_SLOT in item["metadata"]["labels"] and item["spec"].get("holderIdentity")
    ]
    by_kind = {"pod": pods, "Job": jobs, "slot": slots}
    return [f"{kind} {item} is left" for kind, items in by_kind.items() for item in items]


def has_job_ended(job: Object) -> bool:
    """Whether a Job is complete or failed."""
    conditions = job["status"].get("conditions", ())
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def list_objects(release: Deployment, *arguments: str) -> list[Object]:
    """Return the objects in the release's namespace that `kubectl get` lists with these arguments."""
    items: list[Object] = release.json("get", *arguments)["items"]
    return items


def get_name(item: Object) -> str:
    """Return an object's name."""
    return str(item["metadata"]["name"])


def find_volume_folder(release: Deployment, claim: str) -> Path:
    """Return the folder on this machine behind a volume claim; raises CommandFailed if the claim has no volume."""
    volume = release.json("get", "pvc", claim)["spec"].get("volumeName")
    if not volume:
        raise CommandFailed(f"the volume of {claim} was never created, so no evaluation has run")
    return Path(release.kubectl.json("get", "pv", volume)["spec"]["local"]["path"])


def list_missing_results(release: Deployment, evaluations: dict[str, Object]) -> list[str]:
    """Return a sentence for each completed evaluation whose results are not on the object store's own disk."""
    buckets = find_volume_folder(release, f"{release.release}-s3") / "buckets"
    completed = {
        get_name(item): item["status"].get("artifacts", {}).get("uri", "")
        for item in evaluations.values()
        if item["status"]["phase"] == Phase.COMPLETED
    }
    return [
        f"{name} completed, but {uri} is not complete in the object store"
        for name, uri in completed.items()
        if not (buckets / uri.removeprefix("s3://") / COMPLETE_FILE).is_file()
    ]
