"""A front end without a cluster, with a store in memory and two jobs that may show media."""

from typing import Any, cast

import httpx
from evaluation_objects import build_evaluation_object
from memory_store import MemoryStore
from stored_media import WEBP, put_digests, put_media

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.auth import AnonymousAccess
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings, AuthMode
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, Resource
from lmms_eval_core.kube.errors import NotFound
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.layout import ArtifactPrefix


class NothingElse:
    """An API server that knows no job beside those in the cache."""

    async def get(self, resource: Resource, name: str) -> Object:
        """See `KubeClient`."""
        raise NotFound(name)


CLIENT = cast(KubeClient, NothingElse())
# One for all tests, as a process is behind it.
WORKER = Worker()
PREFIX = ArtifactPrefix("team", "a", "0a1b2c3d-uid", 2)
OTHER = ArtifactPrefix("team", "b", "0b1b2c3d-uid", 1)
IMAGE = WEBP + bytes(range(256)) * 8


def build_job(prefix: ArtifactPrefix, phase: str = "Completed", *, has_files: bool = True) -> Object:
    """Build an evaluation with this attempt; with `has_files`, it has left results."""
    status: dict[str, Any] = {"reason": "Succeeded", "attempt": prefix.attempt}
    if has_files:
        status["artifacts"] = {"uri": f"s3://artifacts/{prefix.path}", "files": [{"name": "results.json", "bytes": 1}]}
    return build_evaluation_object(prefix.name, uid=prefix.uid, phase=phase, status=status)


class MediaPlace:
    """A front end with a store in memory, and two jobs that have completed."""

    def __init__(self, *, has_store: bool = True) -> None:
        self.store, self.cache = MemoryStore(), JobCache()
        for prefix in (PREFIX, OTHER):
            self.cache.learn(build_job(prefix))
        settings = ApiSettings(auth=AuthMode.NONE, hosts=("front-end",))
        reflector = Reflector(CLIENT, EVALUATIONS, self.cache, self.cache.project)
        reflector.synced.set()
        reflector._watching = True
        self.archive = Archive(CLIENT, self.store if has_store else None, settings, WORKER)
        self.backend = Backend(EvaluationService(CLIENT, self.cache), reflector, JobFeeds(self.cache), self.archive, 60)
        transport = httpx.ASGITransport(make_application(settings, self.backend, AnonymousAccess()))
        self.session = httpx.AsyncClient(transport=transport, base_url="http://front-end")

    def learn(self, prefix: ArtifactPrefix, phase: str) -> None:
        """Change a job, which has left no files."""
        self.cache.learn(build_job(prefix, phase, has_files=False))

    def show(self, content: bytes, *, prefix: ArtifactPrefix = PREFIX) -> str:
        """Put a file into the pool that samples of a job show, and no other."""
        digest = put_media(self.store, prefix.namespace, content)
        put_digests(self.store, prefix, [digest])
        return digest

    async def get(self, digest: str, *, job: str = "a", **headers: str) -> httpx.Response:
        """Ask for a file; keywords are headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.session.get(f"/jobs/{job}/media/{digest}", headers=sent)
