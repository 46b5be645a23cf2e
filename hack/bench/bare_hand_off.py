"""The floor under a hand-off: the reads and writes that the operator does for one, sent back to back by a plain client.

Same API server, same client, same bodies, in a namespace where no operator looks; what is left of the operator's own
time is what it takes to hear of the pod's end and to decide.
"""

import time

from bench.population import build_queued
from bench.simulated_namespace import SimulatedNamespace
from lmms_eval_core import names
from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_core.kube import lease
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS, Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator import job_manifest, objects, patches
from lmms_eval_operator.derive import Derived
from lmms_eval_operator.main import now_utc
from lmms_eval_operator.observe import OURS
from lmms_eval_operator.settings import Settings
from lmms_eval_operator.slots import build_lease_labels

DONE = Derived(Phase.COMPLETED, Reason.SUCCEEDED)


class BareHandOff:
    """One slot, handed from evaluation to evaluation."""

    def __init__(self, namespace: SimulatedNamespace) -> None:
        self._namespace = namespace
        self._client = namespace.client
        self._settings = Settings(
            namespace=self._client.namespace, evaluator_image="evaluator:1", reporter_image="reporter:1"
        )
        self._names: list[str] = []

    async def prepare(self) -> None:
        """The slot's Lease, and the first evaluation in it."""
        self._slot = await lease.read(self._client, names.slot_lease_name(0), build_lease_labels(0))
        await self._start(await self._submit())

    async def hand_off(self) -> float:
        """Seconds from the end of one to the start of the next."""
        ended, following = self._names[-1], await self._submit()
        await self._namespace.publish(ended)
        await self._namespace.end_pod(ended)
        await self._namespace.ends.wait_for(ended)
        began = time.monotonic()
        await self._finish(ended)
        await self._start(following)
        return time.monotonic() - began

    async def _submit(self) -> str:
        self._names.append(f"bare-{len(self._names):03}")
        await self._client.create(EVALUATIONS, build_queued(self._names[-1]))
        return self._names[-1]

    async def _finish(self, name: str) -> None:
        evaluation = objects.parse_evaluation(await self._client.get(EVALUATIONS, name))
        await self._client.get(JOBS, names.job_name(evaluation=name, uid=evaluation.uid, attempt=1))
        selector = f"{OURS},{names.LABEL_EVALUATION_UID}={evaluation.uid},{names.LABEL_ATTEMPT}=1"
        await self._client.list(PODS, label_selector=selector)
        await self._status(evaluation, patches.build_end(evaluation, DONE, format_rfc3339(now_utc())))

    async def _start(self, name: str) -> None:
        self._slot = await lease.swap(self._client, self._slot, f"{name}/uid/1")
        found = await self._client.get(EVALUATIONS, name)
        body = job_manifest.build_job(LMMEvaluation.parse(found), attempt=1, slot=0, settings=self._settings)
        job = objects.parse_job(await self._client.create(JOBS, body))
        assert job is not None
        evaluation = objects.parse_evaluation(found)
        pod = await self._namespace.read_pod(name)
        await self._status(evaluation, patches.build_running(evaluation, job, pod, format_rfc3339(now_utc())))
        await self._client.json_patch(PODS, pod.name, patches.build_open_gate(pod))

    async def _status(self, evaluation: objects.Evaluation, patch: list[Object]) -> None:
        await self._client.json_patch(EVALUATIONS, evaluation.name, patch, subresource="status")
