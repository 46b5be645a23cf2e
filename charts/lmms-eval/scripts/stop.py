"""Before the release goes: ends the operator, then suspends the running Jobs and waits until their pods have ended.

Runs in the operator's image as a pre-delete hook; environment: NAMESPACE, RELEASE, OPERATOR (its Deployment), TIMEOUT_SECONDS.
The reporters still have their rights and their store, so that logs and finished results arrive. Evaluations stay.
"""

import asyncio
import os
import time

from lmms_eval_core import names
from lmms_eval_core.kube.client import JOBS, PODS, KubeClient, Object, Resource
from lmms_eval_core.kube.errors import NotFound
from lmms_eval_core.kube.transport import connect
from lmms_eval_operator.objects import STATE_STOPPED

DEPLOYMENTS = Resource("apps", "v1", "deployments")
OPERATOR_PODS = "app.kubernetes.io/component=operator,app.kubernetes.io/instance="
OUR_JOBS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
POLL_SECONDS = 1.0


async def gone(client: KubeClient, selector: str, deadline: float) -> bool:
    """Whether no pod of `selector` holds anything any more, waiting for it until the deadline."""
    while any(map(lives, (await client.list(PODS, label_selector=selector)).items)):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def lives(pod: Object) -> bool:
    """Whether the pod has not ended; those of finished evaluations stay for a while, for their logs."""
    return pod["status"].get("phase") not in ("Succeeded", "Failed")


async def end_operator(client: KubeClient, deadline: float) -> None:
    """Scales it to nothing first: it would have something to say about its Jobs being suspended."""
    try:
        scaled = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
        await client.json_patch(DEPLOYMENTS, os.environ["OPERATOR"], scaled)
    except NotFound:
        return
    await gone(client, OPERATOR_PODS + os.environ["RELEASE"], deadline)


def runs(job: Object) -> bool:
    """Whether the Job may have pods."""
    ended = any(
        item["status"] == "True" and item["type"] in ("Complete", "Failed") for item in job["status"].get("conditions", [])
    )
    return not ended and not job["spec"].get("suspend", False)


async def suspend(client: KubeClient, job: Object) -> None:
    """Stops the Job as the operator does, so that no operator starts it again."""
    name = job["metadata"]["name"]
    print(f"stopping {name}", flush=True)
    label = "/metadata/labels/" + names.LABEL_STATE.replace("/", "~1")
    stopped: Object = {"op": "add", "path": label, "value": STATE_STOPPED}
    suspended: Object = {"op": "add", "path": "/spec/suspend", "value": True}
    try:
        await client.json_patch(JOBS, name, [stopped, suspended])
    except NotFound:
        print(f"{name} is gone already", flush=True)


async def main() -> None:
    """Ends the operator, stops what runs, waits."""
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    client = await connect(namespace=os.environ["NAMESPACE"])
    try:
        await end_operator(client, deadline)
        for job in (await client.list(JOBS, label_selector=OUR_JOBS)).items:
            if runs(job):
                await suspend(client, job)
        if not await gone(client, OUR_JOBS, deadline):
            print("pods of evaluations are still ending; they are no reason to keep the release", flush=True)
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
