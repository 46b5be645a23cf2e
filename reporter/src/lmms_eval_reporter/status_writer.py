"""Writes the reporter's fields of the status, for its own attempt alone, and tells when that attempt is superseded.

A write carries its precondition (uid, attempt, phase) as `test` operations: a reporter of an older attempt changes
nothing, with or without the admission policy.
"""

from typing import Any

from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, Patch
from lmms_eval_core.kube.errors import Conflict, Forbidden, Invalid, NotFound
from lmms_eval_core.phases import Phase
from lmms_eval_core.run import RunInput


class AttemptSuperseded(Exception):
    """The attempt is no longer the running one of its evaluation; the message says why."""


class StatusWriter:
    """The status of one evaluation. Every method raises AttemptSuperseded, or KubeError where trying again may help."""

    def __init__(self, client: KubeClient, run: RunInput) -> None:
        self._client = client
        self._run = run

    async def read_evaluation(self) -> Object:
        """Return the evaluation, while this attempt is its running one."""
        try:
            found = await self._client.get(EVALUATIONS, self._run.name)
        except NotFound as error:
            raise AttemptSuperseded("the evaluation was deleted") from error
        if reason := explain_superseded(found, self._run):
            raise AttemptSuperseded(reason)
        return found

    async def write(self, fields: dict[str, Any]) -> None:
        """Replace whole fields."""
        patch = build_status_patch(fields, self._run)
        try:
            await self._client.json_patch(EVALUATIONS, self._run.name, patch, subresource="status")
        except NotFound as error:
            raise AttemptSuperseded("the evaluation was deleted") from error
        except (Conflict, Invalid, Forbidden):
            # The attempt is superseded, or somebody else wrote at the same moment, or a policy or right is missing:
            # look.
            await self.read_evaluation()
            raise


def build_status_patch(fields: dict[str, Any], run: RunInput) -> Patch:
    """Return the JSON Patch (RFC 6902): the precondition, then each field as a whole."""
    guard = {"/metadata/uid": run.uid, "/status/attempt": run.attempt, "/status/phase": Phase.RUNNING.value}
    tests = [{"op": "test", "path": path, "value": value} for path, value in guard.items()]
    written = {"reportedAttempt": run.attempt} | fields
    return tests + [{"op": "add", "path": f"/status/{name}", "value": value} for name, value in written.items()]


def explain_superseded(evaluation: Object, run: RunInput) -> str:
    """Return why `run` is not the running attempt of the evaluation; empty while it is."""
    status = evaluation.get("status", {})
    if evaluation["metadata"]["uid"] != run.uid:
        return "the evaluation was deleted, and another one has its name"
    if status.get("attempt") != run.attempt:
        return f"the evaluation is at attempt {status.get('attempt')}, not {run.attempt}"
    if status.get("phase") != Phase.RUNNING:
        return f"the evaluation is {status.get('phase')}"
    return ""
