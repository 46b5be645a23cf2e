"""What is there when the chaos is over and time has passed: objects, the runs' journal, and the files in the store."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from deployment import CommandFailed, Deployment

from chaos.records import Ledger
from lmms_eval_core import names
from lmms_eval_core.layout import COMPLETE_FILE
from lmms_eval_core.phases import TERMINAL, Phase

Object = dict[str, Any]
EVERY_SECONDS = 1.0
JOURNAL = "huggingface/stub/journal.jsonl"


class Aftermath(NamedTuple):
    """All of it; `evaluations` by uid. `left` are sentences about what holds a slot, or could."""

    evaluations: dict[str, Object]
    left: list[str]
    journal: str
    unstored: list[str]


def await_rest(release: Deployment, ledger: Ledger, *, seconds: float) -> Aftermath:
    """What is there as soon as everything has ended, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found, left = evaluations(release), leftovers(release)
        over = all(item["status"]["phase"] in TERMINAL for item in found.values())
        gone = not any(entry.deleted and entry.uid in found for entry in ledger.entries.values())
        if (over and gone and not left) or time.monotonic() >= deadline:
            journal = volume(release, f"{release.release}-cache") / JOURNAL
            return Aftermath(found, left, journal.read_text(), unstored(release, found))
        time.sleep(EVERY_SECONDS)


def evaluations(release: Deployment) -> dict[str, Object]:
    """All of them."""
    items: list[Object] = listed(release, names.PLURAL)
    return {item["metadata"]["uid"]: item for item in items}


def leftovers(release: Deployment) -> list[str]:
    """Pods and Jobs that have not ended, slots that are held."""
    selector = ("-l", f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
    pods = [name(item) for item in listed(release, "pods", *selector) if item["status"]["phase"] not in ("Succeeded", "Failed")]
    jobs = [name(item) for item in listed(release, "jobs", *selector) if not over(item)]
    leases = [item for item in listed(release, "leases", *selector) if names.LABEL_SLOT in item["metadata"]["labels"]]
    held = [f"{name(item)} by {item['spec']['holderIdentity']}" for item in leases if item["spec"].get("holderIdentity")]
    kinds = {"pod": pods, "Job": jobs, "slot": held}
    return [f"{kind} {what} is left" for kind, found in kinds.items() for what in found]


def over(job: Object) -> bool:
    """Whether a Job has ended."""
    conditions = job["status"].get("conditions", ())
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def listed(release: Deployment, *arguments: str) -> list[Object]:
    """Objects of the release's namespace."""
    items: list[Object] = release.json("get", *arguments)["items"]
    return items


def name(item: Object) -> str:
    """Of an object."""
    return str(item["metadata"]["name"])


def volume(release: Deployment, claim: str) -> Path:
    """The folder on this machine that is the claim's volume."""
    bound = release.json("get", "pvc", claim)["spec"].get("volumeName")
    if not bound:
        raise CommandFailed(f"the volume of {claim} was never made, so nothing has run")
    return Path(release.kubectl.json("get", "pv", bound)["spec"]["local"]["path"])


def unstored(release: Deployment, found: dict[str, Object]) -> list[str]:
    """Completed evaluations whose results are not in the store, as the store's own disk has it."""
    root = volume(release, f"{release.release}-s3") / "buckets"
    completed = {name(item): item["status"].get("artifacts", {}).get("uri", "") for item in found.values() if is_completed(item)}
    return [
        f"{evaluation} completed, and {uri} is not whole in the store"
        for evaluation, uri in completed.items()
        if not (root / uri.removeprefix("s3://") / COMPLETE_FILE).is_file()
    ]


def is_completed(item: Object) -> bool:
    """Whether the object says that its results are there."""
    return bool(item["status"]["phase"] == Phase.COMPLETED)
