"""What callers can do, apart from HTTP: find, submit, change and cancel a job.

Reads use the cache, writes the API server.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from pydantic.alias_generators import to_camel

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.identity import Sender, check_same_submission
from lmms_eval_api.jobs.lookup import EvaluationLookup
from lmms_eval_api.jobs.snapshot import ENDED, JobSnapshot, make_snapshot
from lmms_eval_api.jobs.submission import PreparedSubmission, prepare_submission
from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, Patch
from lmms_eval_core.schema import DNS_LABEL
from lmms_eval_core.wire import EvaluateRequest, JobPatch, JobStatus

# A progress report may come between our read and our write; five in a row will not.
CANCEL_ATTEMPTS: Final = 5
TTL: Final = "ttl_seconds_after_finished"
# Short, as the caller has already waited for the watch.
REREAD_SECONDS: Final = 2.0
CREATE_ATTEMPTS: Final = 3
BACKOFFS: Final = (0.2, 1.0)


class AlreadyEnded(Exception):
    """The job has ended, and cannot be cancelled any more."""


class AlreadyRunning(Exception):
    """The job has started, and only queued jobs may be cancelled."""


class SubmittedJob(NamedTuple):
    """A submitted job and warnings for its caller; `replayed` if the same was submitted before under the same key."""

    job: JobSnapshot
    warnings: list[str]
    replayed: bool


class CreatedObject(NamedTuple):
    """The stored object, and whether it existed already."""

    stored: Object
    existed: bool


class EvaluationService:
    """Every method raises `errors.KubeError`."""

    def __init__(
        self,
        client: KubeClient,
        cache: JobCache,
        *,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._client = client
        self._lookup = EvaluationLookup(client)
        self._new_id = new_id
        self.cache = cache

    async def find(self, name: str, *, up_to_date: bool = True) -> JobSnapshot | None:
        """Return the job of this name: from the cache, else by one live read, as the watch may be a moment behind.

        With a cache that is not `up_to_date`, the API server is asked, and the cache is used only where that fails.
        """
        known = self.cache.get(name)
        if known is not None and not up_to_date:
            known = await self._reread(known)
        if known is not None or not _is_possible_name(name):
            return known
        found = await self._lookup.find(name, use_recent=up_to_date)
        return self.cache.learn(found) if found is not None else None

    async def _reread(self, known: JobSnapshot) -> JobSnapshot | None:
        try:
            async with asyncio.timeout(REREAD_SECONDS):
                return self.cache.learn(await self._client.get(EVALUATIONS, known.name))
        except errors.NotFound:
            return None
        except (errors.KubeError, TimeoutError):
            return known

    async def submit(self, request: EvaluateRequest, *, caller: str, key: str | None = None) -> SubmittedJob:
        """Create the evaluation; it is stored when this returns. Raises InvalidRequest, NameTaken, KeyReused."""
        wanted = self._prepare(request, caller=caller, key=key)
        created = await self._create(wanted)
        return SubmittedJob(self.cache.learn(created.stored), wanted.warnings, created.existed and key is not None)

    async def validate(self, request: EvaluateRequest, *, caller: str, key: str | None = None) -> SubmittedJob:
        """Have the API server check the evaluation in a dry run, which stores nothing. Raises as `submit` does."""
        wanted = self._prepare(request, caller=caller, key=key)
        created = await self._create(wanted, dry_run=True)
        return SubmittedJob(make_snapshot(created.stored), wanted.warnings, created.existed and key is not None)

    def _prepare(self, request: EvaluateRequest, *, caller: str, key: str | None) -> PreparedSubmission:
        return prepare_submission(request, sender=Sender(caller, key, self._new_id()), namespace=self._client.namespace)

    async def _create(self, wanted: PreparedSubmission, *, dry_run: bool = False) -> CreatedObject:
        """Create once, however often that is tried: an object with the mark of this submission is a success."""
        for _ in range(CREATE_ATTEMPTS):
            try:
                made = await retry_write(lambda: self._client.create(EVALUATIONS, wanted.body, dry_run=dry_run))
                return CreatedObject(made, existed=False)
            except errors.AlreadyExists:
                found = await self._find_existing(wanted)
                if found is not None:
                    return CreatedObject(found, existed=True)
        raise errors.Conflict(f"job {wanted.identity.name} is created and deleted all the time")

    async def _find_existing(self, wanted: PreparedSubmission) -> Object | None:
        """Return the object of this name if this submission made it; None if it has just been deleted."""
        try:
            found = await self._client.get(EVALUATIONS, wanted.identity.name)
        except errors.NotFound:
            return None
        check_same_submission(found, wanted.identity, wanted.body["spec"])
        return found

    async def change(self, job: JobSnapshot, wanted: JobPatch) -> JobSnapshot:
        """Change what is mutable of a stored job. Raises `errors.NotFound` if it is gone."""
        patch = make_change_patch(job, wanted)
        return await self._patch(job, patch) if patch else job

    async def cancel(self, job: JobSnapshot, *, by: str, running: bool = True) -> JobSnapshot:
        """Request the end of a queued job or, with `running`, of a running one.

        Asking twice is the same as asking once. Raises AlreadyEnded, AlreadyRunning.
        """
        for _ in range(CANCEL_ATTEMPTS):
            if job.status in ENDED:
                raise AlreadyEnded
            if job.status is JobStatus.RUNNING and not running:
                raise AlreadyRunning
            document = job.document
            if document["spec"].get("cancel"):
                return job
            try:
                return await self._patch(job, make_cancel_patch(document, by=by))
            except errors.Conflict:
                job = self.cache.learn(await self._client.get(EVALUATIONS, job.name))
        raise errors.Conflict(f"job {job.name} keeps changing")

    async def _patch(self, job: JobSnapshot, patch: Patch) -> JobSnapshot:
        return self.cache.learn(await retry_write(lambda: self._client.json_patch(EVALUATIONS, job.name, patch)))


async def retry_write(call: Callable[[], Awaitable[Object]]) -> Object:
    """Call an idempotent write, again if there was no answer: lmms-eval's own client gives up at the first 503."""
    for backoff in BACKOFFS:
        try:
            return await call()
        except (errors.Unavailable, errors.Throttled):
            await asyncio.sleep(backoff)
    return await call()


def make_cancel_patch(document: Object, *, by: str) -> Patch:
    """Return the patch that cancels exactly this state of an object: a Conflict if that is not the newest."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations", {}) | {names.ANNOTATION_CANCELLED_BY: by}
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "add", "path": "/spec/cancel", "value": True},
    ]


def make_change_patch(job: JobSnapshot, wanted: JobPatch) -> Patch:
    """Return the patch of what is to change, empty if nothing is: a Conflict if the name belongs to another job now."""
    # The API server treats a null as no value. Only a time to live may be removed.
    sent = wanted.model_dump(exclude_unset=True).items()
    changed = {field: value for field, value in sent if value is not None or field == TTL}
    changes = [{"op": "add", "path": f"/spec/{to_camel(field)}", "value": value} for field, value in changed.items()]
    return [{"op": "test", "path": "/metadata/uid", "value": job.uid}, *changes] if changes else []


def _is_possible_name(text: str) -> bool:
    # The name becomes a part of a URL.
    return len(text) <= names.MAX_NAME and re.fullmatch(DNS_LABEL, text) is not None
