"""What tests that were killed have left on a cluster: namespaces, and what is the cluster's but serves one of them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from .preparation import TierPreparation

# On every namespace that a test makes.
LABEL = "lmms-eval.io/test"
# No test takes so long: what is older belongs to no run, whoever else runs tests on this cluster.
OLD = timedelta(hours=1)
# Their names begin with their namespace's.
CLUSTER_WIDE = (
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "clusterroles",
    "clusterrolebindings",
)


def remove(preparation: TierPreparation, kubectl: list[str]) -> None:
    """Delete what is old; `kubectl` is its command for the cluster."""
    read = [*kubectl, "get", "--output=json"]
    namespaces = json.loads("\n".join(preparation.answer(*read, "namespaces", f"--selector={LABEL}")))["items"]
    if gone := old(namespaces, datetime.now(UTC)):
        others = json.loads("\n".join(preparation.answer(*read, ",".join(CLUSTER_WIDE))))["items"]
        preparation.run(*kubectl, "delete", "--ignore-not-found", "--wait=false", *serving(others, gone))
        preparation.run(
            *kubectl, "delete", "--ignore-not-found", "--wait=false", *(f"namespace/{name}" for name in gone)
        )


def old(namespaces: list[dict[str, Any]], now: datetime) -> list[str]:
    """List the names of those that no running test can have made."""
    made = {
        item["metadata"]["name"]: datetime.fromisoformat(item["metadata"]["creationTimestamp"]) for item in namespaces
    }
    return [name for name, moment in made.items() if now - moment > OLD]


def serving(objects: list[dict[str, Any]], namespaces: list[str]) -> list[str]:
    """List, as kubectl takes them, the objects of the cluster that serve one of the namespaces."""
    named = [(item["kind"].lower(), item["metadata"]["name"]) for item in objects]
    return [f"{kind}/{name}" for kind, name in named if name.split(".")[0] in namespaces]
