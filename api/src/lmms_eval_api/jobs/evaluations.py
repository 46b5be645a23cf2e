"""What callers can do, apart from HTTP: find a job, submit one, cancel one. Reads by the cache, writes by the API server."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from pydantic.alias_generators import to_camel

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.identity import Sender, recognise
from lmms_eval_api.jobs.lookup import Lookup
from lmms_eval_api.jobs.snapshot import ENDED, Job, job_of
from lmms_eval_api.jobs.submission import Submission, submission
from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, Patch
from lmms_eval_core.schema import DNS_LABEL
from lmms_eval_core.wire import EvaluateRequest, JobPatch, JobStatus

# A progress report may come between our read and our write; five in a row do not.
CANCEL_ATTEMPTS: Final = 5
TTL: Final = "ttl_seconds_after_finished"
# A caller who has waited for the watch waits no longer for this.
REREAD_SECONDS: Final = 2.0
CREATE_ATTEMPTS: Final = 3
BACKOFFS: Final = (0.2, 1.0)


class AlreadyEnded(Exception):
    """The job cannot be cancelled any more."""


class IsRunning(Exception):
    """The job has started, and only waiting ones were to be cancelled."""


class Submitted(NamedTuple):
    """A new job and what its sender should know; `replayed` if the same was sent before, under the same key."""

    job: Job
    warnings: list[str]
    replayed: bool


class Created(NamedTuple):
    """The stored object, and whether it was there already."""

    stored: Object
    again: bool


class Evaluations:
    """Every method raises `errors.KubeError`."""

    def __init__(self, client: KubeClient, cache: JobCache, *, new_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> None:
        self._client = client
        self._lookup = Lookup(client)
        self._new_id = new_id
        self.cache = cache

    async def find(self, name: str, *, up_to_date: bool = True) -> Job | None:
        """The job of this name: from the cache, else by one live read, as the watch may be a moment behind.

        A cache that is not `up_to_date` is believed only where the API server cannot be asked.
        """
        known = self.cache.get(name)
        if known is not None and not up_to_date:
            known = await self._reread(known)
        if known is not None or not _is_name(name):
            return known
        found = await self._lookup.get(name, believe=up_to_date)
        return self.cache.learn(found) if found is not None else None

    async def _reread(self, known: Job) -> Job | None:
        try:
            async with asyncio.timeout(REREAD_SECONDS):
                return self.cache.learn(await self._client.get(EVALUATIONS, known.name))
        except errors.NotFound:
            return None
        except (errors.KubeError, TimeoutError):
            return known

    async def submit(self, request: EvaluateRequest, *, caller: str, key: str | None = None) -> Submitted:
        """Creates the evaluation; when this returns, it is stored. Refused, NameTaken, KeyReused if it cannot be."""
        wanted = self._wanted(request, caller=caller, key=key)
        created = await self._create(wanted)
        return Submitted(self.cache.learn(created.stored), wanted.warnings, created.again and key is not None)

    async def rehearse(self, request: EvaluateRequest, *, caller: str, key: str | None = None) -> Submitted:
        """Has the API server check the evaluation as if it were to be created; stores nothing. Fails as `submit` does."""
        wanted = self._wanted(request, caller=caller, key=key)
        created = await self._create(wanted, dry_run=True)
        return Submitted(job_of(created.stored), wanted.warnings, created.again and key is not None)

    def _wanted(self, request: EvaluateRequest, *, caller: str, key: str | None) -> Submission:
        return submission(request, sender=Sender(caller, key, self._new_id()), namespace=self._client.namespace)

    async def _create(self, wanted: Submission, *, dry_run: bool = False) -> Created:
        """Creates once, however often it has to be tried, and wherever: what has the mark of this submission is its success."""
        for _ in range(CREATE_ATTEMPTS):
            try:
                made = await patiently(lambda: self._client.create(EVALUATIONS, wanted.body, dry_run=dry_run))
                return Created(made, again=False)
            except errors.AlreadyExists:
                found = await self._existing(wanted)
                if found is not None:
                    return Created(found, again=True)
        raise errors.Conflict(f"job {wanted.identity.name} is created and deleted all the time")

    async def _existing(self, wanted: Submission) -> Object | None:
        """The object that has the name, if it came of this submission; None if it has just been deleted."""
        try:
            found = await self._client.get(EVALUATIONS, wanted.identity.name)
        except errors.NotFound:
            return None
        recognise(found, wanted.identity, wanted.body["spec"])
        return found

    async def change(self, job: Job, wanted: JobPatch) -> Job:
        """Changes what may change of a stored job. `errors.NotFound` if it is gone."""
        patch = alteration(job, wanted)
        return await self._patch(job, patch) if patch else job

    async def cancel(self, job: Job, *, by: str, running: bool = True) -> Job:
        """Asks for the end of a queued job, or a `running` one. AlreadyEnded, IsRunning; asking twice is the same as once."""
        for _ in range(CANCEL_ATTEMPTS):
            if job.status in ENDED:
                raise AlreadyEnded
            if job.status is JobStatus.RUNNING and not running:
                raise IsRunning
            document = job.document
            if document["spec"].get("cancel"):
                return job
            try:
                return await self._patch(job, cancellation(document, by=by))
            except errors.Conflict:
                job = self.cache.learn(await self._client.get(EVALUATIONS, job.name))
        raise errors.Conflict(f"job {job.name} keeps changing")

    async def _patch(self, job: Job, patch: Patch) -> Job:
        return self.cache.learn(await patiently(lambda: self._client.json_patch(EVALUATIONS, job.name, patch)))


async def patiently(call: Callable[[], Awaitable[Object]]) -> Object:
    """A write that may be done twice, tried again when there is no answer: lmms-eval's own client gives up at the first 503."""
    for backoff in BACKOFFS:
        try:
            return await call()
        except (errors.Unavailable, errors.Throttled):
            await asyncio.sleep(backoff)
    return await call()


def cancellation(document: Object, *, by: str) -> Patch:
    """The patch that cancels this very state of an object; a Conflict if it is not the newest."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations", {}) | {names.ANNOTATION_CANCELLED_BY: by}
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "add", "path": "/spec/cancel", "value": True},
    ]


def alteration(job: Job, wanted: JobPatch) -> Patch:
    """The patch of what is to change; empty if nothing is. A Conflict if the name has gone over to another job."""
    # The API server takes a null as no value. Only a time to live may be taken back.
    sent = {field: value for field, value in wanted.model_dump(exclude_unset=True).items() if value is not None or field == TTL}
    changes = [{"op": "add", "path": f"/spec/{to_camel(field)}", "value": value} for field, value in sent.items()]
    return [{"op": "test", "path": "/metadata/uid", "value": job.uid}, *changes] if changes else []


def _is_name(text: str) -> bool:
    # It becomes a part of a URL.
    return len(text) <= names.MAX_NAME and re.fullmatch(DNS_LABEL, text) is not None
