"""Evaluations as they are in use, by the thousand: what a team would submit, and what is left of one that has run."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Iterable
from itertools import chain
from typing import Any

from deployment import Kubectl

from lmms_eval_core import layout, names
from lmms_eval_core.crd import build_crd
from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import EVALUATIONS, Object

WRITERS = 16
# As long as a UUID, which is what lmms-eval's own server lists.
DIGITS = 29
PERIOD_SECONDS = 0.5
STEADY_LOOKS = 10
TASKS = ["mme", "mmbench_en_dev", "mmmu_val", "mathvista_testmini", "ai2d", "chartqa", "docvqa_val", "ocrbench"]
REPORTER_ACCOUNT = "lmms-eval-reporter"
MOMENT = "2026-01-02T03:04:05Z"


def build_queued(name: str) -> Object:
    """Return a submission from training: one checkpoint on eight tasks."""
    spec: dict[str, Any] = {
        "model": "qwen2_5_vl",
        "modelArgs": {
            "pretrained": f"/checkpoints/vlm-7b-instruct-sft-run-{name}/step-00012000",
            "attn_implementation": "flash_attention_2",
            "max_pixels": 12845056,
            "min_pixels": 200704,
            "max_num_frames": 32,
            "use_custom_video_loader": True,
            "interleave_visuals": False,
            "device_map": "auto",
        },
        "tasks": TASKS,
        "batchSize": "auto",
        "genKwargs": "temperature=0,max_new_tokens=1024,do_sample=False",
        "systemInstruction": "Look at the image before you answer. " * 12,
        "gpus": 1,
        "resources": {"cpu": "8", "memory": "96Gi", "sharedMemory": "16Gi", "ephemeralStorage": "200Gi"},
        "volumes": [
            {"claimName": "checkpoints", "mountPath": "/checkpoints"},
            {"claimName": "datasets", "mountPath": "/datasets"},
        ],
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "env": [
            {"name": "OPENAI_API_KEY", "secretKeyRef": {"name": "lmms-eval-env-judge", "key": "api-key"}},
            {"name": "HF_TOKEN", "secretKeyRef": {"name": "lmms-eval-env-hub", "key": "token"}},
            {"name": "OPENAI_API_URL", "value": "https://judge.example.com/v1/chat/completions"},
        ],
        "timeoutSeconds": 28800,
    }
    return _evaluation(name, spec)


def build_service_account() -> Object:
    """Return the account that evaluator pods run as."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": REPORTER_ACCOUNT}}


def build_finished_status(name: str) -> Object:
    """Return the status of one that has run, the reporter's fields included."""
    attempt = {
        "number": 1,
        "jobName": f"{name}-0a1b2c3d-a1",
        "node": "gpu-node-17",
        "startedAt": MOMENT,
        "endedAt": MOMENT,
    }
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": MOMENT,
    }
    return {
        "phase": "Completed",
        "reason": "Succeeded",
        "message": "",
        "observedGeneration": 1,
        "conditions": [condition],
        "attempt": 1,
        "slot": 0,
        "jobName": attempt["jobName"],
        "jobUID": "4f0d2a5e-7c1b-4a8e-9f3d-0123456789ab",
        "attempts": [{**attempt, "exitCode": 0, "reason": "Succeeded"}],
        "startedAt": MOMENT,
        "completedAt": MOMENT,
        **build_published_status(name),
    }


def build_published_status(name: str) -> Object:
    """Return the fields that the reporter writes of a run."""
    files = [{"name": f"samples/{task}.jsonl.zst", "bytes": 1234567, "lines": 2374} for task in TASKS]
    return {
        "reportedAttempt": 1,
        "scores": {task: {"acc,none": {"value": 0.6180339887, "stderr": 0.0123456789}} for task in TASKS},
        "summary": "mme 0.618, mmbench_en_dev 0.618 and 6 more",
        "artifacts": {"uri": f"s3://lmms-eval/results/team/{name}/a1", "files": files},
        "usage": {
            "loadSeconds": 71.2,
            "generationSeconds": 5234.5,
            "totalSeconds": 5391.7,
            "gpuSeconds": 5391.7,
            "samples": 52228,
            "versions": {"lmms-eval": "0.5.0", "torch": "2.8.0", "transformers": "4.57.1"},
        },
        "suspect": {"samples": 52228, "empty": 3, "failed": 0, "swallowedErrors": 0},
    }


@contextlib.asynccontextmanager
async def open_namespace(kubectl: Kubectl, name: str) -> AsyncIterator[transport.Transport]:
    """A client of a new namespace, in a cluster with this checkout's CRD."""
    kubectl("create", "namespace", name)
    client = await transport.connect(namespace=name, kubeconfig=kubectl.kubeconfig)
    try:
        await apply_crd(kubectl, client)
        yield client
    finally:
        await client.close()


async def create_running(client: transport.Transport, name: str, *, task: str, attempt: int = 1) -> str:
    """Create an evaluation of one task whose attempt runs, as the operator leaves it; return its uid."""
    made = await client.create(EVALUATIONS, _evaluation(name, {"model": "dummy", "tasks": [task]}))
    status = {"phase": "Running", "reason": "Starting", "attempt": attempt}
    patch = [{"op": "add", "path": f"/status/{field}", "value": value} for field, value in status.items()]
    await client.json_patch(EVALUATIONS, name, patch, subresource="status")
    return str(made["metadata"]["uid"])


async def create_completed(client: transport.Transport, name: str, *, task: str) -> str:
    """Create an evaluation of one task that has run and left samples; return its uid."""
    uid = await create_running(client, name, task=task)
    file = {"name": layout.sample_file(task), "bytes": 1}
    artifacts = {"uri": f"s3://lmms-eval/{name}/a1", "files": [file]}
    status = build_finished_status(name) | {"artifacts": artifacts}
    patch = [{"op": "add", "path": f"/status/{field}", "value": value} for field, value in status.items()]
    await client.json_patch(EVALUATIONS, name, patch, subresource="status")
    return uid


async def fill(kubectl: Kubectl, client: transport.Transport, size: int) -> None:
    """Create `size` evaluations that wait, and as many that have run. Leaves this checkout's CRD in the cluster.

    They are created under a CRD of the same schema that takes a status along and has no rules: half of the writes, and
    the rules are most of the cost of each.
    """
    await apply_crd(kubectl, client, seeding=True)
    ended = (f"ended-{number:0{DIGITS + 1}}" for number in range(size))
    finished = ({**build_queued(name), "status": build_finished_status(name)} for name in ended)
    waiting = (build_queued(f"queued-{number:0{DIGITS}}") for number in range(size))
    await _run_in_batches(client.create(EVALUATIONS, body) for body in chain(finished, waiting))
    await apply_crd(kubectl, client)


async def apply_crd(kubectl: Kubectl, client: transport.Transport, *, seeding: bool = False) -> None:
    """Put this checkout's CRD into the cluster, or one to fill it by; return when it is in force."""
    body = build_crd()
    if seeding:
        for version in body["spec"]["versions"]:
            del version["subresources"]
            version["schema"] = _without_rules(version["schema"])
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))
    # The API server takes several goes at it, and has no answers in between.
    steady = 0
    async with asyncio.timeout(120):
        while steady < STEADY_LOOKS:
            await asyncio.sleep(PERIOD_SECONDS)
            steady = steady + 1 if await _takes_status(client) is seeding else 0


async def _takes_status(client: transport.Transport) -> bool | None:
    """Whether the CRD that is in force now takes a status at creation; None while it is not quite there."""
    try:
        made = await client.create(
            EVALUATIONS, {**build_queued("probe"), "status": build_finished_status("probe")}, dry_run=True
        )
        await client.list(EVALUATIONS, field_selector=f"metadata.name={made['metadata']['name']}")
    except (errors.NotFound, errors.Throttled, errors.Unavailable):
        return None
    return bool(made["status"]["phase"] == "Completed")


def _without_rules(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_rules(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_rules(value) for key, value in node.items() if key != "x-kubernetes-validations"}


def _evaluation(name: str, spec: Object) -> Object:
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "vlm-7b", "team": "multimodal"}}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}


async def _run_in_batches(work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run `WRITERS` of them at a time."""
    iterator = iter(work)

    async def writer() -> None:
        for part in iterator:
            await part

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
