"""Jobs as the operator and the reporter would move them, for tests of the client and its command line."""

from typing import Any

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

SCORES = {"mme": {"score,none": {"value": 0.5, "stderr": None}}}
PROGRESS = {"stage": "Evaluating", "completed": 8, "total": 32, "percent": 25, "rate": 1.5, "etaSeconds": 16, "text": "8/32 25%"}
UPDATED = "2026-01-01T00:00:00Z"


async def move(client: Transport, name: str, phase: str, **status: Any) -> None:
    """Writes a status."""
    fields = {"phase": phase, **status}
    patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in fields.items()]
    await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def run(client: Transport, name: str, **status: Any) -> None:
    """Has it generate answers, a quarter of them done."""
    wanted = {"reason": "Evaluating", "startedAt": UPDATED, "attempt": 1, "progress": {**PROGRESS, "updatedAt": UPDATED}}
    await move(client, name, "Running", **(wanted | status))


async def complete(client: Transport, name: str) -> None:
    """Has it end with scores."""
    await run(client, name)
    await move(client, name, "Completed", reason="Succeeded", completedAt=UPDATED, scores=SCORES, summary="mme 0.5")


async def fail(client: Transport, name: str) -> None:
    """Has it end without."""
    await run(client, name)
    await move(client, name, "Failed", reason="TaskNotFound", completedAt=UPDATED, message="lmms-eval has no task 'nope'.")
