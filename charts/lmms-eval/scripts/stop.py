"""Before the release is deleted: ends the operator, then the pods of running evaluations, and waits until they are
gone.

Runs in the operator's image as a pre-delete hook; environment: NAMESPACE, RELEASE, OPERATOR (its Deployment),
TIMEOUT_SECONDS. The reporters still have their rights and their store, so that logs and finished results arrive.
Evaluations stay.
"""

import asyncio
import os
import time

from lmms_eval_core import names
from lmms_eval_core.kube.client import PODS, KubeClient, Object, Resource
from lmms_eval_core.kube.errors import Conflict, NotFound
from lmms_eval_core.kube.transport import connect

DEPLOYMENTS = Resource("apps", "v1", "deployments")
OPERATOR_PODS = "app.kubernetes.io/component=operator,app.kubernetes.io/instance="
OUR_PODS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
POLL_SECONDS = 1.0


async def wait_until_gone(client: KubeClient, selector: str, deadline: float) -> bool:
    """Wait until no pod of `selector` holds anything any more; return whether that is so before the deadline."""
    while any(map(is_active, (await client.list(PODS, label_selector=selector)).items)):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def is_active(pod: Object) -> bool:
    """Return whether the pod holds anything: one that has ended stays for its logs, and one behind the gate has not
    begun.
    """
    gated = {"name": names.SCHEDULING_GATE} in pod["spec"].get("schedulingGates", [])
    return not gated and pod["status"].get("phase") not in ("Succeeded", "Failed")


async def end_operator(client: KubeClient, deadline: float) -> None:
    """Scale the operator to nothing: it would try again what ends here."""
    try:
        scaled = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
        await client.json_patch(DEPLOYMENTS, os.environ["OPERATOR"], scaled)
    except NotFound:
        return
    await wait_until_gone(client, OPERATOR_PODS + os.environ["RELEASE"], deadline)


async def delete_pod(client: KubeClient, pod: Object) -> None:
    """Delete the pod, which ends it as a cancel does."""
    metadata = pod["metadata"]
    print(f"ending {metadata['name']}", flush=True)
    try:
        await client.delete(PODS, metadata["name"], uid=metadata["uid"])
    except (NotFound, Conflict):
        print(f"{metadata['name']} is gone already", flush=True)


async def main() -> None:
    """End the operator and what runs, and wait until it has ended."""
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    client = await connect(namespace=os.environ["NAMESPACE"])
    try:
        await end_operator(client, deadline)
        for pod in filter(is_active, (await client.list(PODS, label_selector=OUR_PODS)).items):
            await delete_pod(client, pod)
        if not await wait_until_gone(client, OUR_PODS, deadline):
            print("pods of evaluations are still ending; they are no reason to keep the release", flush=True)
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
