"""Moves jobs through their states as operator and reporter do, for tests of the client and its command line."""

import json
from typing import Any

import zstandard
from indexed_samples import index_samples

from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_scoring import read_sampled_task
from lmms_eval_core.status import RESULTS_SUSPECT
from lmms_eval_core.store.objects import ObjectStore

SCORES = {"mme": {"score,none": {"value": 0.5, "stderr": None}}}
PROGRESS = {
    "stage": "Evaluating",
    "completed": 8,
    "total": 32,
    "percent": 25,
    "rate": 1.5,
    "etaSeconds": 16,
    "text": "8/32 25%",
}
DOUBT = "of 7 answers 4 are empty"
UPDATED = "2026-01-01T00:00:00Z"
# What marks the results of a completed job as suspect, in the same write.
SUSPECT: dict[str, Any] = {
    "suspect": {"samples": 7, "empty": 4, "failed": 0, "swallowedErrors": 0},
    "conditions": [
        {
            "type": RESULTS_SUSPECT,
            "status": "True",
            "reason": "FailedAnswers",
            "message": DOUBT,
            "lastTransitionTime": UPDATED,
        }
    ],
}


async def set_status(client: Transport, name: str, phase: str, **status: Any) -> None:
    """Write the phase and further status fields."""
    fields = {"phase": phase, **status}
    patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in fields.items()]
    await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def start_job(client: Transport, name: str, **status: Any) -> None:
    """Move the job to Running, with a quarter of its answers generated."""
    wanted = {
        "reason": "Evaluating",
        "startedAt": UPDATED,
        "attempt": 1,
        "progress": {**PROGRESS, "updatedAt": UPDATED},
    }
    await set_status(client, name, "Running", **(wanted | status))


async def complete_job(client: Transport, name: str) -> None:
    """Move the job to Completed, with scores."""
    await start_job(client, name)
    await set_status(
        client, name, "Completed", reason="Succeeded", completedAt=UPDATED, scores=SCORES, summary="mme 0.5"
    )


async def fail_job(client: Transport, name: str) -> None:
    """Move the job to Failed."""
    await start_job(client, name)
    await set_status(
        client, name, "Failed", reason="TaskNotFound", completedAt=UPDATED, message="lmms-eval has no task 'nope'."
    )


RESULTS = {
    "results": {"mme": {"alias": "mme", "score,none": 0.5, "score_stderr,none": "N/A"}},
    "n-shot": {"mme": 0},
    "higher_is_better": {"mme": {"score": True}},
}
SAMPLES = [
    {
        "doc_id": number,
        "input": "What?",
        "target": "A",
        "filtered_resps": "A" if number % 2 else "",
        "score": float(number % 2),
    }
    for number in range(7)
]
LOG = "lmms-eval-runner: attempt 1\n" + "".join(f"line {number}\n" for number in range(100))


async def complete_with_files(client: Transport, store: ObjectStore, name: str, **status: Any) -> None:
    """Move the job to Completed, with scores and further status fields, and all its files in the store."""
    document = await client.get(EVALUATIONS, name)
    prefix = ArtifactPrefix(document["metadata"]["namespace"], name, document["metadata"]["uid"], 1)
    indexed = index_samples(SAMPLES, read_sampled_task(RESULTS, "mme"))
    files = {
        layout.RESULTS_FILE: json.dumps(RESULTS).encode(),
        layout.LOG_FILE: zstandard.compress(LOG.encode()),
        layout.sample_file("mme"): indexed.samples,
    }
    for file, content in files.items():
        await store.put(prefix.file(file), content)
    await store.put(prefix.file(layout.index_file(layout.sample_file("mme"))), indexed.index)
    listed = [{"name": file, "bytes": len(content)} for file, content in files.items()]
    produced = {"scores": SCORES, "artifacts": {"uri": store.uri(prefix.path), "files": listed}}
    await start_job(client, name)
    await set_status(client, name, "Completed", reason="Succeeded", completedAt=UPDATED, **(produced | status))
