"""What callers can do, apart from HTTP: find a job, submit one, cancel one. Reads by the cache, writes by the API server."""

import asyncio
import re
import uuid
from collections.abc import Callable
from typing import Final, NamedTuple

from lmms_eval_api.cache import JobCache
from lmms_eval_api.job import ENDED, Job
from lmms_eval_api.lookup import Lookup
from lmms_eval_api.submission import submission
from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, Patch
from lmms_eval_core.schema import DNS_LABEL
from lmms_eval_core.wire import EvaluateRequest

# A progress report may come between our read and our write; five in a row do not.
CANCEL_ATTEMPTS: Final = 5
CREATE_BACKOFFS: Final = (0.2, 1.0)


class AlreadyEnded(Exception):
    """The job cannot be cancelled any more."""


class Submitted(NamedTuple):
    """A new job and what its sender should know."""

    job: Job
    warnings: list[str]


class Evaluations:
    """Every method raises `errors.KubeError`."""

    def __init__(self, client: KubeClient, cache: JobCache, *, new_name: Callable[[], str] = lambda: str(uuid.uuid4())) -> None:
        self._client = client
        self._lookup = Lookup(client)
        self._new_name = new_name
        self.cache = cache

    async def find(self, name: str) -> Job | None:
        """The job of this name: from the cache, else by one live read, as the watch may be a moment behind."""
        known = self.cache.get(name)
        if known is not None or not _is_name(name):
            return known
        found = await self._lookup.get(name)
        return self.cache.learn(found) if found is not None else None

    async def submit(self, request: EvaluateRequest) -> Submitted:
        """Creates the evaluation; when this returns, it is stored. `problems.Refused` if it cannot be asked for."""
        wanted = submission(request, name=self._new_name(), namespace=self._client.namespace)
        created = await self._create(wanted.body)
        return Submitted(self.cache.learn(created), wanted.warnings)

    async def _create(self, body: Object) -> Object:
        """Creates once, however often it has to be tried: the name is ours, so that finding it taken means success."""
        for backoff in (*CREATE_BACKOFFS, None):
            try:
                return await self._client.create(EVALUATIONS, body)
            except errors.AlreadyExists:
                break
            except (errors.Unavailable, errors.Throttled):
                if backoff is None:
                    raise
                await asyncio.sleep(backoff)
        return await self._client.get(EVALUATIONS, body["metadata"]["name"])

    async def cancel(self, job: Job, *, by: str) -> Job:
        """Asks for the end of a queued or running job. AlreadyEnded if it has one; asking twice is the same as once."""
        for _ in range(CANCEL_ATTEMPTS):
            if job.status in ENDED:
                raise AlreadyEnded
            document = job.document
            if document["spec"].get("cancel"):
                return job
            try:
                return self.cache.learn(await self._client.json_patch(EVALUATIONS, job.name, cancellation(document, by=by)))
            except errors.Conflict:
                job = self.cache.learn(await self._client.get(EVALUATIONS, job.name))
        raise errors.Conflict(f"job {job.name} keeps changing")


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


def _is_name(text: str) -> bool:
    # It becomes a part of a URL.
    return len(text) <= names.MAX_NAME and re.fullmatch(DNS_LABEL, text) is not None
