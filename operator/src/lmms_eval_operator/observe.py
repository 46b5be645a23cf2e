"""Reads the cluster into the view: everything by lists, or one attempt by a live look.

Lists go to the API server's storage, so what they say was true at that moment; `reconcile` calls for them, `apply` for
the looks.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from lmms_eval_core import names
from lmms_eval_core.kube import errors, lease
from lmms_eval_core.kube.client import EVALUATIONS, EVENTS, JOBS, LEASES, PODS, KubeClient, Object, Resource
from lmms_eval_core.phases import TERMINAL
from lmms_eval_operator import objects
from lmms_eval_operator.objects import AttemptJob, Evaluation, Pod
from lmms_eval_operator.slots import Slot, build_lease_labels
from lmms_eval_operator.structured_log import log_fields
from lmms_eval_operator.view import KnownEvents, View

OURS: Final = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
NOT_ENDED: Final = ",".join(f"status.phase!={phase}" for phase in sorted(TERMINAL))

Item = TypeVar("Item")

log = logging.getLogger(__name__)


class LiveAttempt(NamedTuple):
    """One attempt as the API server has it this moment; `evaluation` is None if that is gone, `job` likewise."""

    evaluation: Evaluation | None
    job: AttemptJob | None
    pods: list[Pod]


class Observer:
    """Reads. Every method raises KubeError."""

    def __init__(self, client: KubeClient, view: View) -> None:
        self._client = client
        self._view = view

    async def read_everything(self, *, make_slots: bool = True, evaluations: bool = True) -> None:
        """List all, or all but the evaluations.

        They come last: one that is missing in the list, though its Job is in an earlier one, has ended.
        """
        view = self._view
        await self.read_slots(make=make_slots)
        asked_at = view.pods.newest
        pods = await self._client.list(PODS, label_selector=OURS)
        restored = view.pods.replace(
            _parse_all(objects.parse_pod, pods.items), pods.resource_version, asked_at=asked_at
        )
        asked_at = view.jobs.newest
        jobs = await self._client.list(JOBS, label_selector=OURS)
        restored |= view.jobs.replace(
            _parse_all(objects.parse_job, jobs.items), jobs.resource_version, asked_at=asked_at
        )
        if evaluations or restored:
            restored |= await self._read_evaluations()
        if restored:
            log.warning("the API server knows less than it did: what it says now replaces what was known")
            view.forget_history()

    async def _read_evaluations(self) -> bool:
        """List those that have not ended. By pages: ten thousand whole ones at once would be 150 MB."""
        found: list[Evaluation] = []
        version, asked_at = "", self._view.evaluations.newest
        async for page in self._client.pages(EVALUATIONS, field_selector=NOT_ENDED):
            found += _parse_all(objects.parse_evaluation, page.items)
            version = page.resource_version
        return self._view.evaluations.replace(found, version, asked_at=asked_at)

    async def read_slots(self, *, make: bool = True) -> None:
        """Read all slots, and make those that are missing unless `make` is false."""
        page = await self._client.list(LEASES, label_selector=OURS)
        registers = {index: lease.parse(item) for item in page.items if (index := _find_slot_index(item)) is not None}
        for index in set(range(self._view.concurrency)) - registers.keys() if make else ():
            registers[index] = await lease.read(self._client, names.slot_lease_name(index), build_lease_labels(index))
        known = self._view.slots
        self._view.slots = {
            index: _merge_slot(known.get(index), Slot(index, register)) for index, register in registers.items()
        }

    async def read_attempt(self, name: str, uid: str, number: int) -> LiveAttempt:
        """Read one attempt live, into the view too."""
        evaluation = await self.read_evaluation(name, uid)
        job_name = names.job_name(evaluation=name, uid=uid, attempt=number)
        job = await self._get(JOBS, job_name, objects.parse_job)
        known = self._view.find_job(uid, number)
        if known is not None and (job is None or job.uid != known.uid):
            self._view.jobs.forget(known.uid)
        if job is not None:
            self._view.jobs.put(job)
        return LiveAttempt(evaluation, job, await self.read_pods(uid, number))

    async def read_evaluation(self, name: str, uid: str) -> Evaluation | None:
        """Read one evaluation live; None if it is gone, even if another one has its name by now."""
        found = await self._get(EVALUATIONS, name, objects.parse_evaluation)
        if found is not None:
            self._view.evaluations.put(found)
        if found is None or found.uid != uid:
            self._view.evaluations.forget(uid)
            return None
        return found

    async def read_pods(self, uid: str, number: int) -> list[Pod]:
        """Read the pods of an attempt live."""
        selector = f"{OURS},{names.LABEL_EVALUATION_UID}={uid},{names.LABEL_ATTEMPT}={number}"
        page = await self._client.list(PODS, label_selector=selector)
        pods = _parse_all(objects.parse_pod, page.items)
        for pod in pods:
            self._view.pods.put(pod)
        for known in self._view.list_pods(uid, number):
            if known.uid not in {pod.uid for pod in pods}:
                self._view.pods.remove(known.uid, page.resource_version)
        return pods

    async def read_events(self, uid: str, now: float) -> None:
        """Read the events about the object of this uid into the view."""
        page = await self._client.list(EVENTS, field_selector=f"involvedObject.uid={uid}")
        events = sorted(map(objects.parse_event, page.items), key=lambda event: event.at)
        self._view.pod_events[uid] = KnownEvents(now, tuple(events))

    async def _get(self, resource: Resource, name: str, parse: Callable[[Object], Item | None]) -> Item | None:
        try:
            return parse(await self._client.get(resource, name))
        except errors.NotFound:
            return None


def _parse_all(parse: Callable[[Object], Item | None], items: Iterable[Object]) -> list[Item]:
    """Return those that are ours.

    One that cannot be read is left out: what is done about it fails when it is read live.
    """
    found: list[Item] = []
    for item in items:
        try:
            parsed = parse(item)
        except Exception:
            log.exception("cannot read an object", extra=log_fields(item=find_name(item)))
        else:
            found += [parsed] if parsed is not None else []
    return found


def find_name(item: Object) -> str:
    """Return the name of an object that may be malformed."""
    metadata = item.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""


def _find_slot_index(item: Object) -> int | None:
    text = (item["metadata"].get("labels") or {}).get(names.LABEL_SLOT, "")
    return int(text) if text.isdecimal() and item["metadata"]["name"] == names.slot_lease_name(int(text)) else None


def _merge_slot(known: Slot | None, read: Slot) -> Slot:
    """Keep what is known of our own swap while the Lease is unchanged since."""
    same = known is not None and known.register.resource_version == read.register.resource_version
    return known if known is not None and same else read
